package admit_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/admit"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/rate"
)

// Under any concurrency there are never more in flight than may be, and in the end every slot is free again: with clients that leave at any
// moment, deadlines of microseconds, displacement, holders beside the request, and rules that change.
func TestNoSlotIsLostOrDoubled(t *testing.T) {
	const slots, workers, rounds = 3, 16, 3000
	rules := func(r *rand.Rand) *config.Upstream {
		return limited(1+r.IntN(slots), func(q *config.Queue) {
			q.Max, q.Timeout = r.IntN(workers), time.Duration(1+r.IntN(200))*time.Microsecond
			if r.IntN(2) == 0 {
				q.Age = config.Ageing{Rate: rate.Rate{Count: 1 << 20, Period: time.Second}}
			}
		})
	}
	g := admit.New(limited(slots, nil))
	var inFlight, admitted atomic.Int64
	var outcomes [5]atomic.Int64
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			var leavers sync.WaitGroup
			defer leavers.Wait()
			for range rounds {
				if w == 0 && r.IntN(10) == 0 {
					g.Apply(rules(r))
				}
				c := new(client)
				if r.IntN(3) == 0 {
					leavers.Go(func() { runtime.Gosched(); c.leave() })
				}
				ticket, err := g.Enter(c, r.Int64N(4))
				var refusal *admit.Refusal
				if errors.As(err, &refusal) {
					outcomes[refusal.Reason].Add(1)
					continue
				}
				admitted.Add(1)
				if n := inFlight.Add(1); n > slots {
					t.Errorf("%d in flight", n)
				}
				if r.IntN(2) == 0 {
					ticket.Retain()
					leavers.Go(func() { inFlight.Add(-1); ticket.Release() })
				} else {
					runtime.Gosched()
					inFlight.Add(-1)
				}
				ticket.Release()
			}
		})
	}
	all.Wait()
	g.Apply(limited(slots, nil))
	st := g.Stats()
	given := int64(st.Waited.Count) // to some who had just left, too
	if st.InFlight != 0 || st.Waiting != 0 || given < admitted.Load() || given > admitted.Load()+outcomes[admit.Gone].Load() {
		t.Errorf("in the end %+v, with %d admitted", st, admitted.Load())
	}
	for why := range outcomes {
		n := outcomes[why].Load()
		if got := st.Refused[admit.Reason(why)]; got != uint64(n) {
			t.Errorf("%d counted as %s, expected %d", got, admit.Reason(why), n)
		}
		if n == 0 && admit.Reason(why) != admit.Closed {
			t.Errorf("nothing came out as %s", admit.Reason(why))
		}
	}
	for range slots {
		ticket, err := g.Enter(new(client), 0)
		if err != nil {
			t.Fatalf("a slot is lost: %v", err)
		}
		defer ticket.Release()
	}
	g.Apply(limited(slots, func(q *config.Queue) { q.Max = 0 }))
	if _, err := g.Enter(new(client), 0); err == nil {
		t.Error("there is a slot too many")
	}
}
