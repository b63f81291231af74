package jobs_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/journal"
)

// A setup says how a node differs from others.
type setup struct {
	jobs.Options
	every uint64 // snapshots
	lose  int    // replies to claims
}

func snapshotEvery(n uint64) func(*setup) { return func(o *setup) { o.every = n } }

// A node is a service on an embedded log.
type node struct {
	*jobs.Service
	t      testing.TB
	dir    *datadir.Dir
	broker *journal.Broker
	log    *jobs.JournalLog
}

func embedded(t testing.TB, path string, options ...func(*setup)) *node {
	t.Helper()
	n := &node{t: t}
	var err error
	if n.dir, err = datadir.Open(filepath.Join(path, "data")); err != nil {
		t.Fatal(err)
	}
	if n.broker, err = journal.Embed(journal.EmbedConfig{Dir: n.dir, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	n.start(journal.Config{Name: "jobs", Dir: n.dir}, options...)
	return n
}

// start opens the log and the service, on a broker that is there.
func (n *node) start(cfg journal.Config, options ...func(*setup)) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	o := setup{Options: jobs.Options{Node: n.dir.ID()}}
	for _, option := range options {
		option(&o)
	}
	cfg.SnapshotEvery = o.every
	var err error
	if n.log, err = jobs.OpenLog(ctx, n.broker, cfg); err != nil {
		n.t.Fatal(err)
	}
	if o.Log = n.log; o.lose > 0 {
		o.Log = &broken{Log: n.log, lose: &o.lose}
	}
	if n.Service, err = jobs.Open(ctx, o.Options); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(n.stop)
}

// stop closes the node in order. It may be called again.
func (n *node) stop() {
	if n.dir == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		n.t.Error(err)
	}
	n.crash()
}

// crash closes the log under the service, which can say nothing any more.
func (n *node) crash() {
	if n.dir == nil {
		return
	}
	n.log.Close()
	service := n.Service
	n.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		service.Close(ctx) // after stop it is closed already, and else its log is: both are errors
	})
	n.broker.Close()
	n.dir.Close()
	n.dir = nil
}
