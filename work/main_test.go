package work_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/work"
)

const ms = time.Millisecond

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	pool    = work.Pool[int]
	options = work.Options[int]
)

// A floor is where tasks are run, until the test lets them end.
type floor struct {
	mu      sync.Mutex
	started []int // in their order
	running map[int]chan ending
}

// An ending is how a task ends.
type ending int

const (
	returns ending = iota
	panics
	exits
)

func newFloor() *floor { return &floor{running: map[int]chan ending{}} }

// run is for Options.Run. It returns also if the context ends.
func (f *floor) run(ctx context.Context, task int) {
	end := make(chan ending, 1)
	f.mu.Lock()
	f.started = append(f.started, task)
	f.running[task] = end
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.running, task)
	}()
	select {
	case how := <-end:
		fail(how, task)
	case <-ctx.Done():
	}
}

// now returns the tasks that run, by number.
func (f *floor) now() []int {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	var tasks []int
	for t := range f.running {
		tasks = append(tasks, t)
	}
	slices.Sort(tasks)
	return tasks
}

// end lets a task end that runs, and returns when all is quiet again.
func (f *floor) end(task int, how ending) {
	f.mu.Lock()
	end := f.running[task]
	f.mu.Unlock()
	if end == nil {
		panic(fmt.Sprintf("task %d is not running", task))
	}
	end <- how
	synctest.Wait()
}

// next lets n tasks end, one after the other, and returns those that were started meanwhile, in their order.
func (f *floor) next(n int) []int {
	before := len(f.order())
	for range n {
		f.end(f.now()[0], returns)
	}
	return f.order()[before:]
}

// order returns the tasks that were started, in their order.
func (f *floor) order() []int {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.started)
}

// bubble runs a test with virtual time and a pool whose tasks stay on the floor. Those that are left at the end are dropped.
func bubble(t *testing.T, opt options, test func(t *testing.T, p *pool, f *floor)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFloor()
		if opt.Run == nil {
			opt.Run = f.run
		}
		p := work.New(opt)
		test(t, p, f)
		closeNow(t, p)
	})
}

// closeNow closes the pool without giving it time, and waits for what it has cancelled.
func closeNow(t testing.TB, p *pool) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	first, second := p.Close(ctx), p.Close(context.Background())
	if !errors.Is(first, second) {
		t.Errorf("Close says %v, and then %v", first, second)
	}
}

// submit submits a task that must be accepted at once.
func submit(t *testing.T, p *pool, tenant string, tasks ...int) {
	t.Helper()
	for _, task := range tasks {
		if err := p.Submit(t.Context(), tenant, task); err != nil {
			t.Fatalf("task %d of %s: %v", task, tenant, err)
		}
	}
}

// A caller is in Submit.
type caller struct {
	cancel context.CancelFunc
	done   bool
	err    error
}

// call submits in a goroutine of its own, and returns when it waits or has its answer.
func call(t *testing.T, p *pool, tenant string, task int) *caller {
	ctx, cancel := context.WithCancel(t.Context())
	c := &caller{cancel: cancel}
	go func() {
		defer cancel()
		c.err = p.Submit(ctx, tenant, task)
		c.done = true
	}()
	synctest.Wait()
	return c
}
