package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/origin"
)

// originGrace is how long requests in flight may go on after the signal to stop.
const originGrace = 10 * time.Second

const originHelp = `Run an HTTP server to test a gateway against.

Every path and method is answered with a small JSON body: the path, the method and a counter, and the length and
SHA-256 of the body of the request if it had one. The query of a request asks for something else:

  ?bytes=N      a body of N bytes instead: a number, or a size such as 100MB or 64KiB, at most 1TiB
  ?chunked=1    send the body in chunks, without a Content-Length
  ?status=N     answer with this status, 101 to 599; 1xx closes the connection
  ?sleep=D      wait longer before answering, such as 250ms, at most 10m
  ?cache=VALUE  send this Cache-Control field
  ?sse=N        send N server-sent events, one each ?interval=D (default 100ms)
  ?headers=1    list in the JSON body the header fields as they arrived
  ?echo=1       the body of the request instead, of 1 MiB at most

  /healthz             answers at once, whatever --latency, --jitter and --fail say
  /_origin/stats       how many requests it served, and the largest number in flight at once, in all and by path
  POST /_origin/reset  zero these

SIGINT or SIGTERM stops it once the requests in flight are answered, after 10s at the latest; a second one, at once.`

func newOrigin() *cobra.Command {
	var listen string
	var opts origin.Options
	cmd := &cobra.Command{
		Use:     "origin",
		Short:   "Run an HTTP server to test a gateway against",
		Long:    originHelp,
		Example: "  sluice origin --latency 20ms --jitter 5ms --fail 0.01\n  curl 'http://127.0.0.1:9090/any/path?sleep=1s&cache=max-age=60'",
		Args:    noArgs,
		RunE: fails(func(cmd *cobra.Command) error {
			if err := opts.Validate(); err != nil {
				return usagef("--%v", err)
			}
			if _, _, err := net.SplitHostPort(listen); err != nil {
				return usagef("--listen: expected HOST:PORT, got %q", listen)
			}
			opts.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			return runOrigin(cmd, listen, opts)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&listen, "listen", "127.0.0.1:9090", "`address` to listen on; port 0 takes a free one")
	flags.DurationVar(&opts.Latency, "latency", 0, "wait this `duration` before each answer, at most 10m (default 0s)")
	flags.DurationVar(&opts.Jitter, "jitter", 0, "spread each wait evenly over latency ± this `duration` (default 0s)")
	flags.Float64Var(&opts.Fail, "fail", 0, "answer this `share` of the requests with 500, 0 to 1 (default 0)")
	return cmd
}

// runOrigin serves on listen until the context of cmd ends or a signal arrives.
func runOrigin(cmd *cobra.Command, listen string, opts origin.Options) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := origin.New(opts)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	fmt.Fprintf(cmd.ErrOrStderr(), "origin listening on http://%s (latency %v, jitter %v, fail %v)\n",
		ln.Addr(), opts.Latency, opts.Jitter, opts.Fail)

	select {
	case err := <-served:
		return errors.Join(err, server.Shutdown(context.Background()))
	case <-ctx.Done():
	}
	stop() // from here on a signal ends the process at once
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), originGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "origin stopped after %v with requests in flight\n", originGrace)
	}
	if err := <-served; !errors.Is(err, origin.ErrClosed) {
		return err
	}
	return nil
}
