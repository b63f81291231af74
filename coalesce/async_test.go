package coalesce_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicegate/sluice/coalesce"
)

// A question is one that a slow policy was asked.
type question struct {
	coalesce.State
	answer func(coalesce.Policy)
}

// slow is a policy that leaves all answers to the test.
type slow struct {
	wait
	mu    sync.Mutex // guards asked
	asked []question
}

func (p *slow) Ask(s coalesce.State, answer func(coalesce.Policy)) (coalesce.Decision, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, question{s, answer})
	return coalesce.Decision{}, true
}

// last returns the latest question, and fails the test unless there were n.
func (p *slow) last(t *testing.T, n int) question {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) != n {
		t.Fatalf("asked %d times, want %d", len(p.asked), n)
	}
	return p.asked[n-1]
}

// says is an answer that does not look at the state.
func says(d coalesce.Decision) coalesce.Policy {
	return decide(func(coalesce.State) coalesce.Decision { return d })
}

// slowly runs a test with a slow policy and a hold of 50 ms.
func slowly(t *testing.T, test func(t *testing.T, g *group, ev *events, p *slow, opt *options)) {
	t.Helper()
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		p := &slow{}
		test(t, g, ev, p, &options{Policy: p, Hold: 50 * ms, Fetch: takes(0, "v")})
	})
}

// TestAnswerLater: requests that come while the question is open are in the call that the answer brings about.
func TestAnswerLater(t *testing.T) {
	slowly(t, func(t *testing.T, g *group, ev *events, p *slow, opt *options) {
		first := ask(t, g, "key", 1, opt)
		time.Sleep(3 * ms)
		second := ask(t, g, "key", 2, opt)
		first.waits(t)
		q := p.last(t, 1)
		if !q.Arrival || q.Size != 1 || q.Age != 0 || q.SinceArrival != coalesce.Never {
			t.Errorf("asked about %+v", q.State)
		}
		time.Sleep(ms)
		q.answer(says(coalesce.Decision{Serve: true}))
		first.answered(t, "v")
		second.answered(t, "v")
		if fs := ev.of(coalesce.ByPolicy); len(fs) != 1 || fs[0].Size != 2 || fs[0].Age != 4*ms || fs[0].Fallbacks != 0 {
			t.Errorf("%+v", fs)
		}
	})
}

// TestAskedAnew: an answer to wait is about a slot that has changed since, so the question is put again at once.
func TestAskedAnew(t *testing.T) {
	slowly(t, func(t *testing.T, g *group, ev *events, p *slow, opt *options) {
		r := ask(t, g, "key", 1, opt)
		ask(t, g, "key", 2, opt)
		time.Sleep(2 * ms)
		ask(t, g, "key", 3, opt)
		time.Sleep(ms)
		p.last(t, 1).answer(says(coalesce.Decision{After: 5 * ms}))
		q := p.last(t, 2)
		if q.Arrival || q.Size != 3 || q.Age != 3*ms || q.SinceArrival != ms || q.Waiting != 7*ms {
			t.Errorf("asked about %+v", q.State)
		}
		time.Sleep(10 * ms) // the time at which to ask again after the first answer is not the second's
		p.last(t, 2).answer(says(coalesce.Decision{After: 5 * ms}))
		r.waits(t)
		time.Sleep(5*ms - 1)
		p.last(t, 2)
		time.Sleep(time.Nanosecond)
		r.waits(t)
		if q := p.last(t, 3); q.Age != 18*ms || q.Arrival {
			t.Errorf("asked about %+v", q.State)
		}
		p.last(t, 3).answer(says(coalesce.Decision{}))
		time.Sleep(32 * ms)
		r.answered(t, "v")
		p.last(t, 3)
	})
}

// TestCapsHoldMeanwhile: no answer, or a late one, keeps nobody longer than the caps.
func TestCapsHoldMeanwhile(t *testing.T) {
	slowly(t, func(t *testing.T, g *group, ev *events, p *slow, opt *options) {
		r := ask(t, g, "key", 1, opt)
		time.Sleep(50*ms - 1)
		r.waits(t)
		time.Sleep(time.Nanosecond)
		r.answered(t, "v")
		p.last(t, 1).answer(says(coalesce.Decision{Serve: true}))
		if fs := ev.seen(); len(fs) != 1 || fs[0].Reason != coalesce.ByTimer {
			t.Errorf("%+v", fs)
		}
		two := &options{Policy: p, Hold: time.Hour, MaxBatch: 2, Fetch: takes(0, "two")}
		ask(t, g, "key", 1, two)
		ask(t, g, "key", 2, two).answered(t, "two")
		if fs := ev.of(coalesce.BySize); len(fs) != 1 || fs[0].Size != 2 {
			t.Errorf("%+v", fs)
		}
	})
}

// TestRuleInPlaceOfAnAnswer is asked about the slot as it is then.
func TestRuleInPlaceOfAnAnswer(t *testing.T) {
	slowly(t, func(t *testing.T, g *group, ev *events, p *slow, opt *options) {
		r := ask(t, g, "key", 1, opt)
		time.Sleep(2 * ms)
		ask(t, g, "key", 2, opt)
		time.Sleep(3 * ms)
		p.last(t, 1).answer(decide(func(s coalesce.State) coalesce.Decision {
			if s.Size != 2 || s.Age != 5*ms || s.Waiting != 8*ms || s.SinceArrival != 3*ms || s.Arrival {
				t.Errorf("asked about %+v", s)
			}
			return coalesce.Decision{Serve: true, Fallback: true}
		}))
		r.answered(t, "v")
		if fs := ev.of(coalesce.ByPolicy); len(fs) != 1 || fs[0].Fallbacks != 1 {
			t.Errorf("%+v", fs)
		}
	})
}

// TestOnlyTheFirstAnswerCounts, to a slot that waits for it.
func TestOnlyTheFirstAnswerCounts(t *testing.T) {
	slowly(t, func(t *testing.T, g *group, ev *events, p *slow, opt *options) {
		r := ask(t, g, "key", 1, opt)
		first := p.last(t, 1)
		first.answer(says(coalesce.Decision{After: 10 * ms}))
		first.answer(says(coalesce.Decision{Serve: true}))
		r.waits(t)
		r.cancel()
		r.failed(t, context.Canceled)
		p.last(t, 1).answer(says(coalesce.Decision{Serve: true})) // nobody is left
		if fs := ev.seen(); len(fs) != 0 {
			t.Errorf("%+v", fs)
		}
	})
}

// TestAsyncPoliciesMayFail as others may: the slot is served, and that is counted.
func TestAsyncPoliciesMayFail(t *testing.T) {
	type asks func(answer func(coalesce.Policy)) (coalesce.Decision, bool)
	for name, p := range map[string]asks{
		"panics":               func(func(coalesce.Policy)) (coalesce.Decision, bool) { panic("oops") },
		"says nonsense":        func(func(coalesce.Policy)) (coalesce.Decision, bool) { return coalesce.Decision{After: -1}, false },
		"answers with nothing": func(answer func(coalesce.Policy)) (d coalesce.Decision, pending bool) { answer(nil); return d, true },
		"answers and panics":   func(answer func(coalesce.Policy)) (coalesce.Decision, bool) { answer(nil); panic("oops") },
		"answers with what panics": func(answer func(coalesce.Policy)) (d coalesce.Decision, pending bool) {
			answer(broken{})
			return d, true
		},
		"decides at once, but helped": func(func(coalesce.Policy)) (coalesce.Decision, bool) {
			return coalesce.Decision{Serve: true, Fallback: true}, false
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
				r := ask(t, g, "key", 1, &options{Policy: asking(p), Hold: 50 * ms, Fetch: takes(0, "v")})
				r.answered(t, "v")
				if fs := ev.seen(); len(fs) != 1 || fs[0].Reason != coalesce.ByPolicy || fs[0].Fallbacks != 1 || fs[0].Age != 0 {
					t.Errorf("%+v", fs)
				}
			})
		})
	}
}

// asking is an AsyncPolicy made of a function.
type asking func(answer func(coalesce.Policy)) (coalesce.Decision, bool)

func (f asking) Decide(coalesce.State) coalesce.Decision { panic("Ask is there") }

func (f asking) Ask(_ coalesce.State, answer func(coalesce.Policy)) (coalesce.Decision, bool) {
	return f(answer)
}

// broken is a policy that panics.
type broken struct{}

func (broken) Decide(coalesce.State) coalesce.Decision { panic("oops") }

// TestDecidesAtOnce: an AsyncPolicy that need not ask is as quick as any other, and is asked when it wants to be.
func TestDecidesAtOnce(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		questions := 0
		p := asking(func(func(coalesce.Policy)) (coalesce.Decision, bool) {
			questions++
			return coalesce.Decision{Serve: questions == 4, After: 10 * ms}, false
		})
		opt := &options{Policy: p, Hold: 50 * ms, Fetch: takes(0, "v")}
		r := ask(t, g, "key", 1, opt) // the first
		time.Sleep(4 * ms)
		ask(t, g, "key", 2, opt) // the second
		time.Sleep(20 * ms)      // the third, and the fourth
		r.answered(t, "v")
		if fs := ev.of(coalesce.ByPolicy); len(fs) != 1 || fs[0].Age != 24*ms || questions != 4 {
			t.Errorf("%d questions, %+v", questions, fs)
		}
	})
}

// TestCloseWithAQuestionOpen serves the slot, and an answer that comes after it is nobody's.
func TestCloseWithAQuestionOpen(t *testing.T) {
	slowly(t, func(t *testing.T, g *group, ev *events, p *slow, opt *options) {
		r := ask(t, g, "key", 1, opt)
		closed(t, g)
		r.answered(t, "v")
		p.last(t, 1).answer(says(coalesce.Decision{Serve: true}))
		if fs := ev.seen(); len(fs) != 1 || fs[0].Reason != coalesce.ByClose {
			t.Errorf("%+v", fs)
		}
	})
}

// TestGatherAsks: batches of different requests have the same policies.
func TestGatherAsks(t *testing.T) {
	slowly(t, func(t *testing.T, g *group, ev *events, p *slow, _ *options) {
		gather := coalesce.NewGather[int, string](coalesce.Config{})
		defer gather.Close(context.Background())
		opt := &coalesce.GatherOptions[int, string]{
			Policy: p, Hold: 50 * ms,
			Fetch: func(context.Context, []int) ([]coalesce.Result[string], error) {
				return []coalesce.Result[string]{{Value: "one"}}, nil
			},
		}
		var v string
		var o coalesce.Outcome
		var err error
		go func() { v, o, err = gather.Do(t.Context(), "key", 1, opt) }()
		time.Sleep(7 * ms)
		p.last(t, 1).answer(says(coalesce.Decision{Serve: true}))
		synctest.Wait()
		if v != "one" || err != nil || o.Reason != coalesce.ByPolicy || o.Waited != 7*ms {
			t.Errorf("%q %+v %v", v, o, err)
		}
	})
}
