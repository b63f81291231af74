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

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/rate"
)

const limitsHelp = `Limits sets the limits of single clients at run time. They are kept in the Redis of the configuration, hold on every node that
shares it, within a second, and go before those of the configuration. A client that has spent something has still spent it.

The commands talk to the admin listener of any node. If it asks for a token, it is in --token or the variable SLUICE_ADMIN_TOKEN.`

func newLimits() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "limits",
		Short: "Set the limits of single clients at run time",
		Long:  limitsHelp,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	api := new(adminAPI)
	flags := cmd.PersistentFlags()
	flags.StringVar(&api.base, "admin", "http://"+config.Default().Admin.Listen, "`URL` of a node's admin listener")
	flags.StringVar(&api.token, "token", "", "the admin `token`; without it, that of "+adminTokenEnv)
	cmd.AddCommand(newLimitsSet(api), newLimitsGet(api), newLimitsList(api), newLimitsUnset(api))
	return cmd
}

func newLimitsSet(api *adminAPI) *cobra.Command {
	var burst int64
	cmd := &cobra.Command{
		Use:     "set CLIENT RULE RATE",
		Short:   "Give a client a limit of its own",
		Example: "  sluice limits set alice client 120/min\n  sluice limits set alice client 500/s --burst 100",
		Args:    namedArgs("CLIENT", "RULE", "RATE"),
	}
	cmd.Flags().Int64Var(&burst, "burst", 0, "how much may come at once beyond the first; without it, as the rule says for this client")
	cmd.RunE = limitsRun(api, func(cmd *cobra.Command, args []string) error {
		o := limit.Override{Client: args[0], Rule: args[1], Rate: args[2]}
		if _, err := rate.Parse(o.Rate); err != nil {
			return usagef("RATE: %q: %v", o.Rate, err)
		}
		if cmd.Flags().Changed("burst") {
			if burst < 0 {
				return usagef("--burst must not be negative, got %d", burst)
			}
			o.Burst = &burst
		}
		return api.do(cmd, http.MethodPut, nil, o, nil)
	})
	return cmd
}

func newLimitsGet(api *adminAPI) *cobra.Command {
	return &cobra.Command{
		Use:   "get CLIENT RULE",
		Short: "Show the limit that was set for a client",
		Args:  namedArgs("CLIENT", "RULE"),
		RunE: limitsRun(api, func(cmd *cobra.Command, args []string) error {
			list, err := api.overrides(cmd, args[0], args[1])
			if err != nil {
				return err
			}
			if len(list) == 0 {
				return fmt.Errorf("%q has no override of %q", args[0], args[1])
			}
			fmt.Fprintln(cmd.OutOrStdout(), list[0].Rate+", burst "+burstText(list[0].Burst))
			return nil
		}),
	}
}

func newLimitsList(api *adminAPI) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the limits that were set for clients",
		Args:  noArgs,
		RunE: limitsRun(api, func(cmd *cobra.Command, _ []string) error {
			list, err := api.overrides(cmd, "", "")
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(list)
			}
			return printOverrides(cmd.OutOrStdout(), list)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

func newLimitsUnset(api *adminAPI) *cobra.Command {
	return &cobra.Command{
		Use:   "unset CLIENT RULE",
		Short: "Let the configuration decide about a client again",
		Args:  namedArgs("CLIENT", "RULE"),
		RunE: limitsRun(api, func(cmd *cobra.Command, args []string) error {
			return api.do(cmd, http.MethodDelete, url.Values{"client": {args[0]}, "rule": {args[1]}}, nil, nil)
		}),
	}
}

// namedArgs asks for exactly these arguments, none of them empty.
func namedArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usagef("%s takes %s, got %d arguments", cmd.CommandPath(), strings.Join(names, " "), len(args))
		}
		for i, arg := range args {
			if arg == "" {
				return usagef("%s: %s must not be empty", cmd.CommandPath(), names[i])
			}
		}
		return nil
	}
}

// limitsRun makes a RunE of run, which may use api.
func limitsRun(api *adminAPI, run func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return fails(func(cmd *cobra.Command) error {
			if err := api.check(); err != nil {
				return err
			}
			return run(cmd, args)
		})(cmd, args)
	}
}

func printOverrides(w io.Writer, list []limit.Override) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RULE\tCLIENT\tRATE\tBURST")
	for _, o := range list {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", o.Rule, printable(o.Client), o.Rate, burstText(o.Burst))
	}
	return table.Flush()
}

// printable is a client's name, quoted if it could be taken for something else: names are up to the clients.
func printable(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` || strings.Contains(name, " ") {
		return quoted
	}
	return name
}

func burstText(burst *int64) string {
	if burst == nil {
		return "of the rule"
	}
	return strconv.FormatInt(*burst, 10)
}

func (a *adminAPI) overrides(cmd *cobra.Command, client, rule string) ([]limit.Override, error) {
	query := url.Values{}
	if client != "" {
		query = url.Values{"client": {client}, "rule": {rule}}
	}
	var answer struct{ Overrides []limit.Override }
	err := a.do(cmd, http.MethodGet, query, nil, &answer)
	return answer.Overrides, err
}

// do asks the overrides' part of the API.
func (a *adminAPI) do(cmd *cobra.Command, method string, query url.Values, body, answer any) error {
	return a.ask(cmd, method, "/api/v1/limits/overrides", query, body, answer)
}
