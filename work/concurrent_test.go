package work_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluicegate/sluice/work"
)

// TestEachTaskOnce has everything happen at once: tasks that end in all ways, callers that give up, a number of workers that changes all
// the time, and Close that may run out of time. What was accepted is run or dropped, once, and what was refused is neither.
func TestEachTaskOnce(t *testing.T) {
	for name, full := range modes {
		for _, inTime := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/in time=%v", name, inTime), func(t *testing.T) { newCrowd(full).play(t, inTime) })
		}
	}
}

const (
	members = 8
	each    = 1000
)

// A crowd submits from many goroutines, and counts what becomes of each task.
type crowd struct {
	pool                   *pool
	accepted, ran, dropped [members * each]atomic.Int32
	panicked               atomic.Int32
	done                   sync.WaitGroup
}

func newCrowd(full work.WhenFull) *crowd {
	c := &crowd{}
	c.pool = work.New(options{
		Full: full, Queue: 100, Run: c.run,
		Weight:  func(tenant string) int { return len(tenant) },
		OnPanic: func(string, int, any, []byte) { c.panicked.Add(1) },
		OnDrop:  func(_ string, task int, _ error) { c.dropped[task].Add(1) },
	})
	return c
}

func (c *crowd) run(_ context.Context, task int) {
	c.ran[task].Add(1)
	if task%5 == 0 {
		runtime.Gosched()
	}
	fail(ending(rand.IntN(300)), task) // most return
}

func (c *crowd) play(t *testing.T, inTime bool) {
	submitted := make(chan struct{}, members*each)
	for m := range members {
		c.done.Go(func() { c.submit(t, m, submitted) })
	}
	for range members * each / 2 {
		c.pool.Resize(1 + rand.IntN(9))
		c.look(t)
		<-submitted
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if !inTime {
		cancel()
	}
	err := c.pool.Close(ctx)
	if inTime && err != nil {
		t.Error(err)
	}
	if again := c.pool.Close(t.Context()); !errors.Is(again, err) {
		t.Errorf("%v, and then %v", err, again)
	}
	c.done.Wait()
	c.check(t)
}

// submit submits the tasks of a member, each with a context that may end at any time.
func (c *crowd) submit(t *testing.T, member int, submitted chan<- struct{}) {
	for i := range each {
		task := member*each + i
		ctx, cancel := context.WithCancel(t.Context())
		if task%3 == 0 {
			go cancel()
		}
		switch err := c.pool.Submit(ctx, strconv.Itoa(rand.IntN(1<<uint(member))), task); {
		case err == nil:
			c.accepted[task].Add(1)
		case !errors.Is(err, work.ErrFull) && !errors.Is(err, work.ErrClosed) && !errors.Is(err, context.Canceled):
			t.Error(err)
		}
		cancel()
		submitted <- struct{}{}
	}
}

// look checks figures of an instant.
func (c *crowd) look(t *testing.T) {
	s := c.pool.Stats()
	if s.Accepted != uint64(s.Depth)+uint64(s.Busy)+s.Done+s.Shed+s.Dropped || s.Depth > 100 || s.Tenants > s.Depth || s.Blocked > 0 && s.Depth < 100 {
		t.Errorf("%+v", s)
	}
}

func (c *crowd) check(t *testing.T) {
	var accepted, ran, dropped uint64
	for i := range c.ran {
		a, r, d := c.accepted[i].Load(), c.ran[i].Load(), c.dropped[i].Load()
		if a != r+d {
			t.Fatalf("task %d: accepted %d times, ran %d, dropped %d", i, a, r, d)
		}
		accepted, ran, dropped = accepted+uint64(a), ran+uint64(r), dropped+uint64(d)
	}
	c.look(t)
	s := c.pool.Stats()
	if s.Accepted != accepted || s.Done != ran || s.Shed+s.Dropped != dropped || s.Panics != uint64(c.panicked.Load()) || s.Depth+s.Busy+s.Blocked > 0 {
		t.Errorf("%+v, and counted %d accepted, %d run, %d dropped, %d panicked", s, accepted, ran, dropped, c.panicked.Load())
	}
}

// TestTenantsAreForgotten: neither a long queue nor many tenants leave anything behind but what the next few tasks need.
func TestTenantsAreForgotten(t *testing.T) {
	const tenants = 50_000
	var running sync.WaitGroup
	running.Add(tenants)
	p := paused(options{Queue: tenants, Full: work.Shed, Run: func(context.Context, int) { running.Done() }})
	before := heap()
	for i := range tenants {
		submit(t, p, strconv.Itoa(i), i)
	}
	if s := p.Stats(); s.Tenants != tenants || heap()-before < 5_000_000 {
		t.Fatalf("%+v, %d bytes: this measures nothing", s, heap()-before)
	}
	p.Resize(2)
	running.Wait()
	if s, grown := p.Stats(), heap()-before; s.Tenants != 0 || grown > 500_000 {
		t.Errorf("%+v, %d bytes more than at first", s, grown)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// heap returns the bytes in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
