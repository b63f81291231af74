package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/journal"
)

// A log that ends without a word: what ran runs again, and what was accepted is done.
func TestCrash(t *testing.T) {
	for _, every := range []uint64{1, 1000} { // from a snapshot, and from the log
		t.Run(fmt.Sprint("snapshot every ", every), func(t *testing.T) {
			path := t.TempDir()
			n := embedded(t, path, snapshotEvery(every))
			g := newGate()
			n.Handle("q", g, 2)
			var ids []jobs.ID
			for i := range 20 {
				ids = append(ids, n.enqueue(jobs.Spec{Payload: payload(i), Tenant: fmt.Sprint(i % 3)}).ID)
			}
			ran := map[jobs.ID]bool{(<-g.begun).ID: true, (<-g.begun).ID: true}
			n.crash()

			n = embedded(t, path, snapshotEvery(every))
			var mu sync.Mutex
			got := map[jobs.ID]string{}
			n.Handle("q", jobs.HandlerFunc(func(_ context.Context, c *jobs.Claim) jobs.Result {
				p, err := c.Payload()
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				got[c.ID] = string(p)
				return jobs.Result{Verdict: jobs.Succeed}
			}), 4)
			for i, id := range ids {
				v := n.await(id, jobs.Done)
				want := 1
				if ran[id] {
					want = 2
				}
				if v.Attempts != want {
					t.Errorf("job %d took %d attempts, want %d", i, v.Attempts, want)
				}
				mu.Lock()
				if got[id] != string(payload(i)) {
					t.Errorf("job %d had a payload of %d bytes", i, len(got[id]))
				}
				mu.Unlock()
			}
		})
	}
}

func TestKeys(t *testing.T) {
	for _, every := range []uint64{1, 1000} {
		path := t.TempDir()
		now := time.Now()
		var later atomic.Int64
		clock := func(o *setup) { o.Now = func() time.Time { return now.Add(time.Duration(later.Load())) } }
		n := embedded(t, path, snapshotEvery(every), clock)
		ask := func(key string, fingerprint uint64) (jobs.ID, bool, error) {
			v, existed, err := n.Enqueue(t.Context(), jobs.Spec{Queue: "q", Owner: "o", Key: key, Fingerprint: fingerprint})
			return v.ID, existed, err
		}
		first, existed, err := ask("k", 1)
		if err != nil || existed {
			t.Fatal(err)
		}
		for range 2 {
			if id, existed, err := ask("k", 1); err != nil || !existed || id != first {
				t.Errorf("the same again is %s, not %s: %v", id, first, err)
			}
			if id, _, err := ask("k", 2); !errors.Is(err, jobs.ErrConflict) || id != first {
				t.Errorf("another under the same key is %s: %v", id, err)
			}
			n.stop()
			n = embedded(t, path, snapshotEvery(every), clock)
		}
		if v, existed, err := n.Enqueue(t.Context(), jobs.Spec{Queue: "q", Owner: "somebody else", Key: "k"}); err != nil || existed {
			t.Errorf("another's key is the same: %+v, %v", v, err)
		}
		later.Store(int64(24*time.Hour - time.Millisecond))
		if id, existed, err := ask("k", 1); err != nil || !existed || id != first {
			t.Errorf("within a day the same again is %s, not %s: %v", id, first, err)
		}
		later.Store(int64(24 * time.Hour))
		if id, existed, err := ask("k", 2); err != nil || existed || id == first {
			t.Errorf("after a day it is %s still: %v", id, err)
		}
		n.stop()
	}
}

// A key is remembered longer than what became of its job.
func TestForgottenJob(t *testing.T) {
	n := embedded(t, t.TempDir())
	n.Handle("q", jobs.HandlerFunc(func(context.Context, *jobs.Claim) jobs.Result { return jobs.Result{Verdict: jobs.Succeed} }), 1)
	s := jobs.Spec{Queue: "q", Key: "k", KeepResult: time.Millisecond}
	first := n.enqueue(s)
	eventually(t, "the job to be forgotten", func() bool {
		_, err := n.Get(t.Context(), first.ID)
		return err == jobs.ErrNotFound
	})
	if v, existed, err := n.Enqueue(t.Context(), s); err != nil || !existed || v.ID != first.ID || v.State != jobs.Forgotten {
		t.Errorf("the same again is %+v: %v", v, err)
	}
}

// natsServer starts a server in this process, and stops it with the test.
func natsServer(t *testing.T) (url string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "n", Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 30,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server doesn't start")
	}
	return fmt.Sprintf("nats://%s", s.Addr().(*net.TCPAddr))
}

func dialed(t *testing.T, path, url string, options ...func(*setup)) *node {
	t.Helper()
	n := &node{t: t}
	var err error
	if n.dir, err = datadir.Open(filepath.Join(path, "data")); err != nil {
		t.Fatal(err)
	}
	if n.broker, err = journal.Dial(journal.DialConfig{URL: url, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	n.start(journal.Config{Name: "jobs", Dir: n.dir, Replicas: 1}, options...)
	return n
}

func quickly(o *setup) { o.BeatEvery, o.ReapAfter = 20*time.Millisecond, 500*time.Millisecond }

// agree waits until the nodes are at one place of the log, and compares their states.
func agree(t *testing.T, a, b *node) {
	t.Helper()
	eventually(t, "the nodes to agree", func() bool {
		x, y := a.log.Status(), b.log.Status()
		if x.Sequence == y.Sequence && x.Hash != y.Hash {
			t.Fatalf("at sequence %d the states are %x and %x", x.Sequence, x.Hash, y.Hash)
		}
		return x.Sequence == y.Sequence
	})
}

// Two nodes share the work: each job is done once, wherever it was accepted, and both know of it.
func TestTwoNodes(t *testing.T) {
	url := natsServer(t)
	a, b := dialed(t, t.TempDir(), url), dialed(t, t.TempDir(), url)
	var mu sync.Mutex
	done := map[jobs.ID]int{}
	for _, n := range []*node{a, b} {
		n.Handle("q", jobs.HandlerFunc(func(_ context.Context, c *jobs.Claim) jobs.Result {
			if _, err := c.Payload(); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			done[c.ID]++
			return jobs.Result{Verdict: jobs.Succeed, Body: []byte("done")}
		}), 4)
	}
	var all sync.WaitGroup
	ids := make(chan jobs.ID, 400)
	for i := range 8 {
		n := []*node{a, b}[i%2]
		all.Go(func() {
			for range 50 {
				v, _, err := n.Enqueue(t.Context(), jobs.Spec{Queue: "q", Tenant: fmt.Sprint(i), Payload: payload(i)})
				if err != nil {
					t.Error(err)
				}
				ids <- v.ID
			}
		})
	}
	all.Wait()
	close(ids)
	for id := range ids {
		a.await(id, jobs.Done)
		b.await(id, jobs.Done)
		mu.Lock()
		if done[id] != 1 {
			t.Errorf("job %s was run %d times", id, done[id])
		}
		mu.Unlock()
	}
	agree(t, a, b)
}

// What a node ran that died is done by another, and what it says later changes nothing.
func TestANodeDies(t *testing.T) {
	url := natsServer(t)
	a, b := dialed(t, t.TempDir(), url, quickly), dialed(t, t.TempDir(), url, quickly)
	g, h := newGate(), newGate()
	a.Handle("q", g, 1)
	v := a.enqueue(jobs.Spec{Payload: []byte("p")})
	old := <-g.begun
	b.Handle("q", h, 1)
	a.crash()
	c := <-h.begun
	if p, err := c.Payload(); c.ID != v.ID || c.Attempt <= old.Attempt || err != nil || string(p) != "p" {
		t.Fatalf("the other node runs %+v with %q: %v", c, p, err)
	}
	if r, err := b.log.Do(t.Context(), jobs.EncodeFinish(v.ID, old.Fence, &jobs.Stored{Status: 500}, time.Now())); err != nil || r.Outcome != jobs.Stale {
		t.Errorf("the dead node's word: %s, %v", r.Outcome, err)
	}
	h.ends <- jobs.Result{Verdict: jobs.Succeed, Status: 200}
	if v := b.await(v.ID, jobs.Done); v.Status != 200 || v.Attempts != c.Attempt {
		t.Errorf("it is done as %+v", v)
	}
}

// A node is dead when it has not beaten for long enough, and while others could.
func TestWhoIsDead(t *testing.T) {
	n := embedded(t, t.TempDir(), func(o *setup) { o.BeatEvery = time.Hour })
	r, err := n.log.Do(t.Context(), jobs.EncodeOpenSession([16]byte{1}, 1, time.Now()))
	if err != nil || r.Outcome != jobs.OK {
		t.Fatal(r.Outcome, err)
	}
	began := time.Now()
	for i, step := range []struct {
		at   time.Duration
		beat bool
		dead int
	}{
		{0, false, 0},
		{60 * time.Second, false, 0}, // the log was away, perhaps for the other as well
		{60*time.Second + 1, false, 0},
		{60*time.Second + 2, true, 0},
		{62 * time.Second, false, 0},
		{64 * time.Second, false, 0},
		{66 * time.Second, false, 0}, // three rounds, but not six seconds since the one that saw the beat
		{66*time.Second + 3, false, 1},
	} {
		if step.beat {
			if _, err := n.log.Do(t.Context(), jobs.EncodeBeat(r.Session, time.Now())); err != nil {
				t.Fatal(err)
			}
		}
		dead, err := jobs.LookAround(n.Service, began.Add(step.at))
		if err != nil || len(dead) != step.dead {
			t.Errorf("step %d: %d are dead, want %d: %v", i, len(dead), step.dead, err)
		}
	}
}

// A node whose clock is an hour behind that of one that has gone goes on from there.
func TestClocksThatDiffer(t *testing.T) {
	url := natsServer(t)
	ahead := dialed(t, t.TempDir(), url, func(o *setup) { o.Now = func() time.Time { return time.Now().Add(time.Hour) } })
	v := ahead.enqueue(jobs.Spec{Deadline: 30 * time.Minute})
	n := dialed(t, t.TempDir(), url)
	ahead.stop()
	g := newGate()
	n.Handle("q", g, 1)
	<-g.begun
	g.ends <- jobs.Result{Verdict: jobs.Retry, After: 10 * time.Millisecond}
	if c := <-g.begun; c.Attempt != 2 {
		t.Errorf("attempt %d", c.Attempt)
	}
	g.ends <- jobs.Result{Verdict: jobs.Retry, After: 20 * time.Minute}
	if v := n.await(v.ID, jobs.Queued); v.NextAttempt < v.Started+19*60_000 {
		t.Errorf("the next attempt is at %s, the last was at %s", v.NextAttempt, v.Started)
	}
}
