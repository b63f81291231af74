package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/journal"
	"github.com/sluicegate/sluice/internal/market"
)

const marketHelp = `Market is an HTTP server that sells capacity to the highest bid. Supply goes to the highest price first, first come first
served within a price; what nobody wants is left over and serves later bids at once.

  $ curl -s localhost:8080/buy -H 'Content-Type: application/json' -d '{"username":"u1","volume":100,"price":3}'
  {"id":1,"allocated":0,"open":100}
  $ curl -s localhost:8080/sell -H 'Content-Type: application/json' -d '{"volume":250}'
  {"allocated":100,"left":150}
  $ curl -s localhost:8080/allocation?username=u1
  100

An order is answered when it is in the log on disk, so that nothing that was answered is lost to a crash. The log is in --data-dir, or
with --nats on a NATS cluster with JetStream: then any number of nodes, each with a directory of its own, take orders for one market.

GET /openapi.yaml describes every endpoint, and docs/market.md the rules. The admin listener has /metrics, /healthz and /readyz. SIGINT or
SIGTERM answers what has arrived and stops the server; a second signal ends it at once.`

// marketFlags are what the command line says.
type marketFlags struct {
	listen, admin, dir, nats string
	noSync                   bool
	snapshotEvery            uint64
}

func newMarket() *cobra.Command {
	var f marketFlags
	cmd := &cobra.Command{
		Use:     "market",
		Short:   "Run an HTTP server that sells capacity to the highest bid",
		Long:    marketHelp,
		Example: "  sluice market --listen :8080 --data-dir /var/lib/sluice",
		Args:    noArgs,
		RunE: fails(func(cmd *cobra.Command) error {
			if err := f.check(); err != nil {
				return err
			}
			return runMarket(cmd, f)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "0.0.0.0:8080", "`address` to listen on; port 0 takes a free one")
	flags.StringVar(&f.admin, "admin", "127.0.0.1:8081", "`address` of metrics and health checks; empty for none")
	flags.StringVar(&f.dir, "data-dir", "./sluice-data", "`directory` that keeps the log, or with --nats this node's snapshots")
	flags.StringVar(&f.nats, "nats", "", "keep the log on the NATS servers at these `URLs`, separated by commas")
	flags.BoolVar(&f.noSync, "no-sync", false, "answer before the log is synced to disk: to measure what syncing costs")
	flags.Uint64Var(&f.snapshotEvery, "snapshot-every", 0, "take a snapshot after so many `commands`")
	flags.MarkHidden("snapshot-every")
	return cmd
}

// check finds mistakes in the flags.
func (f *marketFlags) check() error {
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return usagef("--listen: expected HOST:PORT, got %q", f.listen)
	}
	if _, _, err := net.SplitHostPort(f.admin); f.admin != "" && err != nil {
		return usagef("--admin: expected HOST:PORT or nothing, got %q", f.admin)
	}
	switch {
	case f.dir == "":
		return usagef("--data-dir must not be empty")
	case f.noSync && f.nats != "":
		return usagef("--no-sync is for the log in --data-dir: with --nats, the servers say when they sync")
	}
	return nil
}

// A marketNode is a running market with its listeners.
type marketNode struct {
	flags  marketFlags
	log    *slog.Logger
	dir    *datadir.Dir
	broker *journal.Broker
	market *market.Market
	server *market.Server
	admin  *market.Admin

	listener, adminListener net.Listener // the latter is nil without --admin
}

// runMarket serves until the context of cmd ends, a signal arrives or the log stops.
func runMarket(cmd *cobra.Command, f marketFlags) error {
	moreProcs()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if path, err := filepath.Abs(f.dir); err == nil {
		f.dir = path // as the log shall say it
	}
	n := &marketNode{flags: f, log: newLogger(cmd.ErrOrStderr(), &config.Default().Log, new(slog.LevelVar))}
	defer n.close()
	if err := n.open(ctx); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			n.log.Info("stopped before the market was open")
			return nil
		}
		return err
	}
	n.log.Info("market is listening", "url", urlOf(n.listener.Addr()), "listen", n.listener.Addr().String(), "admin", n.adminURL(),
		"data_dir", f.dir, "nats", f.nats != "", "sequence", n.market.Status().Sequence)
	return n.serve(ctx, stop)
}

// slowOpen is after how long it is logged that the log is not read yet: NATS may be away, or the log long.
const slowOpen = 3 * time.Second

// open binds the listeners, so that a taken port is found before anything starts, and restores the market.
func (n *marketNode) open(ctx context.Context) (err error) {
	if n.listener, err = net.Listen("tcp", n.flags.listen); err != nil {
		return err
	}
	if n.flags.admin != "" {
		if n.adminListener, err = net.Listen("tcp", n.flags.admin); err != nil {
			return fmt.Errorf("%w (--admin '' does without it, --admin HOST:PORT takes another)", err)
		}
	}
	if n.dir, err = datadir.Open(n.flags.dir); err != nil {
		return err
	}
	n.admin = market.NewAdmin(n.flags.dir, n.log)
	if n.adminListener != nil {
		n.admin.Start(n.adminListener) // probes are answered while the log is replayed
	}
	if n.broker, err = n.connect(); err != nil {
		return err
	}
	slow := time.AfterFunc(slowOpen, func() {
		n.log.Warn("the market opens when its log is read", "nats", n.flags.nats != "", "waited", slowOpen.String())
	})
	defer slow.Stop()
	n.market, err = market.Open(ctx, market.Options{Dir: n.dir, Broker: n.broker, Log: n.log, SnapshotEvery: n.flags.snapshotEvery})
	if err != nil {
		return err
	}
	n.server = market.NewServer(n.market)
	n.admin.Serving(n.market, n.server)
	return nil
}

func (n *marketNode) connect() (*journal.Broker, error) {
	if n.flags.nats != "" {
		return journal.Dial(journal.DialConfig{URL: n.flags.nats, Log: n.log})
	}
	return journal.Embed(journal.EmbedConfig{Dir: n.dir, Log: n.log, NoSync: n.flags.noSync})
}

func (n *marketNode) adminURL() string {
	if n.adminListener == nil {
		return ""
	}
	return "http://" + n.adminListener.Addr().String() + "/"
}

// serve answers until ctx ends. If the log has stopped, because it is damaged or disagrees, the process ends: nothing would be answered any more.
func (n *marketNode) serve(ctx context.Context, stop func()) error {
	serving, end := context.WithCancel(ctx)
	defer end()
	served := make(chan error, 1)
	go func() { served <- n.server.Serve(serving, n.listener) }()
	var stopped error
	select {
	case err := <-served: // the listener failed
		return err
	case <-n.market.Stopped():
		stopped = n.market.Err()
		end()
	case <-ctx.Done():
		n.log.Info("stopping", "timeout", market.Grace.String())
	}
	stop() // from here on a signal ends the process at once
	return errors.Join(stopped, <-served, n.market.Close())
}

// close ends what is open, in order.
func (n *marketNode) close() {
	if n.market != nil {
		n.market.Close()
	}
	if n.broker != nil {
		n.broker.Close()
	}
	if n.admin != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		n.admin.Stop(ctx)
	}
	for _, ln := range []net.Listener{n.listener, n.adminListener} {
		if ln != nil {
			ln.Close()
		}
	}
	if n.dir != nil {
		n.dir.Close()
	}
	if n.server != nil {
		n.log.Info("stopped", "data_dir", n.flags.dir)
	}
}
