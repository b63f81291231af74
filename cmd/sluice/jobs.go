package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/admin"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/jobs"
)

const jobsHelp = `Jobs are requests that were accepted by an async route and are sent later. Those that have failed for good are kept for seven days, to be
looked at, tried again or purged.

The commands talk to the admin listener of any node. If it asks for a token, it is in --token or the variable SLUICE_ADMIN_TOKEN.`

func newJobs() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List jobs, and try again or purge those that failed",
		Long:  jobsHelp,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	api := new(adminAPI)
	flags := cmd.PersistentFlags()
	flags.StringVar(&api.base, "admin", "http://"+config.Default().Admin.Listen, "`URL` of a node's admin listener")
	flags.StringVar(&api.token, "token", "", "the admin `token`; without it, that of "+adminTokenEnv)
	cmd.AddCommand(newJobsList(api), newJobsShow(api), newJobsRetry(api), newJobsPurge(api))
	return cmd
}

const jobsPath = "/api/v1/jobs"

// job is one as the admin API tells it.
type job struct {
	jobs.View
	Owner   string            `json:"owner"`
	Request *admin.JobRequest `json:"request,omitempty"`
}

func newJobsList(api *adminAPI) *cobra.Command {
	var state, queue, owner, cursor string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List jobs, the oldest first",
		Example: "  sluice jobs list --state failed\n  sluice jobs list --queue '/uploads/*' --json",
		Args:    noArgs,
		RunE: limitsRun(api, func(cmd *cobra.Command, _ []string) error {
			query := url.Values{"limit": {strconv.Itoa(limit)}}
			if state != "" {
				if _, err := jobs.ParsePhase(state); err != nil {
					return usagef("--state: %v", err)
				}
			}
			if limit < 1 || limit > jobs.MaxPage {
				return usagef("--limit: expected 1 to %d, got %d", jobs.MaxPage, limit)
			}
			for name, value := range map[string]string{"state": state, "queue": queue, "owner": owner, "cursor": cursor} {
				if value != "" {
					query.Set(name, value)
				}
			}
			var page struct {
				Jobs []job  `json:"jobs"`
				Next string `json:"next,omitempty"`
			}
			if err := api.ask(cmd, http.MethodGet, jobsPath, query, nil, &page); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), page)
			}
			if page.Next != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "There are more: --cursor", page.Next)
			}
			return printJobs(cmd.OutOrStdout(), page.Jobs)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&state, "state", "", "only those that are queued, running, done or failed")
	flags.StringVar(&queue, "queue", "", "only those of a `queue`: the path of a route")
	flags.StringVar(&owner, "owner", "", "only those of a `client`")
	flags.IntVar(&limit, "limit", 100, "at most so many")
	flags.StringVar(&cursor, "cursor", "", "only those after this `id`")
	flags.BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func newJobsShow(api *adminAPI) *cobra.Command {
	var asJSON, body, result bool
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show a job, the body that it sends, or what it was answered",
		Example: "  sluice jobs show 01m80xv7y9m9x332884fmqejrn\n  sluice jobs show 01m80xv7y9m9x332884fmqejrn --body > body",
		Args:    namedArgs("ID"),
		RunE: limitsRun(api, func(cmd *cobra.Command, args []string) error {
			path, err := jobPath(args[0])
			switch {
			case err != nil:
				return err
			case body && result || asJSON && (body || result):
				return usagef("--json, --body and --result exclude each other")
			case body:
				return api.download(cmd, path+"/body")
			case result:
				return api.download(cmd, path+"/result")
			}
			var j job
			if err := api.ask(cmd, http.MethodGet, path, nil, nil, &j); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), j)
			}
			return printJob(cmd.OutOrStdout(), &j)
		}),
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print a JSON object")
	flags.BoolVar(&body, "body", false, "print the body that it sends")
	flags.BoolVar(&result, "result", false, "print the body of the last answer")
	return cmd
}

func jobPath(id string) (string, error) {
	parsed, err := jobs.ParseID(id)
	if err != nil {
		return "", usagef("ID: %v", err)
	}
	return jobsPath + "/" + parsed.String(), nil
}

func newJobsRetry(api *adminAPI) *cobra.Command {
	return &cobra.Command{
		Use:   "retry ID...",
		Short: "Queue jobs again that failed, or try those at once that wait to be tried again",
		Args:  someIDs,
		RunE: limitsRun(api, func(cmd *cobra.Command, args []string) error {
			for _, id := range args {
				path, err := jobPath(id)
				if err != nil {
					return err
				}
				if err := api.ask(cmd, http.MethodPost, path+"/retry", nil, nil, nil); err != nil {
					return fmt.Errorf("%s: %w", id, err)
				}
			}
			return nil
		}),
	}
}

// someIDs asks for arguments, each the id of a job.
func someIDs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("%s takes the ids of jobs", cmd.CommandPath())
	}
	for _, id := range args {
		if _, err := jobPath(id); err != nil {
			return err
		}
	}
	return nil
}

func newJobsPurge(api *adminAPI) *cobra.Command {
	var queue string
	var olderThan time.Duration
	var all bool
	cmd := &cobra.Command{
		Use:     "purge [ID...]",
		Short:   "Forget jobs that are over: these, or all that failed in a queue, or long ago",
		Example: "  sluice jobs purge 01m80xv7y9m9x332884fmqejrn\n  sluice jobs purge --queue '/uploads/*' --older-than 24h\n  sluice jobs purge --all",
		RunE: limitsRun(api, func(cmd *cobra.Command, args []string) error {
			filtered := queue != "" || cmd.Flags().Changed("older-than")
			switch {
			case len(args) > 0 && (filtered || all), filtered && all:
				return usagef("ids, --all, and --queue with --older-than exclude each other")
			case len(args) == 0 && !filtered && !all:
				return usagef("expected ids, --queue, --older-than, or --all for every job that has failed")
			case olderThan < 0:
				return usagef("--older-than must not be negative, got %v", olderThan)
			}
			ask := map[string]any{"all": all, "queue": queue}
			if len(args) > 0 {
				if err := someIDs(cmd, args); err != nil {
					return err
				}
				ask["ids"] = args
			}
			if olderThan > 0 {
				ask["older_than"] = olderThan.String()
			}
			var answer struct{ Purged int }
			if err := api.ask(cmd, http.MethodPost, jobsPath+"/purge", nil, ask, &answer); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), answer.Purged, "purged")
			return nil
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&queue, "queue", "", "those that failed in this `queue`: the path of a route")
	flags.DurationVar(&olderThan, "older-than", 0, "those that failed so long ago")
	flags.BoolVar(&all, "all", false, "all that have failed")
	return cmd
}

func printJobs(w io.Writer, list []job) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSTATE\tATTEMPTS\tACCEPTED\tQUEUE\tOWNER\tERROR")
	for _, j := range list {
		fmt.Fprintf(table, "%s\t%s\t%d/%d\t%s\t%s\t%s\t%s\n",
			j.ID, j.State, j.Attempts, j.MaxAttempts, j.Accepted, printable(j.Queue), printable(j.Owner), oneLine(j.Error))
	}
	return table.Flush()
}

// oneLine is a text without what could be taken for another line.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}

func printJob(w io.Writer, j *job) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, value)
		}
	}
	at := func(name string, t jobs.Time) {
		if t != 0 {
			row(name, t.String())
		}
	}
	row("id", j.ID.String())
	row("state", j.State.String())
	row("queue", printable(j.Queue))
	row("owner", printable(j.Owner))
	row("attempts", fmt.Sprintf("%d of %d", j.Attempts, j.MaxAttempts))
	at("accepted", j.Accepted)
	at("started", j.Started)
	at("finished", j.Finished)
	at("next attempt", j.NextAttempt)
	at("deadline", j.Deadline)
	at("forgotten", j.Expires)
	if j.Status != 0 {
		row("status", strconv.Itoa(j.Status))
	}
	row("error", oneLine(j.Error))
	if r := j.Request; r != nil {
		row("request", oneLine(r.Method+" "+r.Target))
		row("host", oneLine(r.Host))
		row("content type", oneLine(r.ContentType))
		row("body", fmt.Sprintf("%d bytes", r.Bytes))
	}
	if j.ResultBytes > 0 {
		row("answer", fmt.Sprintf("%d bytes", j.ResultBytes))
	}
	return table.Flush()
}

// download prints what the API answers, however long it is and takes.
func (a *adminAPI) download(cmd *cobra.Command, path string) error {
	req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, strings.TrimRight(a.base, "/")+path, nil)
	if err != nil {
		return err
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the admin listener: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return refusal(resp)
	}
	_, err = io.Copy(cmd.OutOrStdout(), resp.Body)
	return err
}
