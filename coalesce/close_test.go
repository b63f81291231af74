package coalesce_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/sluicegate/sluice/coalesce"
)

func unsafeString(b []byte) string { return unsafe.String(&b[0], len(b)) }

func TestCloseServesWhoWaits(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		opt := held(takes(20*ms, "v"))
		r := ask(t, g, "key", 1, opt)
		time.Sleep(4 * ms)
		start := time.Now()
		go func() {
			time.Sleep(ms)
			if _, o, err := g.Do(t.Context(), "key", 2, opt); !errors.Is(err, coalesce.ErrClosed) || o.Reason != coalesce.Passthrough {
				t.Errorf("%+v %v", o, err)
			}
		}()
		if err := g.Close(t.Context()); err != nil || time.Since(start) != 20*ms {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		r.answered(t, "v")
		if fs := ev.of(coalesce.ByClose); len(fs) != 1 || fs[0].Age != 4*ms {
			t.Errorf("%+v", fs)
		}
	})
}

func TestCloseInHasteCancelsCalls(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, _ *events) {
		r := ask(t, g, "key", 1, &options{Fetch: func(ctx context.Context, _ *call) (string, error) {
			<-ctx.Done()
			time.Sleep(20 * ms)
			return "", context.Cause(ctx)
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 5*ms)
		defer cancel()
		if err := g.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		start := time.Now()
		if err := g.Close(t.Context()); err != nil || time.Since(start) != 20*ms {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		r.failed(t, coalesce.ErrClosed)
	})
}

// TestCloseWaitsForAQuestion: a policy that is being asked is still at work for the group.
func TestCloseWaitsForAQuestion(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, _ *events) {
		p := decide(func(s coalesce.State) coalesce.Decision {
			if !s.Arrival {
				time.Sleep(10 * ms)
			}
			return coalesce.Decision{After: ms}
		})
		r := ask(t, g, "key", 1, &options{Policy: p, Hold: 50 * ms, Fetch: takes(0, "v")})
		time.Sleep(ms)
		synctest.Wait()
		start := time.Now()
		if err := g.Close(t.Context()); err != nil || time.Since(start) != 10*ms {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		r.answered(t, "v")
	})
}

func TestNamesOfReasonsAndRoles(t *testing.T) {
	for r, want := range map[coalesce.Reason]string{
		0: "none", coalesce.ByPolicy: "policy", coalesce.ByTimer: "timer", coalesce.BySize: "size", coalesce.ByClose: "close",
		coalesce.Passthrough: "passthrough", coalesce.JoinedCall: "joined", coalesce.Cached: "cached", 99: "unknown",
	} {
		if got := r.String(); got != want {
			t.Errorf("%d is %q, want %q", r, got, want)
		}
	}
	for r, want := range map[coalesce.Role]string{
		coalesce.Alone: "alone", coalesce.Leader: "leader", coalesce.Follower: "follower", coalesce.Joined: "joined", 99: "unknown",
	} {
		if got := r.String(); got != want {
			t.Errorf("%d is %q, want %q", r, got, want)
		}
	}
}
