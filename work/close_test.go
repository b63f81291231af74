package work_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicegate/sluice/work"
)

// TestCloseDrains: what was accepted is run, what comes later is not, and who waits for a place is told at once.
func TestCloseDrains(t *testing.T) {
	var ran []int
	opt := options{Workers: 1, Queue: 3, Run: func(_ context.Context, task int) {
		time.Sleep(10 * ms)
		ran = append(ran, task)
	}}
	bubble(t, opt, func(t *testing.T, p *pool, _ *floor) {
		submit(t, p, "a", 1)
		synctest.Wait()
		submit(t, p, "a", 2, 3, 4)
		blocked := call(t, p, "b", 5)
		start := time.Now()
		go func() {
			time.Sleep(ms)
			synctest.Wait()
			if !errors.Is(blocked.err, work.ErrClosed) || !errors.Is(p.Submit(t.Context(), "a", 6), work.ErrClosed) {
				t.Errorf("the blocked Submit says %v", blocked.err)
			}
		}()
		if err := p.Close(t.Context()); err != nil || time.Since(start) != 40*ms || !slices.Equal(ran, []int{1, 2, 3, 4}) {
			t.Errorf("%v after %v, ran %v", err, time.Since(start), ran)
		}
	})
}

// TestCloseRunsOutOfTime: tasks that run are cancelled, the others are dropped and their owners told, and Close doesn't wait for any of them until
// it is called again.
func TestCloseRunsOutOfTime(t *testing.T) {
	var mu sync.Mutex
	var causes []error
	var dropped []drop
	opt := options{
		Workers: 2,
		Run: func(ctx context.Context, _ int) {
			<-ctx.Done()
			mu.Lock()
			causes = append(causes, context.Cause(ctx))
			mu.Unlock()
			time.Sleep(20 * ms)
		},
		OnDrop: func(tenant string, task int, why error) { dropped = append(dropped, drop{tenant, task, why}) },
	}
	bubble(t, opt, func(t *testing.T, p *pool, _ *floor) {
		submit(t, p, "a", 1, 2, 3)
		submit(t, p, "b", 4, 5)
		ctx, cancel := context.WithTimeout(t.Context(), 5*ms)
		defer cancel()
		start := time.Now()
		err := p.Close(ctx)
		var u *work.UnfinishedError
		if !errors.As(err, &u) || u.NotRun != 3 || u.Cancelled != 2 || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*ms {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if len(dropped) != 3 || p.Stats().Dropped != 3 {
			t.Errorf("dropped %v", dropped)
		}
		if again := p.Close(ctx); !errors.Is(again, err) || time.Since(start) != 5*ms || p.Stats().Busy != 2 {
			t.Errorf("%v after %v", again, time.Since(start))
		}
		if again := p.Close(t.Context()); !errors.Is(again, err) || time.Since(start) != 25*ms || p.Stats().Busy != 0 {
			t.Errorf("%v after %v", again, time.Since(start))
		}
		if !slices.Equal(causes, []error{work.ErrClosed, work.ErrClosed}) {
			t.Errorf("causes %v", causes)
		}
	})
}

// TestCloseWhilePaused waits for somebody to bring workers.
func TestCloseWhilePaused(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, p *pool, f *floor) {
		p.Resize(0)
		submit(t, p, "a", 1)
		closed := false
		go func() { closed = p.Close(t.Context()) == nil }()
		synctest.Wait()
		if closed {
			t.Fatal("closed with a task in the queue")
		}
		p.Resize(3)
		f.now()
		f.end(1, returns)
		if !closed {
			t.Fatal("not closed")
		}
		p.Resize(5) // nothing to do for them
		if s := p.Stats(); s.Done != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestCloseEmpty needs no time at all.
func TestCloseEmpty(t *testing.T) {
	for _, workers := range []int{0, 4} {
		bubble(t, options{}, func(t *testing.T, p *pool, _ *floor) {
			p.Resize(workers)
			synctest.Wait()
			start := time.Now()
			if err := p.Close(t.Context()); err != nil || time.Since(start) != 0 {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	}
}

// TestTasksSubmitTasks until the pool is closed, from then on they can't.
func TestTasksSubmitTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *pool
		var errs []error
		p = work.New(options{Workers: 1, Queue: 1, Run: func(ctx context.Context, task int) {
			time.Sleep(10 * ms)
			errs = append(errs, p.Submit(ctx, "a", task+1))
		}})
		submit(t, p, "a", 1)
		time.Sleep(25 * ms)
		if err := p.Close(t.Context()); err != nil || !slices.Equal(errs, []error{nil, nil, work.ErrClosed}) {
			t.Errorf("%v, Submit said %v", err, errs)
		}
	})
}
