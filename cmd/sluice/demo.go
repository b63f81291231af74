package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/origin"
	"github.com/sluicegate/sluice/internal/traffic"
)

const demoHelp = `Demo runs the gateway with everything around it in one process: an origin that takes 20ms ± 5ms for an answer,
the gateway in front of it, and light traffic from a few named clients, of whom one asks for more than its limit allows:
what they read is cached and shared, what they order is accepted and done later, and what capacity there is is sold by auction.
It needs no file and no network; what it keeps goes with it.
Stop it with ctrl-C.`

const (
	demoLatency = 20 * time.Millisecond
	demoJitter  = 5 * time.Millisecond
	demoRate    = 30 // requests a second
)

// demoFile names clients as the traffic does, and limits them. Of the traffic, alice sends 12 requests a second, and nobody
// else comes near 50.
const demoFile = `
data_dir: ${DIR}
market: {listen: "127.0.0.1:0"}
identify: {sources: [{header: X-User}, {address: {ipv6_prefix: 64}}]}
limits:
  client: {rate: 50/s, burst: 100, overrides: {alice: {rate: 5/s, burst: 10}}}
upstreams:
  origin: {targets: ["http://${ORIGIN}"], max_in_flight: 8, queue: {max: 100, timeout: 2s}}
routes:
  - {path: /api/orders, methods: [POST], upstream: origin, limits: [client], async: {max_attempts: 3}}
  - path: /api/*
    methods: [GET, HEAD]
    upstream: origin
    limits: [client]
    cache: {max_ttl: 2s}
    coalesce: {call_cost: 25ms, freshness: relaxed, share_across: [X-User]}
  - {path: /*, upstream: origin, limits: [client]}
`

func newDemo() *cobra.Command {
	var listen, adminListen string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the gateway in front of a built-in origin, with some traffic",
		Long:  demoHelp,
		Args:  noArgs,
		RunE: fails(func(cmd *cobra.Command) error {
			return demo(cmd, listen, adminListen, !quiet)
		}),
	}
	defaults := config.Default()
	flags := cmd.Flags()
	flags.StringVar(&listen, "listen", defaults.Listen, "`address` for clients; port 0 takes a free one")
	flags.StringVar(&adminListen, "admin", defaults.Admin.Listen, "`address` for operators")
	flags.BoolVar(&quiet, "no-traffic", false, "send no traffic")
	return cmd
}

func demo(cmd *cobra.Command, listen, adminListen string, withTraffic bool) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	backend := origin.New(origin.Options{Latency: demoLatency, Jitter: demoJitter})
	dir, err := os.MkdirTemp("", "sluice-demo-")
	if err != nil {
		ln.Close()
		return err
	}
	defer os.RemoveAll(dir)
	cfg, err := demoConfig(ln.Addr().String(), dir, listen, adminListen)
	if err != nil {
		ln.Close()
		return usagef("%v", err)
	}
	n, err := newNode(cmd.Context(), cfg, nil, cmd.ErrOrStderr())
	if err != nil {
		ln.Close()
		return err
	}
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	served := make(chan error, 1)
	go func() { served <- backend.Serve(ln) }()
	announce(cmd.OutOrStdout(), n.url(), "http://"+ln.Addr().String(), n.adminURL())

	driven := make(chan error, 1)
	go func() { driven <- drive(ctx, n.url(), withTraffic) }()
	traded := make(chan struct{})
	go func() {
		defer close(traded)
		if withTraffic {
			traffic.Trade(ctx, "http://"+n.marketListener.Addr().String())
		}
	}()
	err = n.run(ctx)
	stop()
	<-traded
	err = errors.Join(onlyReal(err), onlyReal(<-driven))
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	backend.Shutdown(grace)
	<-served
	return err
}

// announce says where to look.
func announce(w io.Writer, gate, origin, admin string) {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprint(tw, "Sluice is running, with an origin and traffic of its own. Try:\n\n")
	fmt.Fprintf(tw, "  open %s\tthe dashboard, in a browser; or sluice top --admin %s\n", admin, admin)
	fmt.Fprintf(tw, "  curl -i %s/hello\tthrough the gateway\n", gate)
	fmt.Fprintf(tw, "  curl -s %s/_origin/stats\twhat reaches the origin\n", origin)
	fmt.Fprintf(tw, "  curl -s %s/api/v1/status\twhat the gateway knows\n", admin)
	fmt.Fprintf(tw, "  curl -s %s/metrics\tfor Prometheus\n", admin)
	fmt.Fprintf(tw, "  curl -s %s/api/v1/limits\tthe limit, and what it refused: whatever alice asks for beyond hers\n", admin)
	fmt.Fprintf(tw, "  curl -i -H 'X-User: alice' %s/hello\tas alice, who may ask 5 times a second: mostly 429 while her traffic goes on\n", gate)
	fmt.Fprintf(tw, "  curl -i -H 'X-User: bob' %s/hello\tas bob, who may ask 50 times a second: 200\n", gate)
	fmt.Fprint(tw, "\nctrl-C stops it.\n")
	tw.Flush()
}

// demoConfig is demoFile with what the flags say.
func demoConfig(originAddr, dir, listen, adminListen string) (*config.Config, error) {
	flags, err := config.Single("http://"+originAddr, listen, adminListen) // its mistakes name the flags
	if err != nil {
		return nil, err
	}
	vars := map[string]string{"ORIGIN": originAddr, "DIR": dir}
	env := func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	cfg, err := config.Parse("", []byte(demoFile), env, nil)
	if err != nil {
		return nil, err
	}
	cfg.Listen, cfg.Admin.Listen = flags.Listen, flags.Admin.Listen
	return cfg, nil
}

// drive sends traffic until ctx ends.
func drive(ctx context.Context, url string, on bool) error {
	if !on {
		return nil
	}
	g, err := traffic.New(traffic.Options{BaseURL: url, Rate: demoRate, Seed: uint64(time.Now().UnixNano())})
	if err != nil {
		return err
	}
	return g.Run(ctx)
}

// onlyReal drops the errors that only say that something was stopped.
func onlyReal(err error) error {
	if ended(err) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
