package learn_test

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/learn"
)

// A questioned policy writes down what it was asked and what it said.
type questioned struct {
	coalesce.Policy
	mu    sync.Mutex
	asked []coalesce.State
	said  []coalesce.Decision
}

func (q *questioned) Decide(s coalesce.State) coalesce.Decision {
	d := q.Policy.Decide(s)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked, q.said = append(q.asked, s), append(q.said, d)
	return d
}

// rechecking asks again at the times of flush.Recheck, and serves as Balance does or when nothing has come for a while.
type rechecking struct{ cost time.Duration }

func (p rechecking) Decide(s coalesce.State) coalesce.Decision {
	if s.Waiting >= p.cost || !s.Arrival && s.SinceArrival > p.cost/4 {
		return coalesce.Decision{Serve: true}
	}
	return coalesce.Decision{After: flush.Recheck(&s, p.cost)}
}

// TestSimIsTheGroup plays the same traffic in the simulation and, in virtual time, with a real group. The policy must be asked the same questions at
// the same times, with every field of the state the same to the last bit, and so the same features; and calls, waits and reasons must agree.
func TestSimIsTheGroup(t *testing.T) {
	const cost = 25*ms + 123
	bursts := learn.Modulated{{Rate: 10, Stay: 400 * ms}, {Rate: 3000, Stay: 20 * ms}}
	for _, relaxed := range []bool{false, true} {
		for _, source := range []learn.Source{learn.Poisson{Rate: 20}, learn.Poisson{Rate: 1000}, bursts} {
			for _, p := range []coalesce.Policy{
				flush.Immediate{}, flush.Balance{CallCost: cost}, flush.Threshold{CallCost: cost}, flush.Size{N: 100}, rechecking{cost},
				learn.Hindsight{N: 9, Gap: 7 * ms, Budget: 40 * ms}, negative{},
			} {
				t.Run(fmt.Sprintf("relaxed=%v/%v/%T", relaxed, source, p), func(t *testing.T) {
					cfg := learn.Config{
						Arrivals: source, Latency: learn.Latency{Median: 21*ms + 77, Sigma: 0.3}, CallCost: cost,
						Hold: 50*ms + 11, MaxBatch: 30, Relaxed: relaxed, Requests: 400,
					}
					compare(t, cfg, p)
				})
			}
		}
	}
}

// negative wants to be asked in the past when two wait, which is no decision.
type negative struct{}

func (negative) Decide(s coalesce.State) coalesce.Decision {
	return coalesce.Decision{After: time.Duration(1-s.Size) * time.Millisecond}
}

func compare(t *testing.T, cfg learn.Config, p coalesce.Policy) {
	traffic := cfg.Draw(7)
	simulated, real := &questioned{Policy: p}, &questioned{Policy: p}
	sim := learn.New(cfg)
	sim.Play(traffic)
	want := sim.Finish(simulated)
	var got learn.Outcome
	synctest.Test(t, func(t *testing.T) { got = playGroup(t, &cfg, traffic, real) })
	for i := range min(len(simulated.asked), len(real.asked)) {
		if s, r := simulated.asked[i], real.asked[i]; s != r || simulated.said[i] != real.said[i] {
			t.Fatalf("question %d: simulated\n%+v %+v, in the group\n%+v %+v", i, s, simulated.said[i], r, real.said[i])
		}
		var s, r [flush.NumFeatures]float32
		flush.Features(&simulated.asked[i], cfg.CallCost, &s)
		flush.Features(&real.asked[i], cfg.CallCost, &r)
		if s != r {
			t.Fatalf("question %d: features %v and %v", i, s, r)
		}
	}
	if len(simulated.asked) != len(real.asked) {
		t.Errorf("%d questions simulated, %d in the group", len(simulated.asked), len(real.asked))
	}
	want.Cost, want.Waits = 0, learn.Histogram{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("in the group %+v, simulated %+v", got, want)
	}
}

// playGroup sends the traffic through a group. An item is the index of its arrival, and the call takes what the traffic says for its first.
func playGroup(t *testing.T, cfg *learn.Config, traffic learn.Traffic, p coalesce.Policy) (o learn.Outcome) {
	var mu sync.Mutex // guards o
	group := coalesce.New[int, int](coalesce.Config{Observe: func(f coalesce.Flush) {
		mu.Lock()
		defer mu.Unlock()
		count(&o, f, cfg.Relaxed)
	}})
	opt := &coalesce.Options[int, int]{
		Policy: p, Hold: cfg.Hold, MaxBatch: cfg.MaxBatch, Relaxed: cfg.Relaxed,
		Fetch: func(_ context.Context, c *coalesce.Call[int, int]) (int, error) {
			time.Sleep(traffic.Calls[c.Items()[0]])
			return 0, nil
		},
	}
	var all sync.WaitGroup
	for i, at := range traffic.Times {
		all.Go(func() {
			time.Sleep(at)
			if _, _, err := group.Do(t.Context(), "key", i, opt); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := group.Close(t.Context()); err != nil {
		t.Error(err)
	}
	o.Requests = len(traffic.Times)
	return o
}

// count adds an event to what has happened.
func count(o *learn.Outcome, f coalesce.Flush, relaxed bool) {
	switch f.Reason {
	case coalesce.JoinedCall:
		o.Waiting += f.Waiting
		return
	case coalesce.ByPolicy:
		o.ByPolicy++
	case coalesce.ByTimer:
		o.ByHold++
	case coalesce.BySize:
		o.BySize++
	}
	o.Calls++
	o.Joined += f.Joined
	o.Fallbacks += f.Fallbacks
	o.Waiting += f.Waiting
	if relaxed {
		o.Waiting += time.Duration(f.Size) * f.Upstream
	}
}
