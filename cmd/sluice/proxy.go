package main

import (
	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/config"
)

const proxyHelp = `Proxy stands in front of one HTTP service and lets identical GET requests share one upstream call: the gateway that serve runs,
with coalescing switched on, without a file.

A GET waits for others like it, for --batch-timeout or until they are --max-batch-size, or shorter if the policy says so; then one
call answers all of them. What may be shared follows RFC 9111: nothing with Authorization or Cookie, no answer that is private or sets a
cookie. Every other request passes at once.

Policies: ppo, the default, has learned from much traffic when to send, for what a call is worth: --call-cost; --policy-file is one
that sluice train has written. timer waits for the batch timeout; immediate does not wait, and shares calls under way if --freshness is relaxed; size waits for a full
batch; balance sends when the requests have together waited as long as --call-cost; threshold expects the rate of requests to stay
what it is, and waits for as many as are worth it; remote asks another program over gRPC, such as sluice agent, at --agent.

With --freshness strict an answer comes from a call that was sent after the request came; with relaxed also from a call under way.
--cache-ttl keeps answers that say how long they are fresh, for at most that long.`

func newProxy() *cobra.Command {
	var p config.Preset
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Run the gateway in front of one service, with identical requests sharing calls",
		Long:  proxyHelp,
		Example: "  sluice proxy --upstream http://127.0.0.1:9090\n" +
			"  sluice proxy --upstream http://127.0.0.1:9090 --policy balance --call-cost 100ms --freshness relaxed --cache-ttl 1s",
		Args: noArgs,
		RunE: fails(func(cmd *cobra.Command) error {
			if p.Upstream == "" {
				return usagef("--upstream is required: the service's URL, such as http://127.0.0.1:9090")
			}
			cfg, err := config.Proxy(&p)
			if err != nil {
				return usagef("%v", err)
			}
			return serve(cmd, cfg, nil)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&p.Upstream, "upstream", "", "the service's `URL` (required)")
	flags.StringVar(&p.Listen, "listen", "127.0.0.1:8080", "`address` for clients; port 0 takes a free one")
	flags.StringVar(&p.Admin, "admin", "127.0.0.1:8081", "`address` for operators")
	flags.StringVar(&p.MaxConnections, "max-connections", "1000", "serve at most this `number` of connections at once; more wait")
	flags.StringVar(&p.Hold, "batch-timeout", "50ms", "a request waits for others at most for this `duration`")
	flags.StringVar(&p.MaxBatch, "max-batch-size", "128", "at most this `number` of requests wait for one call")
	flags.StringVar(&p.Policy, "policy", "ppo", "when to send within these bounds: ppo, timer, immediate, size, balance, threshold or remote")
	flags.StringVar(&p.CallCost, "call-cost", "25ms", "ppo, balance, threshold, remote: a call saved is worth this `duration` of one request's waiting")
	flags.StringVar(&p.PolicyFile, "policy-file", "", "ppo: the `file` of another policy than the program's own, as sluice train writes it")
	flags.StringVar(&p.Agent, "agent", "", "remote: `address` of the program that decides, such as 127.0.0.1:50051")
	flags.StringVar(&p.AgentTimeout, "agent-timeout", "5ms", "remote: decide without it after this `duration`")
	flags.StringVar(&p.Freshness, "freshness", "strict", "strict, or relaxed: calls under way answer requests that come later, too")
	flags.StringVar(&p.TTL, "cache-ttl", "0", "keep fresh answers for at most this `duration`; 0 keeps none")
	return cmd
}
