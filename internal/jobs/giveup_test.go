package jobs_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/jobs"
)

// until waits until a job is as a test wants it.
func (n *node) until(id jobs.ID, what string, is func(v jobs.View) bool) jobs.View {
	n.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		v, err := n.Get(context.Background(), id)
		if err == nil && is(v) {
			return v
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("the job is %+v, %v, want it %s", v, err, what)
		}
	}
}

func TestCancel(t *testing.T) {
	n := embedded(t, t.TempDir())
	ctx := t.Context()
	waits := n.enqueue(jobs.Spec{Queue: "q", Tenant: "t"})
	after := n.enqueue(jobs.Spec{Queue: "q", Tenant: "t"})
	v, err := n.Cancel(ctx, waits.ID)
	if err != nil || v.State != jobs.Failed || v.Error != "it was cancelled" {
		t.Errorf("Cancel = %+v, %v, want it failed", v, err)
	}
	if _, err := n.Cancel(ctx, waits.ID); !errors.Is(err, jobs.ErrRefused) {
		t.Errorf("Cancel of what has failed: %v, want ErrRefused", err)
	}
	if _, err := n.Cancel(ctx, jobs.NewID(time.Now())); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("Cancel of nothing: %v, want ErrNotFound", err)
	}
	ran := make(chan jobs.ID, 2)
	hold := make(chan struct{})
	n.Handle("q", jobs.HandlerFunc(func(_ context.Context, c *jobs.Claim) jobs.Result {
		ran <- c.ID
		<-hold
		return jobs.Result{Verdict: jobs.Succeed}
	}), 1)
	if id := <-ran; id != after.ID {
		t.Errorf("%s ran, want %s alone, for the other was cancelled", id, after.ID)
	}
	if v, err := n.Cancel(ctx, after.ID); !errors.Is(err, jobs.ErrRefused) || v.State != jobs.Running {
		t.Errorf("Cancel of what runs: %+v, %v, want ErrRefused", v, err)
	}
	close(hold)
	n.until(after.ID, "done", func(v jobs.View) bool { return v.State == jobs.Done })
	later := n.enqueue(jobs.Spec{Queue: "later", Tenant: "t"})
	n.Handle("later", jobs.HandlerFunc(func(context.Context, *jobs.Claim) jobs.Result { return jobs.Result{After: time.Hour} }), 1)
	n.until(later.ID, "to be tried again", func(v jobs.View) bool { return v.NextAttempt != 0 })
	if v, err := n.Cancel(ctx, later.ID); err != nil || v.State != jobs.Failed {
		t.Errorf("Cancel of what is to be tried again: %+v, %v, want it failed", v, err)
	}
}

// A queue that is given up waits; what runs ends, what was only claimed is given back.
func TestUnhandle(t *testing.T) {
	n := embedded(t, t.TempDir())
	began, hold := make(chan jobs.ID, 4), make(chan struct{})
	n.Handle("q", jobs.HandlerFunc(func(_ context.Context, c *jobs.Claim) jobs.Result {
		began <- c.ID
		if c.Tenant == "t" {
			<-hold
		}
		return jobs.Result{Verdict: jobs.Succeed}
	}), 1)
	quick := n.enqueue(jobs.Spec{Queue: "q", Tenant: "quick"}) // so that more is claimed than runs
	n.until(quick.ID, "done", func(v jobs.View) bool { return v.State == jobs.Done })
	<-began
	first := n.enqueue(jobs.Spec{Queue: "q", Tenant: "t"})
	<-began
	second := n.enqueue(jobs.Spec{Queue: "q", Tenant: "t"})
	n.until(second.ID, "claimed", func(v jobs.View) bool { return v.State == jobs.Running })
	n.Unhandle("q")
	third := n.enqueue(jobs.Spec{Queue: "q", Tenant: "t"})
	close(hold)
	n.until(first.ID, "done", func(v jobs.View) bool { return v.State == jobs.Done })
	n.until(second.ID, "given back, and its attempt not counted", func(v jobs.View) bool { return v.State == jobs.Queued && v.Attempts == 0 })
	if v, err := n.Get(t.Context(), third.ID); err != nil || v.State != jobs.Queued {
		t.Errorf("%+v, %v, want what came later to wait", v, err)
	}
	var order atomic.Int64
	n.Handle("q", jobs.HandlerFunc(func(_ context.Context, c *jobs.Claim) jobs.Result {
		if place := order.Add(1); (place == 1) != (c.ID == second.ID) {
			t.Errorf("%s ran in place %d", c.ID, place)
		}
		return jobs.Result{Verdict: jobs.Succeed}
	}), 1)
	for _, id := range []jobs.ID{second.ID, third.ID} {
		n.until(id, "done", func(v jobs.View) bool { return v.State == jobs.Done })
	}
	n.Unhandle("nobody's")
}
