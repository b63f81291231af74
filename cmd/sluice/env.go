package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/env"
	"github.com/sluicegate/sluice/internal/learn"
)

const envHelp = `Env serves a simulator of traffic that is coalesced, to train an agent in: the service sluice_env.FlushEnv of proto/env.proto, over
gRPC, with Reset and Step as in Gymnasium. The Python package in python/ makes a gymnasium.Env of it, and starts this command itself if it is not
told where one listens.

An episode is the traffic of one key; clients choose its kind, the route's options and a seed. An observation is what an agent is asked about, see
sluice agent; an action is to send the batch or to wait; a reward is minus what that cost, in calls.

A recording is traffic to choose, too: a file with the arrivals of a gateway, as /api/v1/arrivals on its admin listener has it, or with a time in
milliseconds a line. Clients ask for trace:FILE, spelled as with --trace.`

func newEnv() *cobra.Command {
	var listen string
	var traces []string
	var leashed bool
	cmd := &cobra.Command{
		Use:     "env",
		Short:   "Serve a simulator to train agents in, over gRPC",
		Long:    envHelp,
		Example: "  sluice env --listen 127.0.0.1:50052 --trace arrivals.csv",
		Args:    noArgs,
		RunE: fails(func(cmd *cobra.Command) error {
			if err := checkListen(listen); err != nil {
				return err
			}
			recordings := make(map[string]learn.Source, len(traces))
			for _, name := range traces {
				t, err := learn.OpenTraces(name)
				if err != nil {
					return fmt.Errorf("--trace: %w", err)
				}
				recordings[name] = t
			}
			if leashed {
				stop := endWith(cmd, cmd.InOrStdin())
				defer stop()
			}
			return runGRPC(cmd, listen, env.NewServer(recordings), "environment", "traces", traces)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&listen, "listen", "127.0.0.1:50052", "`address` to listen on; port 0 takes a free one")
	flags.BoolVar(&leashed, "stdin", false, "stop when the standard input ends: whoever started it leaves it behind in no case")
	flags.StringArrayVar(&traces, "trace", nil, "a `file` with recorded arrivals; may be repeated")
	return cmd
}

// endWith ends the context of cmd when in does. What reads in is left behind if that is later than the command.
func endWith(cmd *cobra.Command, in io.Reader) (stop func()) {
	ctx, cancel := context.WithCancel(cmd.Context())
	cmd.SetContext(ctx)
	go func() {
		io.Copy(io.Discard, in) // an error is an end, too
		cancel()
	}()
	return cancel
}
