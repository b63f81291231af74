package coalesce_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicegate/sluice/coalesce"
)

const ms = time.Millisecond

// decide is a policy made of a function.
type decide func(coalesce.State) coalesce.Decision

func (f decide) Decide(s coalesce.State) coalesce.Decision { return f(s) }

// events collects what a group tells.
type events struct {
	mu  sync.Mutex
	all []coalesce.Flush
}

func (e *events) add(f coalesce.Flush) {
	e.mu.Lock()
	e.all = append(e.all, f)
	e.mu.Unlock()
}

// seen returns all that have happened by now.
func (e *events) seen() []coalesce.Flush {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.all)
}

// of returns those with that reason.
func (e *events) of(r coalesce.Reason) []coalesce.Flush {
	return slices.DeleteFunc(e.seen(), func(f coalesce.Flush) bool { return f.Reason != r })
}

// bubble runs a test on a virtual clock, with a group that is closed at its end.
func bubble(t *testing.T, cfg coalesce.Config, test func(t *testing.T, g *group, ev *events)) {
	synctest.Test(t, func(t *testing.T) {
		ev := &events{}
		cfg.Observe = ev.add
		g := coalesce.New[int, string](cfg)
		defer closed(t, g)
		test(t, g, ev)
	})
}

// A request is a call of Do under way.
type request struct {
	cancel  context.CancelFunc
	done    chan struct{} // closed when answered
	value   string
	outcome coalesce.Outcome
	err     error
}

// ask starts a request, and returns when it waits or is answered.
func ask(t *testing.T, g *group, key string, item int, opt *options) *request {
	ctx, cancel := context.WithCancel(t.Context())
	r := &request{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer cancel()
		r.value, r.outcome, r.err = g.Do(ctx, key, item, opt)
		close(r.done)
	}()
	synctest.Wait()
	return r
}

// ready reports whether the request has been answered by now.
func (r *request) ready() bool {
	synctest.Wait()
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// answered fails the test unless the request has been answered with v.
func (r *request) answered(t *testing.T, v string) {
	t.Helper()
	if !r.ready() {
		t.Errorf("still waits, want %q", v)
	} else if r.value != v || r.err != nil {
		t.Errorf("%q %+v %v, want %q", r.value, r.outcome, r.err, v)
	}
}

// failed fails the test unless the request has been answered with err.
func (r *request) failed(t *testing.T, err error) {
	t.Helper()
	if !r.ready() {
		t.Errorf("still waits, want %v", err)
	} else if r.value != "" || !errors.Is(r.err, err) {
		t.Errorf("%q %+v %v, want error %v", r.value, r.outcome, r.err, err)
	}
}

// waits fails the test if the request has been answered.
func (r *request) waits(t *testing.T) {
	t.Helper()
	if r.ready() {
		t.Errorf("answered: %q %+v %v", r.value, r.outcome, r.err)
	}
}

// takes is a fetch that takes d and answers v.
func takes(d time.Duration, v string) func(context.Context, *call) (string, error) {
	return func(context.Context, *call) (string, error) {
		time.Sleep(d)
		return v, nil
	}
}

func TestServedBy(t *testing.T) {
	after := func(d time.Duration) decide {
		return func(s coalesce.State) coalesce.Decision {
			return coalesce.Decision{Serve: s.Age >= d, After: d - s.Age}
		}
	}
	for _, c := range []struct {
		name     string
		policy   coalesce.Policy
		hold     time.Duration
		maxBatch int
		size     int
		served   time.Duration
		reason   coalesce.Reason
	}{
		{"no policy", nil, 50 * ms, 0, 1, 0, coalesce.ByPolicy},
		{"no hold", wait{}, 0, 0, 1, 0, coalesce.ByPolicy},
		{"a policy that serves at once", after(0), 50 * ms, 0, 1, 0, coalesce.ByPolicy},
		{"an arrival", decide(func(s coalesce.State) coalesce.Decision { return coalesce.Decision{Serve: s.Size == 3} }), 50 * ms, 0, 3, 20 * ms, coalesce.ByPolicy},
		{"a later question", after(15 * ms), 50 * ms, 0, 2, 15 * ms, coalesce.ByPolicy},
		{"the hold, which is shorter", after(90 * ms), 35 * ms, 0, 4, 35 * ms, coalesce.ByTimer},
		{"the hold of a policy that only looks at arrivals", wait{}, 35 * ms, 0, 4, 35 * ms, coalesce.ByTimer},
		{"the size cap", wait{}, 50 * ms, 2, 2, 10 * ms, coalesce.BySize},
		{"a size cap of one", wait{}, 50 * ms, 1, 1, 0, coalesce.BySize},
		{"a policy that panics", decide(func(coalesce.State) coalesce.Decision { panic("oops") }), 50 * ms, 0, 1, 0, coalesce.ByPolicy},
		{"a policy that says nonsense", decide(func(coalesce.State) coalesce.Decision { return coalesce.Decision{After: -1} }), 50 * ms, 0, 1, 0, coalesce.ByPolicy},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
				opt := &options{Policy: c.policy, Hold: c.hold, MaxBatch: c.maxBatch, Tag: "route", Fetch: takes(100*ms, "v")}
				start := time.Now()
				var first *request
				for i := range 4 { // one every 10 ms
					time.Sleep(time.Until(start.Add(time.Duration(i) * 10 * ms)))
					if r := ask(t, g, "key", i, opt); i == 0 {
						first = r
					}
				}
				time.Sleep(time.Until(start.Add(c.served + 100*ms)))
				first.answered(t, "v")
				want := coalesce.Outcome{Role: coalesce.Leader, Reason: c.reason, Size: c.size, Waited: c.served + 100*ms}
				if first.outcome != want {
					t.Errorf("got %+v, want %+v", first.outcome, want)
				}
				f := ev.seen()[0]
				if f.Reason != c.reason || f.Size != c.size || f.Age != c.served || f.Upstream != 100*ms || f.Tag != "route" || f.Err != nil ||
					!f.Opened.Equal(start) || f.Started.Sub(start) != c.served || f.Ended.Sub(f.Started) != 100*ms || f.Answered != c.size {
					t.Errorf("event %+v", f)
				}
				var waiting time.Duration
				for i := range c.size {
					waiting += c.served - time.Duration(i)*10*ms
				}
				if f.Waiting != waiting {
					t.Errorf("waiting %v, want %v", f.Waiting, waiting)
				}
			})
		})
	}
}

// TestFallbacksAreCounted: a policy that fails in a later question serves then.
func TestFallbacksAreCounted(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		p := decide(func(s coalesce.State) coalesce.Decision {
			if !s.Arrival {
				panic("oops")
			}
			return coalesce.Decision{After: 10 * ms}
		})
		r := ask(t, g, "key", 1, &options{Policy: p, Hold: 50 * ms, Fetch: takes(0, "v")})
		time.Sleep(10 * ms)
		r.answered(t, "v")
		if fs := ev.of(coalesce.ByPolicy); len(fs) != 1 || fs[0].Fallbacks != 1 || fs[0].Age != 10*ms {
			t.Errorf("%+v", fs)
		}
	})
}

func TestStrictIsAnsweredByALaterCall(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		opt := &options{Fetch: takes(20*ms, "first")}
		first := ask(t, g, "key", 1, opt)
		time.Sleep(10 * ms)
		later := &options{Fetch: takes(20*ms, "second")}
		second := ask(t, g, "key", 2, later)
		time.Sleep(10 * ms)
		first.answered(t, "first")
		second.waits(t)
		time.Sleep(10 * ms)
		second.answered(t, "second")
		if second.outcome.Role != coalesce.Leader {
			t.Errorf("%+v", second.outcome)
		}
	})
}

func TestRelaxedJoins(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		opt := &options{Relaxed: true, Tag: 7, Fetch: takes(20*ms, "v")}
		first := ask(t, g, "key", 1, opt)
		time.Sleep(15 * ms)
		second := ask(t, g, "key", 2, opt)
		other := ask(t, g, "other key", 3, opt)
		strict := ask(t, g, "key", 4, &options{Fetch: takes(20*ms, "strict")})
		if s := g.Stats(); s.Calls != 3 || s.Slots != 0 || s.Waiters != 4 || s.Keys != 2 {
			t.Errorf("%+v", s)
		}
		time.Sleep(5 * ms)
		first.answered(t, "v")
		second.answered(t, "v")
		other.waits(t)
		strict.waits(t)
		want := coalesce.Outcome{Role: coalesce.Joined, Reason: coalesce.JoinedCall, Size: 1, Waited: 5 * ms}
		if second.outcome != want {
			t.Errorf("%+v, want %+v", second.outcome, want)
		}
		if fs := ev.of(coalesce.JoinedCall); len(fs) != 1 || fs[0].Waiting != 5*ms || fs[0].Tag != 7 || fs[0].Size != 1 || fs[0].Err != nil {
			t.Errorf("%+v", fs)
		}
		if fs := ev.of(coalesce.ByPolicy); len(fs) != 1 || fs[0].Size != 1 || fs[0].Joined != 1 || fs[0].Answered != 2 {
			t.Errorf("%+v", fs)
		}
	})
}

// TestFenceKeepsLaterOnesOut: what was read before a write is for those who came before.
func TestFenceKeepsLaterOnesOut(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, _ *events) {
		before := ask(t, g, "key", 1, &options{Relaxed: true, Fetch: takes(20*ms, "before")})
		g.Fence("key")
		g.Fence("unknown")
		opt := &options{Relaxed: true, Fetch: takes(20*ms, "after")}
		after := ask(t, g, "key", 2, opt)
		time.Sleep(10 * ms)
		joined := ask(t, g, "key", 3, opt)
		time.Sleep(10 * ms)
		before.answered(t, "before")
		after.answered(t, "after")
		joined.answered(t, "after")
	})
}

// TestOldTimerLeavesTheNewSlotAlone: the slot of the key that is there when an old slot's time is up is another one.
func TestOldTimerLeavesTheNewSlotAlone(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		opt := &options{Policy: wait{}, Hold: 50 * ms, MaxBatch: 2, Fetch: takes(0, "v")}
		ask(t, g, "key", 1, opt)
		ask(t, g, "key", 2, opt).answered(t, "v")
		gone := ask(t, g, "key", 3, opt)
		gone.cancel()
		gone.failed(t, context.Canceled)
		if s := g.Stats(); s.Slots != 0 || s.Waiters != 0 {
			t.Errorf("%+v", s)
		}
		time.Sleep(40 * ms)
		late := ask(t, g, "key", 4, opt)
		time.Sleep(50*ms - 1)
		late.waits(t)
		time.Sleep(time.Nanosecond)
		late.answered(t, "v")
		if fs := ev.seen(); len(fs) != 2 || fs[0].Reason != coalesce.BySize || fs[1].Reason != coalesce.ByTimer || fs[1].Age != 50*ms {
			t.Errorf("%+v", fs)
		}
	})
}

// TestLastAnswerCounts: each answer of the policy replaces the one before, be it sooner or later.
func TestLastAnswerCounts(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		var asked []time.Duration
		p := decide(func(s coalesce.State) coalesce.Decision {
			if !s.Arrival {
				asked = append(asked, s.Age)
				return coalesce.Decision{}
			}
			return coalesce.Decision{After: []time.Duration{20 * ms, 5 * ms, 30 * ms, 1}[s.Size-1]}
		})
		opt := &options{Policy: p, Hold: 50 * ms, Fetch: takes(0, "v")}
		for i := range 4 { // would ask again at 20, 7, 34 and, as times below 10 µs count so, at 6.01 ms
			ask(t, g, "key", i, opt)
			time.Sleep(2 * ms)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(asked) != 1 || asked[0] != 6*ms+10*time.Microsecond {
			t.Errorf("asked at %v", asked)
		}
		if fs := ev.of(coalesce.ByTimer); len(fs) != 1 || fs[0].Age != 50*ms || fs[0].Size != 4 {
			t.Errorf("%+v", fs)
		}
	})
}

// TestSlowAnswerIsNotHeard: an answer to an earlier question that comes after one to a later question says nothing about the slot as it is.
func TestSlowAnswerIsNotHeard(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		p := decide(func(s coalesce.State) coalesce.Decision {
			switch {
			case !s.Arrival:
				return coalesce.Decision{Serve: true}
			case s.Size == 1:
				time.Sleep(2 * ms)
				return coalesce.Decision{After: 30 * ms}
			}
			return coalesce.Decision{After: 5 * ms}
		})
		opt := &options{Policy: p, Hold: 50 * ms, Fetch: takes(0, "v")}
		ask(t, g, "key", 1, opt)
		time.Sleep(ms)
		ask(t, g, "key", 2, opt)
		time.Sleep(time.Second)
		if fs := ev.seen(); len(fs) != 1 || fs[0].Age != 6*ms || fs[0].Size != 2 {
			t.Errorf("%+v", fs)
		}
	})
}

// TestHoldHoldsWhilePolicyThinks: an arrival sees that the slot's time is up even if there is no timer yet.
func TestHoldHoldsWhilePolicyThinks(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		p := decide(func(s coalesce.State) coalesce.Decision {
			time.Sleep(100 * ms)
			return coalesce.Decision{}
		})
		opt := &options{Policy: p, Hold: 30 * ms, Fetch: takes(0, "v")}
		ask(t, g, "key", 1, opt)
		time.Sleep(40 * ms)
		ask(t, g, "key", 2, opt).answered(t, "v")
		if fs := ev.of(coalesce.ByTimer); len(fs) != 1 || fs[0].Age != 40*ms || fs[0].Size != 2 {
			t.Errorf("%+v", fs)
		}
		time.Sleep(60 * ms)
	})
}

func TestStateOfASlot(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, _ *events) {
		var states []coalesce.State
		p := decide(func(s coalesce.State) coalesce.Decision {
			states = append(states, s)
			return coalesce.Decision{After: 8 * ms}
		})
		time.Sleep(time.Second)
		quick := &options{Fetch: takes(20*ms, "v")}
		ask(t, g, "key", 1, quick)
		time.Sleep(30 * ms)
		ask(t, g, "key", 2, quick) // still in flight below
		opt := &options{Policy: p, Hold: 40 * ms, MaxBatch: 9, Fetch: takes(0, "v")}
		time.Sleep(10 * ms)
		ask(t, g, "key", 3, opt)
		time.Sleep(4 * ms)
		ask(t, g, "key", 4, opt)
		time.Sleep(8 * ms)
		synctest.Wait()
		if len(states) != 3 {
			t.Fatalf("%d states: %+v", len(states), states)
		}
		for i, want := range []coalesce.State{
			{Now: 1040 * ms, Arrival: true, Size: 1, SinceArrival: 10 * ms, InFlight: true, InFlightFor: 10 * ms},
			{Now: 1044 * ms, Arrival: true, Size: 2, SinceArrival: 4 * ms, Age: 4 * ms, Waiting: 4 * ms, InFlight: true, InFlightFor: 14 * ms},
			{Now: 1052 * ms, Size: 2, SinceArrival: 8 * ms, Age: 12 * ms, Waiting: 20 * ms},
		} {
			want.Hold, want.MaxBatch = 40*ms, 9
			got := states[i]
			if got.Rates[0] <= got.Rates[1] || got.Rates[1] <= got.Rates[2] || got.Rates[2] < 0.19 || got.Rates[0] > 40 {
				t.Errorf("rates after 2 to 4 arrivals: %v", got.Rates)
			}
			if got.LatencyP50 < 20*ms-1 || got.LatencyP50 > 20*ms+1 || got.LatencyP99 < got.LatencyP50 {
				t.Errorf("latencies %v, %v", got.LatencyP50, got.LatencyP99)
			}
			got.Rates, got.Gap, got.LatencyP50, got.LatencyP99 = [3]float64{}, 0, 0, 0
			if got != want {
				t.Errorf("state %d is\n%+v, want\n%+v", i, got, want)
			}
		}
	})
}

func TestStateOfAKeyNeverSeen(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, _ *events) {
		var states []coalesce.State
		p := decide(func(s coalesce.State) coalesce.Decision {
			states = append(states, s)
			return coalesce.Decision{Serve: true}
		})
		opt := &options{Policy: p, Relaxed: true, Hold: ms, Fetch: takes(3*ms, "v")}
		ask(t, g, "key", 1, opt)
		time.Sleep(5 * ms)
		ask(t, g, "another", 1, opt)
		s := states[0]
		if s.SinceArrival != coalesce.Never || s.Rates != [3]float64{} || s.LatencyP50 != 0 || s.LatencyP99 != 0 || !s.Relaxed || s.InFlight {
			t.Errorf("%+v", s)
		}
		if s = states[1]; s.SinceArrival != coalesce.Never || s.LatencyP50 < 3*ms-1 || s.LatencyP50 > 3*ms+1 {
			t.Errorf("the latency of all keys is what is known of a new one: %+v", s)
		}
	})
}
