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

// A node is a service on an embedded log.
type node struct {
	*jobs.Service
	t      testing.TB
	dir    *datadir.Dir
	broker *journal.Broker
	log    *jobs.JournalLog
}

func embedded(t testing.TB, path string, options ...func(*jobs.Options)) *node {
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

func (n *node) start(cfg journal.Config, options ...func(*jobs.Options)) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	if n.log, err = jobs.OpenLog(ctx, n.broker, cfg); err != nil {
		n.t.Fatal(err)
	}
	opts := jobs.Options{Log: n.log, Node: n.dir.ID()}
	for _, option := range options {
		option(&opts)
	}
	if n.Service, err = jobs.Open(ctx, opts); err != nil {
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

// crash closes the log under the service, and leaves that as it is.
func (n *node) crash() {
	n.log.Close()
	n.broker.Close()
	n.dir.Close()
	n.dir = nil
}

func TestEnqueueAndRun(t *testing.T) {
	n := embedded(t, t.TempDir())
	done := make(chan string, 1)
	n.Handle("q", jobs.HandlerFunc(func(_ context.Context, c *jobs.Claim) jobs.Result {
		p, err := c.Payload()
		if err != nil {
			t.Error(err)
		}
		done <- string(p)
		return jobs.Result{Verdict: jobs.Succeed, Status: 201, Body: []byte("answer")}
	}), 2)
	ctx := context.Background()
	v, existed, err := n.Enqueue(ctx, jobs.Spec{Queue: "q", Tenant: "t", Payload: []byte("question")})
	if err != nil || existed || v.State != jobs.Queued {
		t.Fatal(v, existed, err)
	}
	if got := <-done; got != "question" {
		t.Errorf("the handler got %q", got)
	}
	for v.State != jobs.Done {
		if v, err = n.Get(ctx, v.ID); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := n.Result(ctx, v.ID); err != nil || r.Status != 201 || string(r.Body) != "answer" {
		t.Error(r, err)
	}
}
