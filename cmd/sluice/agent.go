package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/agent"
)

const agentHelp = `Agent decides over gRPC when requests that wait together are sent, for gateways with --policy remote: the service
rl_agent.RlAgent of proto/rl_agent.proto. It has no state, so one can decide for many gateways, or many for one address.

It is also an example: a program of your own that answers the same question, in any language, takes its place. Reflection and
the standard health service are on. There is no TLS and no token: listen where only your gateways can connect.

Policies: balance, threshold or immediate.`

func newAgent() *cobra.Command {
	var listen, policy string
	var callCost time.Duration
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Decide for other gateways when requests are sent, over gRPC",
		Long:  agentHelp,
		Example: "  sluice agent --listen 127.0.0.1:50051\n" +
			"  sluice proxy --upstream http://127.0.0.1:9090 --policy remote --agent 127.0.0.1:50051",
		Args: noArgs,
		RunE: fails(func(cmd *cobra.Command) error {
			if err := checkListen(listen); err != nil {
				return err
			}
			if callCost <= 0 {
				return usagef("--call-cost must be positive, got %v", callCost)
			}
			decide, err := decider(policy)
			if err != nil {
				return err
			}
			return runGRPC(cmd, listen, agent.NewServer(decide, callCost), "agent", "policy", policy)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&listen, "listen", "127.0.0.1:50051", "`address` to listen on; port 0 takes a free one")
	flags.StringVar(&policy, "policy", "balance", "the `policy` that decides")
	flags.DurationVar(&callCost, "call-cost", 25*time.Millisecond, "for clients that don't say: a call saved is worth this `duration` of one request's waiting")
	return cmd
}

// rules are the policies that need to know no more than what a call is worth.
func rules() []string { return []string{"balance", "threshold", "immediate"} }

// decider returns the policy of that name, for what a call is worth.
func decider(name string) (func(callCost time.Duration) coalesce.Policy, error) {
	for _, rule := range rules() {
		if name == rule {
			return func(callCost time.Duration) coalesce.Policy {
				p, err := flush.Parse(rule, flush.Params{CallCost: callCost})
				if err != nil {
					panic(err) // the name is known, and the cost positive
				}
				return p
			}, nil
		}
	}
	return nil, usagef("--policy: expected one of %s, got %q", strings.Join(rules(), ", "), name)
}
