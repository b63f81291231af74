package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/rate"
	"github.com/sluicegate/sluice/internal/storage"
)

const quotaHelp = `Quota sets how many bytes users of sluice store may keep in a calendar month, and how many requests they may send in a minute. It is
kept in the log, and holds on every node at once.

The commands talk to the admin listener of any node. If it asks for a token, it is in --token or the variable SLUICE_ADMIN_TOKEN.`

func newQuota() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quota",
		Short: "Set what users of the store may keep and send, at run time",
		Long:  quotaHelp,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	api := new(adminAPI)
	flags := cmd.PersistentFlags()
	flags.StringVar(&api.base, "admin", "http://127.0.0.1:5001", "`URL` of a node's admin listener")
	flags.StringVar(&api.token, "token", "", "the admin `token`; without it, that of "+adminTokenEnv)
	cmd.AddCommand(newQuotaSet(api), newQuotaGet(api), newQuotaList(api), newQuotaUnset(api))
	return cmd
}

const quotasPath = "/api/v1/quotas"

func newQuotaSet(api *adminAPI) *cobra.Command {
	var size, perMinute string
	var everybody bool
	cmd := &cobra.Command{
		Use:     "set [USER]",
		Short:   "Give a user, or everybody, other limits",
		Example: "  sluice quota set 1 --bytes 100MB --rate 300/min\n  sluice quota set --default --bytes 1GiB",
	}
	flags := cmd.Flags()
	flags.StringVar(&size, "bytes", "", "how much may be stored in a month: `SIZE` as 50000000, 100MB or 1GiB")
	flags.StringVar(&perMinute, "rate", "", "how many requests may be sent: `RATE` as 120/min or 5/s")
	defaultFlag(cmd, &everybody)
	cmd.RunE = limitsRun(api, func(cmd *cobra.Command, args []string) error {
		c := storage.QuotaChange{Default: everybody}
		if len(args) == 1 {
			c.UserID = args[0]
		}
		var err error
		if size != "" {
			if c.Quota, err = parseSize(size); err != nil {
				return usagef("--bytes: %v", err)
			}
		}
		if perMinute != "" {
			if c.Rate, err = parsePerMinute(perMinute); err != nil {
				return usagef("--rate: %v", err)
			}
		}
		if size == "" && perMinute == "" {
			return usagef("expected --bytes or --rate")
		}
		return api.ask(cmd, http.MethodPut, quotasPath, nil, c, nil)
	})
	return cmd
}

// defaultFlag adds --default, which stands in place of USER.
func defaultFlag(cmd *cobra.Command, everybody *bool) {
	cmd.Flags().BoolVar(everybody, "default", false, "instead of USER: everybody without limits of their own")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if *everybody {
			return noArgs(cmd, args)
		}
		return namedArgs("USER")(cmd, args)
	}
}

func newQuotaGet(api *adminAPI) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "get USER",
		Short: "Show what a user may and used",
		Args:  namedArgs("USER"),
	}
	cmd.RunE = limitsRun(api, func(cmd *cobra.Command, args []string) error {
		var page storage.QuotaPage
		if err := api.ask(cmd, http.MethodGet, quotasPath, storage.QuotaQuery(args[0]), nil, &page); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), page.Quotas[0])
		}
		return printQuotas(cmd.OutOrStdout(), page.Quotas)
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func newQuotaList(api *adminAPI) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List users who have limits of their own, or used something this month",
		Args:  noArgs,
	}
	cmd.RunE = limitsRun(api, func(cmd *cobra.Command, _ []string) error {
		all, err := api.quotas(cmd)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), all)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "everybody else: %d bytes a month, %d requests a minute\n", all.Default.Quota, all.Default.Rate)
		return printQuotas(cmd.OutOrStdout(), all.Quotas)
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// quotas reads all pages.
func (a *adminAPI) quotas(cmd *cobra.Command) (all storage.QuotaPage, err error) {
	all.Quotas = []storage.QuotaView{}
	query := url.Values{"limit": {"1000"}}
	for {
		var page storage.QuotaPage
		if err := a.ask(cmd, http.MethodGet, quotasPath, query, nil, &page); err != nil {
			return all, err
		}
		all.Default, all.Quotas = page.Default, append(all.Quotas, page.Quotas...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("cursor", page.Next)
	}
}

func newQuotaUnset(api *adminAPI) *cobra.Command {
	var everybody bool
	cmd := &cobra.Command{Use: "unset [USER]", Short: "Take a user, or everybody, back to the default"}
	defaultFlag(cmd, &everybody)
	cmd.RunE = limitsRun(api, func(cmd *cobra.Command, args []string) error {
		query := url.Values{"default": {""}}
		if !everybody {
			query = storage.QuotaQuery(args[0])
		}
		return api.ask(cmd, http.MethodDelete, quotasPath, query, nil, nil)
	})
	return cmd
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func printQuotas(w io.Writer, list []storage.QuotaView) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "USER\tQUOTA\tUSED\tRESERVED\tAVAILABLE\tREQUESTS\tRESETS")
	for _, q := range list {
		fmt.Fprintf(table, "%s\t%d%s\t%d\t%d\t%d\t%d/min%s\t%s\n",
			printable(q.UserID), q.Quota, own(q.OwnQuota), q.Used, q.Reserved, q.Available, q.Rate, own(q.OwnRate), q.ResetsAt)
	}
	return table.Flush()
}

// own marks what was set for a user.
func own(set bool) string {
	if set {
		return "*"
	}
	return ""
}

// sizeUnits are those that a size may have, the longer ones first.
var sizeUnits = []struct {
	name  string
	bytes uint64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// parseSize reads a number of bytes.
func parseSize(text string) (*uint64, error) {
	unit := uint64(1)
	digits := text
	for _, u := range sizeUnits {
		if cut, ok := strings.CutSuffix(text, u.name); ok {
			digits, unit = strings.TrimSpace(cut), u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > (1<<63)/unit {
		return nil, fmt.Errorf("%q is no size: expected bytes as 50000000, 100MB or 1GiB", text)
	}
	n *= unit
	return &n, nil
}

// parsePerMinute reads a rate that is a whole number of requests a minute.
func parsePerMinute(text string) (*uint32, error) {
	r, err := rate.Parse(text)
	if err != nil {
		return nil, err
	}
	if r.Count > int64(1<<63-1)/int64(time.Minute) || r.Count*int64(time.Minute)%int64(r.Period) != 0 {
		return nil, fmt.Errorf("%s is not a whole number of requests a minute", text)
	}
	n := r.Count * int64(time.Minute) / int64(r.Period)
	if n > 1<<32-1 {
		return nil, fmt.Errorf("%s is too fast", text)
	}
	short := uint32(n)
	return &short, nil
}
