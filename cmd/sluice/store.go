package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/admin"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/journal"
	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/objects"
	"github.com/sluicegate/sluice/internal/storage"
)

const storeHelp = `Store is an HTTP server that keeps objects for users, within quotas that hold to the byte.

  $ curl -si 'localhost:5000/object-storage?userId=1' -H 'Content-Type: application/json' \
      -d '{"objectId":"1cbs5","sizeInByte":1000000,"bucketName":"bucket-1","fileName":"f1.png"}'
  HTTP/1.1 202 Accepted
  Location: /jobs/01kb...?userId=1
  $ curl -T f1.png 'localhost:5000/object-storage/bucket-1/f1.png?userId=1'
  $ curl -O 'localhost:5000/object-storage/bucket-1/f1.png?userId=1'
  $ curl 'localhost:5000/quota?userId=1'

Each user may store 50,000,000 bytes in a calendar month (UTC) and send 120 requests a minute; sluice quota changes that at run time. What was
answered is in the log on disk: nothing that was accepted is lost to a crash, and no quota is exceeded by a byte.

The log is in --data-dir, or with --nats on a NATS cluster with JetStream: then any number of nodes, each with a data directory of its own, serve
one storage, whose content is in a directory that they share (--objects) or at a service that speaks S3 (--s3). With --redis they share the limit of
requests as well.

The admin listener has /metrics, /healthz, /readyz and the API; docs/storage.md has the rest. SIGINT or SIGTERM answers what has arrived and stops
the server; a second signal ends it at once.`

// storeFlags are what the command line says.
type storeFlags struct {
	listen, admin, dir, nats string
	objects, s3, redis       string
	workers, queue           int
	noSync                   bool
	snapshotEvery            uint64
}

func newStore() *cobra.Command {
	var f storeFlags
	cmd := &cobra.Command{
		Use:     "store",
		Short:   "Run an HTTP server that keeps objects within quotas",
		Long:    storeHelp,
		Example: "  sluice store --listen :5000 --data-dir /var/lib/sluice",
		Args:    noArgs,
		RunE: fails(func(cmd *cobra.Command) error {
			if err := f.check(); err != nil {
				return err
			}
			return runStore(cmd, f)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "0.0.0.0:5000", "`address` to listen on; port 0 takes a free one")
	flags.StringVar(&f.admin, "admin", "127.0.0.1:5001", "`address` of metrics, health checks and the API; empty for none")
	flags.StringVar(&f.dir, "data-dir", "./sluice-data", "`directory` that keeps the log, or with --nats this node's snapshots")
	flags.StringVar(&f.objects, "objects", "", "`directory` that keeps the content; empty for objects in --data-dir")
	flags.StringVar(&f.s3, "s3", "", "keep the content at this `URL` of a service that speaks S3: https://KEY:SECRET@HOST/BUCKET")
	flags.StringVar(&f.redis, "redis", "", "share the limit of requests through the Redis at this `URL`: redis://HOST:PORT/DB")
	flags.StringVar(&f.nats, "nats", "", "keep the log on the NATS servers at these `URLs`, separated by commas")
	flags.IntVar(&f.workers, "workers", 16, "how many jobs this node does at once")
	flags.IntVar(&f.queue, "queue", 1_000_000, "how many jobs may be queued before more are refused")
	flags.BoolVar(&f.noSync, "no-sync", false, "answer before the log is synced to disk: to measure what syncing costs")
	flags.Uint64Var(&f.snapshotEvery, "snapshot-every", 0, "take a snapshot after so many `commands`")
	flags.MarkHidden("snapshot-every")
	return cmd
}

// check finds mistakes in the flags.
func (f *storeFlags) check() error {
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return usagef("--listen: expected HOST:PORT, got %q", f.listen)
	}
	if _, _, err := net.SplitHostPort(f.admin); f.admin != "" && err != nil {
		return usagef("--admin: expected HOST:PORT or nothing, got %q", f.admin)
	}
	if _, err := config.ParseRedis(f.redis); f.redis != "" && err != nil {
		return usagef("--redis: %v", err)
	}
	switch {
	case f.dir == "":
		return usagef("--data-dir must not be empty")
	case f.objects != "" && f.s3 != "":
		return usagef("--objects and --s3 are two places for the content: expected one")
	case f.nats != "" && f.objects == "" && f.s3 == "":
		return usagef("--nats is for nodes that share their content: say where it is with --objects, a directory that all of them see, or with --s3")
	case f.noSync && f.nats != "":
		return usagef("--no-sync is for the log in --data-dir: with --nats, the servers say when they sync")
	case f.workers < 1 || f.queue < 1:
		return usagef("--workers and --queue must be at least 1")
	}
	return nil
}

// A storeNode is a running storage with its listeners.
type storeNode struct {
	flags   storeFlags
	log     *slog.Logger
	dir     *datadir.Dir
	broker  *journal.Broker
	content objects.Store
	storage *storage.Storage
	shared  *limit.Shared // nil without --redis
	server  *storage.Server
	admin   *storage.Admin

	listener, adminListener net.Listener // the latter is nil without --admin
}

// runStore serves until the context of cmd ends, a signal arrives or the log stops.
func runStore(cmd *cobra.Command, f storeFlags) error {
	moreProcs()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if path, err := filepath.Abs(f.dir); err == nil {
		f.dir = path // as the log shall say it
	}
	if f.objects == "" && f.s3 == "" {
		f.objects = filepath.Join(f.dir, "objects")
	}
	n := &storeNode{flags: f, log: newLogger(cmd.ErrOrStderr(), &config.Default().Log, new(slog.LevelVar))}
	defer n.close()
	if err := n.open(ctx); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			n.log.Info("stopped before the storage was open")
			return nil
		}
		return err
	}
	n.log.Info("store is listening", "url", urlOf(n.listener.Addr()), "listen", n.listener.Addr().String(), "admin", n.adminURL(),
		"data_dir", f.dir, "objects", f.objects, "s3", f.s3 != "", "nats", f.nats != "", "redis", f.redis != "", "sequence", n.storage.Status().Sequence)
	return n.serve(ctx, stop)
}

// open binds the listeners, so that a taken port is found before anything starts, and restores the storage.
func (n *storeNode) open(ctx context.Context) (err error) {
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
	n.admin = storage.NewAdmin(os.Getenv(adminTokenEnv), n.log)
	n.admin.MountJobs(func(s *jobs.Service) http.Handler { return admin.JobsAPI(s, n.log) })
	if n.adminListener != nil {
		n.admin.Start(n.adminListener) // probes are answered while the log is replayed
	}
	if n.content, err = n.openContent(ctx); err != nil {
		return err
	}
	if n.broker, err = n.connect(); err != nil {
		return err
	}
	slow := time.AfterFunc(slowOpen, func() {
		n.log.Warn("the storage opens when its log is read", "nats", n.flags.nats != "", "waited", slowOpen.String())
	})
	defer slow.Stop()
	n.storage, err = storage.Open(ctx, storage.Options{
		Dir: n.dir, Broker: n.broker, Objects: n.content, Log: n.log, Workers: n.flags.workers, Queue: n.flags.queue,
		Registerer: n.admin.Registry(), SnapshotEvery: n.flags.snapshotEvery,
	})
	if err != nil {
		return err
	}
	return n.openServer()
}

func (n *storeNode) openServer() error {
	if n.flags.redis != "" {
		cfg, err := config.ParseRedis(n.flags.redis)
		if err != nil {
			return err
		}
		redis.SetLogger(redisLog{n.log}) // the library has one for the process, and it prints to stderr
		if n.shared, err = limit.OpenShared(sharedLimits(cfg, n.dir.ID())); err != nil {
			return fmt.Errorf("sharing limits: %w", err)
		}
	}
	n.server = storage.NewServer(n.storage, n.shared)
	n.admin.Serving(n.server)
	return nil
}

// openContent opens the store of content, and finds out whether it can be written to.
func (n *storeNode) openContent(ctx context.Context) (objects.Store, error) {
	content, err := n.dialContent()
	if err != nil {
		return nil, err
	}
	if err := content.Check(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("the store of content: %w", err), content.Close())
	}
	return content, nil
}

func (n *storeNode) dialContent() (objects.Store, error) {
	if n.flags.s3 == "" {
		return objects.OpenDir(n.flags.objects)
	}
	cfg, err := objects.ParseS3(n.flags.s3, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	return objects.DialS3(cfg)
}

func (n *storeNode) connect() (*journal.Broker, error) {
	if n.flags.nats != "" {
		return journal.Dial(journal.DialConfig{URL: n.flags.nats, Log: n.log})
	}
	return journal.Embed(journal.EmbedConfig{Dir: n.dir, Log: n.log, NoSync: n.flags.noSync})
}

func (n *storeNode) adminURL() string {
	if n.adminListener == nil {
		return ""
	}
	return "http://" + n.adminListener.Addr().String() + "/"
}

// serve answers until ctx ends. If the log has stopped, because it is damaged or disagrees, the process ends: nothing would be answered any more.
func (n *storeNode) serve(ctx context.Context, stop func()) error {
	serving, end := context.WithCancel(ctx)
	defer end()
	served := make(chan error, 1)
	go func() { served <- n.server.Serve(serving, n.listener) }()
	var stopped error
	select {
	case err := <-served: // the listener failed
		return err
	case <-n.storage.Stopped():
		stopped = n.storage.Err()
		end()
	case <-ctx.Done():
		n.log.Info("stopping", "timeout", storage.Grace.String())
	}
	stop() // from here on a signal ends the process at once
	return errors.Join(stopped, <-served)
}

// close ends what is open, in order.
func (n *storeNode) close() {
	ctx, cancel := context.WithTimeout(context.Background(), storage.Grace)
	defer cancel()
	if n.server != nil {
		n.server.Close()
	}
	if n.shared != nil {
		if err := n.shared.Close(); err != nil {
			n.log.Warn("not all that was shared with other nodes could be ended in order", "error", err)
		}
	}
	if n.storage != nil {
		if err := n.storage.Close(ctx); err != nil {
			n.log.Warn("the storage was not closed in order; the next start makes up for it", "error", err)
		}
	}
	if n.broker != nil {
		n.broker.Close()
	}
	if n.content != nil {
		n.content.Close()
	}
	if n.admin != nil {
		now, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		n.admin.Stop(now)
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
