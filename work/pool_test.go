package work_test

import (
	"bytes"
	"context"
	"errors"
	"log"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicegate/sluice/work"
)

func TestBlockedUntilThereIsAPlace(t *testing.T) {
	bubble(t, options{Workers: 1, Queue: 1}, func(t *testing.T, p *pool, f *floor) {
		submit(t, p, "a", 1)
		f.now()
		submit(t, p, "a", 2)
		first, second := call(t, p, "a", 3), call(t, p, "a", 4)
		f.end(1, returns)
		if !first.done || first.err != nil || second.done {
			t.Fatalf("first %+v, second %+v", first, second)
		}
		second.cancel()
		synctest.Wait()
		if !second.done || !errors.Is(second.err, context.Canceled) || p.Stats().Blocked != 0 {
			t.Fatalf("%+v", second)
		}
		f.next(2)
		if !slices.Equal(f.order(), []int{1, 2, 3}) {
			t.Errorf("%v", f.order())
		}
	})
}

// TestLastMoment: a context that ends as the place is given, or the pool is closed. Submit may say either, and means it.
func TestLastMoment(t *testing.T) {
	for i := range 500 {
		bubble(t, options{Workers: 1, Queue: 1}, func(t *testing.T, p *pool, f *floor) {
			submit(t, p, "a", 1)
			f.now()
			submit(t, p, "a", 2)
			c := call(t, p, "a", 3)
			c.cancel()
			want := work.ErrClosed
			if i%2 == 0 {
				f.end(1, returns)
				want = nil
			} else {
				closeNow(t, p)
			}
			synctest.Wait()
			accepted := p.Stats().Accepted == 3
			if !c.done || accepted != (c.err == nil) || !errors.Is(c.err, want) && !errors.Is(c.err, context.Canceled) {
				t.Fatalf("%+v, accepted: %v", c, accepted)
			}
		})
	}
}

// TestEndedContext: who submits with a context that has ended, submits nothing.
func TestEndedContext(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, p *pool, f *floor) {
		ctx, cancel := context.WithDeadline(t.Context(), time.Now())
		defer cancel()
		if err := p.Submit(ctx, "a", 1); !errors.Is(err, context.DeadlineExceeded) || len(f.now()) != 0 {
			t.Errorf("%v, running %v", err, f.now())
		}
	})
}

// TestShed tells, for lines of given lengths, whose task has to give way to one of another tenant.
func TestShed(t *testing.T) {
	for _, c := range []struct {
		lines   string // the tenant of each task, in the order of submission
		submits string
		victim  int // index in lines, -1 for the submitted one
	}{
		{"aaaa", "b", 3},
		{"aaab", "b", 2}, // b has two then, and a three
		{"aabb", "a", -1},
		{"aabb", "b", -1},
		{"aabc", "c", -1}, // two, as many as a
		{"abcd", "e", -1}, // all have one
		{"baaa", "c", 3},
		{"aaba", "c", 3},
		{"aaaa", "a", -1},
	} {
		t.Run(c.lines+"+"+c.submits, func(t *testing.T) {
			var dropped []int
			opt := options{Full: work.Shed, Queue: 4, OnDrop: func(tenant string, task int, why error) {
				if errors.Is(why, work.ErrFull) && tenant == c.lines[task:task+1] {
					dropped = append(dropped, task)
				}
			}}
			bubble(t, opt, func(t *testing.T, p *pool, _ *floor) {
				p.Resize(0)
				for i := range c.lines {
					submit(t, p, c.lines[i:i+1], i)
				}
				err := p.Submit(t.Context(), c.submits, 100)
				refused := c.victim < 0
				if errors.Is(err, work.ErrFull) != refused || !refused && !slices.Equal(dropped, []int{c.victim}) || refused && len(dropped) > 0 {
					t.Errorf("Submit says %v, dropped %v, want %d", err, dropped, c.victim)
				}
			})
		})
	}
}

// TestResize: as many tasks run as there are workers, and those that are too many leave when they have done their task.
func TestResize(t *testing.T) {
	bubble(t, options{Workers: 2}, func(t *testing.T, p *pool, f *floor) {
		for i := range 100 {
			submit(t, p, "a", i)
		}
		for _, c := range []struct{ workers, busy, after int }{{2, 2, 2}, {5, 5, 5}, {1, 5, 4}, {3, 4, 3}, {0, 3, 2}, {-1, 2, 1}, {2, 2, 2}} {
			p.Resize(c.workers)
			running := f.now()
			if s := p.Stats(); len(running) != c.busy || s.Busy != c.busy || s.Workers != max(0, c.workers) {
				t.Fatalf("resized to %d: %v run, %+v", c.workers, running, s)
			}
			f.end(running[0], returns)
			if running := f.now(); len(running) != c.after {
				t.Fatalf("resized to %d, and one has ended: %v run, want %d", c.workers, running, c.after)
			}
		}
	})
}

// TestRestingWorkersLeave: those that wait for tasks are too many too.
func TestRestingWorkersLeave(t *testing.T) {
	bubble(t, options{Workers: 9}, func(t *testing.T, p *pool, f *floor) {
		synctest.Wait()
		before := runtime.NumGoroutine()
		p.Resize(1)
		synctest.Wait()
		if left := before - runtime.NumGoroutine(); left != 8 {
			t.Errorf("%d left, want 8", left)
		}
		submit(t, p, "a", 1, 2, 3)
		if running := f.now(); !slices.Equal(running, []int{1}) {
			t.Errorf("%v run", running)
		}
	})
}

func TestPanics(t *testing.T) {
	type told struct {
		tenant string
		task   int
		value  any
		trace  bool
	}
	var got []told
	opt := options{Workers: 1, OnPanic: func(tenant string, task int, value any, stack []byte) {
		got = append(got, told{tenant, task, value, strings.Contains(string(stack), "work_test.fail")})
	}}
	bubble(t, opt, func(t *testing.T, p *pool, f *floor) {
		submit(t, p, "a", 1, 2, 3)
		f.now()
		f.end(1, panics)
		f.end(2, exits)
		f.end(3, returns)
		if want := []told{{"a", 1, 1, true}, {"a", 2, work.ErrGoexit, true}}; !slices.Equal(got, want) {
			t.Errorf("told %+v, want %+v", got, want)
		}
		if s := p.Stats(); s.Panics != 2 || s.Done != 3 || s.Busy != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestPanicsAreLogged if nobody wants to be told.
func TestPanicsAreLogged(t *testing.T) {
	var out bytes.Buffer
	before := log.Writer()
	log.SetOutput(&out)
	t.Cleanup(func() { log.SetOutput(before) })
	p := work.New(options{Run: func(context.Context, int) { panic("too bad") }})
	submit(t, p, "a", 1)
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, `work: a task of tenant "a" panicked: too bad`) || !strings.Contains(got, "TestPanicsAreLogged") {
		t.Errorf("logged %q", got)
	}
}

func TestOldest(t *testing.T) {
	bubble(t, options{Workers: 1, Queue: 2}, func(t *testing.T, p *pool, f *floor) {
		oldest := func(want time.Duration) {
			t.Helper()
			if got := p.Stats().Oldest; got != want {
				t.Errorf("the oldest waits for %v, want %v", got, want)
			}
		}
		submit(t, p, "a", 0)
		f.now()
		time.Sleep(ms)
		oldest(0) // it runs
		submit(t, p, "a", 1)
		time.Sleep(ms)
		submit(t, p, "b", 2)
		call(t, p, "b", 3)
		time.Sleep(ms)
		oldest(2 * ms)
		f.end(0, returns)
		oldest(ms)
		time.Sleep(ms)
		f.end(1, returns)
		oldest(ms) // 3 waits since it has its place
	})
}

func TestMistakes(t *testing.T) {
	run := func(context.Context, int) {}
	for want, opt := range map[string]options{
		"work: Options.Run is nil":                           {},
		"work: -1 workers, a queue of 0: want 0 or more":     {Run: run, Workers: -1},
		"work: 2 workers, a queue of -7: want 0 or more":     {Run: run, Workers: 2, Queue: -7},
		"work: Options.Full is 3, want Block, Fail or Shed":  {Run: run, Full: 3},
		"work: Options.Full is -1, want Block, Fail or Shed": {Run: run, Full: -1},
	} {
		t.Run(want, func(t *testing.T) {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("panics with %v", got)
				}
			}()
			work.New(opt)
		})
	}
}
