package main

import (
	"fmt"
	"os"
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

It decides by the learned policy of this program, or by that in a file as sluice train writes it; or by one of the rules
balance, threshold and immediate.`

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
	flags.StringVar(&policy, "policy", "ppo", "decide by this `file` of a learned policy, or by ppo, balance, threshold or immediate")
	flags.DurationVar(&callCost, "call-cost", 25*time.Millisecond, "for clients that don't say: a call saved is worth this `duration` of one request's waiting")
	return cmd
}

// decider returns what decides, for what a call is worth: the rule of that name, or the policy in the file of that name.
func decider(name string) (func(callCost time.Duration) coalesce.Policy, error) {
	params := flush.Params{Net: flush.Default()}
	switch name {
	case "ppo", "balance", "threshold", "immediate": // all that need to know no more than what a call is worth
	default:
		net, err := loadPolicy(name)
		if err != nil {
			return nil, fmt.Errorf("--policy is neither ppo, balance, threshold or immediate, nor a file that can be used: %w", err)
		}
		name, params.Net = "ppo", net
	}
	return func(callCost time.Duration) coalesce.Policy {
		p := params
		p.CallCost = callCost
		policy, err := flush.Parse(name, p)
		if err != nil {
			panic(err) // the name is known, and the cost positive
		}
		return policy
	}, nil
}

// loadPolicy reads a file of a learned policy.
func loadPolicy(name string) (*flush.Network, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	net, err := flush.Load(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return net, nil
}
