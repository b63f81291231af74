package coalesce_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicegate/sluice/coalesce"
)

type (
	group   = coalesce.Group[int, string]
	call    = coalesce.Call[int, string]
	options = coalesce.Options[int, string]
)

// wait is the policy that leaves everything to the caps.
type wait struct{}

func (wait) Decide(coalesce.State) coalesce.Decision { return coalesce.Decision{} }

// closed ends the group when the bubble ends, and checks that nothing is left in it.
func closed(t *testing.T, g *group) {
	t.Helper()
	if err := g.Close(context.Background()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if s := g.Stats(); s.Slots != 0 || s.Calls != 0 || s.Waiters != 0 || s.Bytes != 0 {
		t.Errorf("left after Close: %+v", s)
	}
}

func TestOneCallForABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.New[int, string](coalesce.Config{})
		defer closed(t, g)
		var calls atomic.Int32
		opt := &options{Policy: wait{}, Hold: 50 * time.Millisecond, Fetch: func(_ context.Context, c *call) (string, error) {
			calls.Add(1)
			if len(c.Items()) != 8 || c.Items()[0] != 0 {
				t.Errorf("items %v", c.Items())
			}
			time.Sleep(20 * time.Millisecond)
			return "answer", nil
		}}
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 8 {
			time.Sleep(time.Millisecond)
			wg.Go(func() {
				v, o, err := g.Do(t.Context(), "key", i, opt)
				if v != "answer" || err != nil || o.Size != 8 || o.Reason != coalesce.ByTimer {
					t.Errorf("%d: %q %+v %v", i, v, o, err)
				}
				if (o.Role == coalesce.Leader) != (i == 0) || o.Waited != time.Duration(70-i)*time.Millisecond {
					t.Errorf("%d: %+v", i, o)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if d := time.Since(start); d != 71*time.Millisecond || calls.Load() != 1 {
			t.Errorf("%v, %d calls", d, calls.Load())
		}
	})
}
