package coalesce_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicegate/sluice/coalesce"
)

// held is a policy and a hold under which a slot waits for 10 ms.
func held(fetch func(context.Context, *call) (string, error)) *options {
	return &options{Policy: wait{}, Hold: 10 * ms, Fetch: fetch}
}

func TestPublishAnswersBeforeTheEnd(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		opt := held(func(_ context.Context, c *call) (string, error) {
			time.Sleep(20 * ms)
			if n := c.Publish("head"); n != 2 {
				t.Errorf("given to %d", n)
			}
			if n := c.Publish("again"); n != 0 || c.PublishPrivate("again") {
				t.Errorf("published twice, to %d", n)
			}
			time.Sleep(30 * ms)
			if n := c.Seal(); n != 3 {
				t.Errorf("given to %d in all", n)
			}
			time.Sleep(50 * ms)
			return "ignored", nil
		})
		opt.Relaxed = true
		a, b := ask(t, g, "key", 1, opt), ask(t, g, "key", 2, opt)
		time.Sleep(30 * ms)
		a.answered(t, "head")
		b.answered(t, "head")
		if s := g.Stats(); s.Waiters != 0 || s.Calls != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(10 * ms)
		joined := ask(t, g, "key", 3, opt)
		joined.answered(t, "head")
		if o := joined.outcome; o.Role != coalesce.Joined || o.Waited != 0 || o.Size != 2 {
			t.Errorf("%+v", o)
		}
		strict := ask(t, g, "key", 4, &options{Fetch: takes(0, "strict")})
		strict.answered(t, "strict")
		time.Sleep(20 * ms)
		late := ask(t, g, "key", 5, opt)
		late.waits(t)
		late.cancel()
		time.Sleep(time.Second)
		f := ev.of(coalesce.ByTimer)[0]
		if f.Upstream != 20*ms || f.Ended.Sub(f.Started) != 100*ms || f.Answered != 3 || f.Joined != 1 || f.Size != 2 {
			t.Errorf("%+v", f)
		}
	})
}

func TestPrivateAnswerReleasesTheOthers(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		opt := held(func(_ context.Context, c *call) (string, error) {
			time.Sleep(20 * ms)
			if !c.PublishPrivate("secret") {
				t.Error("the leader is there")
			}
			if n := c.Publish("public"); n != 0 {
				t.Errorf("the same to %d others", n)
			}
			time.Sleep(20 * ms)
			return "ignored", nil
		})
		leader, b, c := ask(t, g, "key", 1, opt), ask(t, g, "key", 2, opt), ask(t, g, "key", 3, opt)
		time.Sleep(12 * ms)
		relaxed := held(opt.Fetch)
		relaxed.Relaxed = true
		patient := &options{Policy: wait{}, Hold: time.Second, Fetch: opt.Fetch}
		joined, next := ask(t, g, "key", 4, relaxed), ask(t, g, "key", 5, patient)
		time.Sleep(18 * ms)
		leader.answered(t, "secret")
		for _, r := range []*request{b, c, joined, next} {
			r.failed(t, coalesce.ErrNotShared)
			if o := r.outcome; o.Role != coalesce.Alone || o.Reason != coalesce.Passthrough || o.Size != 0 {
				t.Errorf("%+v", o)
			}
		}
		if s := g.Stats(); s.Slots != 0 || s.Waiters != 0 || s.Calls != 1 {
			t.Errorf("the slot that waited must be gone: %+v", s)
		}
		ask(t, g, "key", 6, relaxed).failed(t, coalesce.ErrNotShared)
		ask(t, g, "other", 7, opt).waits(t)
		time.Sleep(time.Second)
		f := ev.of(coalesce.ByTimer)[0]
		if f.Size != 3 || f.Joined != 1 || f.Answered != 1 || f.Released != 3 {
			t.Errorf("%+v", f)
		}
		if fs := ev.of(coalesce.Passthrough); len(fs) != 5 || fs[4].Err != coalesce.ErrNotShared || fs[4].Waiting != 0 {
			t.Errorf("%+v", fs)
		}
	})
}

func TestNotShareableIsRememberedForAWhile(t *testing.T) {
	for _, c := range []struct{ remember, lasts time.Duration }{{0, 120 * time.Second}, {time.Second, time.Second}, {-1, 0}} {
		bubble(t, coalesce.Config{Remember: c.remember}, func(t *testing.T, g *group, _ *events) {
			private := &options{Fetch: func(_ context.Context, c *call) (string, error) {
				c.PublishPrivate("secret")
				return "", nil
			}}
			shared := &options{Fetch: takes(0, "v")}
			ask(t, g, "key", 1, private).answered(t, "secret")
			if c.lasts > 0 {
				time.Sleep(c.lasts - 1)
				ask(t, g, "key", 2, shared).failed(t, coalesce.ErrNotShared)
				time.Sleep(time.Nanosecond)
			}
			ask(t, g, "key", 3, shared).answered(t, "v")
			ask(t, g, "key", 1, private).answered(t, "secret")
			g.Forget("key")
			g.Forget("unknown")
			ask(t, g, "key", 3, shared).answered(t, "v")
		})
	}
}

// TestPrivateAnswerOfALeaderThatLeft is for nobody: it was made with the leader's item.
func TestPrivateAnswerOfALeaderThatLeft(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		opt := held(func(_ context.Context, c *call) (string, error) {
			time.Sleep(20 * ms)
			if c.PublishPrivate("secret") {
				t.Error("given to nobody, it says otherwise")
			}
			return "", nil
		})
		leader, b := ask(t, g, "key", 1, opt), ask(t, g, "key", 2, opt)
		time.Sleep(15 * ms)
		leader.cancel()
		leader.failed(t, context.Canceled)
		time.Sleep(15 * ms)
		b.failed(t, coalesce.ErrNotShared)
		if f := ev.of(coalesce.ByTimer)[0]; f.Answered != 0 || f.Released != 1 {
			t.Errorf("%+v", f)
		}
	})
}

func TestLeaderThatLeavesFailsNobody(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, _ *events) {
		var items []int
		opt := held(func(ctx context.Context, c *call) (string, error) {
			items = c.Items()
			select {
			case <-time.After(20 * ms):
				return "v", nil
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		})
		var rs []*request
		for i := range 5 {
			rs = append(rs, ask(t, g, "key", i, opt))
		}
		for _, early := range []int{0, 3} { // from the slot, so that they are not in the call
			rs[early].cancel()
			rs[early].failed(t, context.Canceled)
		}
		time.Sleep(20 * ms)
		for _, late := range []int{1, 4} {
			rs[late].cancel()
			rs[late].failed(t, context.Canceled)
		}
		rs[2].waits(t)
		time.Sleep(10 * ms)
		rs[2].answered(t, "v")
		if fmt.Sprint(items) != "[1 2 4]" || rs[2].outcome.Role != coalesce.Follower {
			t.Errorf("items %v, %+v", items, rs[2].outcome)
		}
	})
}

func TestLastToLeaveCancelsTheCall(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		opt := held(func(ctx context.Context, c *call) (string, error) {
			<-ctx.Done()
			if cause := context.Cause(ctx); cause != coalesce.ErrAbandoned {
				t.Errorf("cause %v", cause)
			}
			time.Sleep(20 * ms) // slow to notice
			return "late", nil
		})
		opt.Relaxed = true
		a, b := ask(t, g, "key", 1, opt), ask(t, g, "key", 2, opt)
		time.Sleep(15 * ms)
		joined := ask(t, g, "key", 3, opt)
		for _, r := range []*request{a, joined, b} {
			r.waits(t)
			r.cancel()
			r.failed(t, context.Canceled)
		}
		// The call is still there. Its answer would be that of a cancelled one, so it must not be joined.
		if s := g.Stats(); s.Calls != 1 {
			t.Errorf("%+v", s)
		}
		next := ask(t, g, "key", 4, &options{Relaxed: true, Fetch: takes(0, "v")})
		next.answered(t, "v")
		time.Sleep(30 * ms)
		if fs := ev.of(coalesce.ByTimer); len(fs) != 1 || fs[0].Err != coalesce.ErrAbandoned || fs[0].Answered != 0 {
			t.Errorf("%+v", fs)
		}
		if fs := ev.of(coalesce.JoinedCall); len(fs) != 1 || fs[0].Err != context.Canceled {
			t.Errorf("%+v", fs)
		}
	})
}

// TestAnsweredCallGoesOn: after the answer it's the fetch that decides how long it goes on, whoever leaves; then its context ends.
func TestAnsweredCallGoesOn(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, _ *events) {
		var after context.Context
		opt := &options{Fetch: func(ctx context.Context, c *call) (string, error) {
			after = ctx
			c.Publish("v")
			time.Sleep(20 * ms)
			return "", ctx.Err()
		}}
		r := ask(t, g, "key", 1, opt)
		r.answered(t, "v")
		if after.Err() != nil {
			t.Error("cancelled while it is under way")
		}
		time.Sleep(20 * ms)
		synctest.Wait()
		if after.Err() == nil {
			t.Error("the context outlives the fetch")
		}
	})
}

func TestDeadlinesAreTheWaiters(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, _ *events) {
		opt := held(takes(20*ms, "v"))
		patient := ask(t, g, "key", 1, opt)
		ctx, cancel := context.WithTimeout(t.Context(), 15*ms)
		defer cancel()
		start := time.Now()
		_, o, err := g.Do(ctx, "key", 2, opt)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 15*ms || o.Waited != 15*ms {
			t.Errorf("%+v %v after %v", o, err, time.Since(start))
		}
		if _, _, err := g.Do(ctx, "key", 3, opt); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request that is late from the start: %v", err)
		}
		time.Sleep(15 * ms)
		patient.answered(t, "v")
	})
}

func TestErrorsGoToAllAndAreForgotten(t *testing.T) {
	failure := errors.New("upstream is down")
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
		opt := held(func(context.Context, *call) (string, error) { return "half", failure })
		a, b := ask(t, g, "key", 1, opt), ask(t, g, "key", 2, opt)
		time.Sleep(10 * ms)
		a.failed(t, failure)
		b.failed(t, failure)
		ask(t, g, "key", 3, &options{Relaxed: true, Fetch: takes(0, "v")}).answered(t, "v")
		if f := ev.seen()[0]; f.Err != failure || f.Answered != 0 || f.Size != 2 {
			t.Errorf("%+v", f)
		}
	})
}

// explode panics, with a name to look for in the stack.
func explode() { panic(errors.New("oops")) }

func TestPanicsReachEverybody(t *testing.T) {
	for _, c := range []struct {
		name  string
		crash func()
		text  string
		stack string
	}{
		{"panic", explode, "fetch panicked: oops", "explode"},
		{"nil panic", func() { panic(nil) }, "panic called with nil", "coalesce"},
		{"Goexit", runtime.Goexit, coalesce.ErrGoexit.Error(), "coalesce"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, coalesce.Config{}, func(t *testing.T, g *group, ev *events) {
				opt := held(func(_ context.Context, call *call) (string, error) {
					if call.Items()[0] == 7 {
						call.Publish("v")
					}
					c.crash()
					return "not reached", nil
				})
				a, b := ask(t, g, "key", 1, opt), ask(t, g, "key", 2, opt)
				answered := ask(t, g, "other", 7, opt)
				time.Sleep(10 * ms)
				answered.answered(t, "v")
				for _, r := range []*request{a, b} {
					var p *coalesce.PanicError
					if !r.ready() || !errors.As(r.err, &p) {
						t.Fatalf("%v", r.err)
					}
					if !strings.Contains(p.Error(), c.text) || !strings.Contains(string(p.Stack), c.stack) || p.Unwrap() == nil {
						t.Errorf("%v\n%s", p, p.Stack)
					}
				}
				if fs := ev.of(coalesce.ByTimer); len(fs) != 2 || !isPanic(fs[0].Err) || !isPanic(fs[1].Err) {
					t.Errorf("also a panic after the answer is told: %+v", fs)
				}
			})
		})
	}
}

func isPanic(err error) bool {
	var p *coalesce.PanicError
	return errors.As(err, &p)
}

func TestWaiterCap(t *testing.T) {
	bubble(t, coalesce.Config{MaxWaiters: 2}, func(t *testing.T, g *group, ev *events) {
		opt := held(takes(20*ms, "v"))
		opt.Tag = "route"
		a, b := ask(t, g, "key", 1, opt), ask(t, g, "other", 2, opt)
		over := ask(t, g, "key", 3, opt)
		over.failed(t, coalesce.ErrOverflow)
		ask(t, g, "third", 4, opt).failed(t, coalesce.ErrOverflow)
		if over.outcome != (coalesce.Outcome{Role: coalesce.Alone, Reason: coalesce.Passthrough}) {
			t.Errorf("%+v", over.outcome)
		}
		if fs := ev.of(coalesce.Passthrough); len(fs) != 2 || fs[0].Err != coalesce.ErrOverflow || fs[0].Size != 1 || fs[0].Tag != "route" {
			t.Errorf("%+v", fs)
		}
		b.cancel()
		b.failed(t, context.Canceled)
		c := ask(t, g, "key", 5, opt)
		time.Sleep(30 * ms)
		a.answered(t, "v")
		c.answered(t, "v")
		ask(t, g, "key", 6, &options{Fetch: takes(0, "v")}).answered(t, "v")
	})
}

func TestKeyCap(t *testing.T) {
	bubble(t, coalesce.Config{MaxKeys: 2}, func(t *testing.T, g *group, _ *events) {
		opt := held(takes(20*ms, "v"))
		a := ask(t, g, "a", 1, opt)
		time.Sleep(15 * ms)
		b := ask(t, g, "a", 2, opt) // a call and a slot
		ask(t, g, "b", 3, opt).failed(t, coalesce.ErrOverflow)
		ask(t, g, "a", 4, opt).waits(t) // who joins takes none
		time.Sleep(15 * ms)
		a.answered(t, "v")
		ask(t, g, "b", 5, opt).waits(t)
		time.Sleep(30 * ms)
		b.answered(t, "v")
	})
}

func TestByteCap(t *testing.T) {
	bubble(t, coalesce.Config{MaxBytes: 100}, func(t *testing.T, g *group, _ *events) {
		var kept *call
		opt := &options{Relaxed: true, Fetch: func(_ context.Context, c *call) (string, error) {
			kept = c
			for _, ok := range []bool{c.Hold(60), !c.Hold(41), c.Hold(40), !c.Hold(1), !c.Hold(-1), c.Hold(0)} {
				if !ok {
					t.Error("100 are to be had")
				}
			}
			time.Sleep(10 * ms)
			c.Release(30)
			time.Sleep(10 * ms)
			c.Release(1000)
			c.Release(-5)
			c.Hold(70)
			return "v", nil
		}}
		a := ask(t, g, "key", 1, opt)
		b := ask(t, g, "key", 2, opt)
		ask(t, g, "other", 3, opt).failed(t, coalesce.ErrOverflow)
		if n := g.Stats().Bytes; n != 100 {
			t.Errorf("%d bytes", n)
		}
		time.Sleep(10 * ms)
		synctest.Wait()
		ask(t, g, "other", 4, &options{Fetch: takes(0, "v")}).answered(t, "v")
		if n := g.Stats().Bytes; n != 70 {
			t.Errorf("%d bytes", n)
		}
		time.Sleep(10 * ms)
		a.answered(t, "v")
		b.answered(t, "v")
		if n := g.Stats().Bytes; n != 0 || kept.Hold(5) || g.Stats().Bytes != 0 {
			t.Errorf("%d bytes are held when all is over", n)
		}
		if kept.Publish("late") != 0 || kept.PublishPrivate("late") {
			t.Error("published when all is over")
		}
		ask(t, g, "key", 5, &options{Relaxed: true, Fetch: takes(0, "v")}).answered(t, "v")
	})
}

// TestByteCapThatIsNeverMet: what is held in pieces may never be as much as the cap. When a piece is not to be had, the cap is reached.
func TestByteCapThatIsNeverMet(t *testing.T) {
	bubble(t, coalesce.Config{MaxBytes: 100}, func(t *testing.T, g *group, _ *events) {
		holds := &options{Fetch: func(_ context.Context, c *call) (string, error) {
			if !c.Hold(60) || c.Hold(60) {
				t.Error("60 are to be had, and no 120")
			}
			time.Sleep(10 * ms)
			return "v", nil
		}}
		first := ask(t, g, "key", 1, holds)
		synctest.Wait()
		ask(t, g, "other", 2, holds).failed(t, coalesce.ErrOverflow)
		time.Sleep(10 * ms)
		first.answered(t, "v")
		synctest.Wait()
		ask(t, g, "other", 3, &options{Fetch: takes(0, "v")}).answered(t, "v")
	})
}

// TestIdleKeysAreBounded: what is remembered of keys without a slot or call is forgotten when it gets too much, the oldest first.
func TestIdleKeysAreBounded(t *testing.T) {
	bubble(t, coalesce.Config{MaxIdle: 640}, func(t *testing.T, g *group, _ *events) {
		private := &options{Fetch: func(_ context.Context, c *call) (string, error) {
			c.PublishPrivate("secret")
			return "", nil
		}}
		shared := &options{Fetch: takes(0, "v")}
		active := held(takes(0, "v"))
		waiting := ask(t, g, "active", 1, active)
		ask(t, g, "used", 1, private).answered(t, "secret")
		ask(t, g, "unused", 1, private).answered(t, "secret")
		for i := range 5000 {
			key := fmt.Sprint(i)
			if _, _, err := g.Do(t.Context(), key, i, shared); err != nil {
				t.Fatal(err)
			}
			if i%5 == 0 {
				ask(t, g, "used", 1, shared).failed(t, coalesce.ErrNotShared)
			}
		}
		ask(t, g, "unused", 1, shared).answered(t, "v")
		if n := g.Stats().Keys; n > 641 || n < 500 {
			t.Errorf("%d keys are remembered", n)
		}
		waiting.waits(t)
		time.Sleep(10 * ms)
		waiting.answered(t, "v")
	})
}

// TestKeysMayBeReused: callers may have their keys in a buffer.
func TestKeysAreCopied(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, _ *events) {
		buffer := []byte("key")
		r := ask(t, g, unsafeString(buffer), 1, held(takes(0, "v")))
		copy(buffer, "???")
		same := ask(t, g, "key", 2, held(takes(0, "v")))
		time.Sleep(10 * ms)
		r.answered(t, "v")
		same.answered(t, "v")
		if same.outcome.Size != 2 {
			t.Errorf("%+v", same.outcome)
		}
	})
}
