package work

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// A Pool runs tasks of type T with a number of workers, in a fair order. It is safe for concurrent use; its zero value is not usable, see [New].
type Pool[T any] struct {
	opt    Options[T]
	start  time.Time
	ctx    context.Context // of all tasks
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed when the pool is and no worker is left

	mu      sync.Mutex // guards all below
	queue   *fair[T]
	blocked *fair[*submitter[T]] // those who wait in Submit: there are none unless the queue is full
	idle    sync.Cond            // where workers wait for tasks
	resting int                  // workers that do
	waking  bool                 // one of them was told to get up, and hasn't yet
	workers int                  // that there are
	target  int                  // that there should be
	closed  bool
	over    bool             // ended is closed
	report  *UnfinishedError // of Close, if it ran out of time
	stats   Stats
}

// A submitter waits in Submit for a place.
type submitter[T any] struct {
	task     T
	answered bool       // or about to be
	answer   chan error // of capacity 1: whether its task was accepted
}

// New returns a pool with its workers waiting for tasks. Close it to get rid of them. It panics if an option is out of range.
func New[T any](opt Options[T]) *Pool[T] {
	opt = opt.withDefaults()
	p := &Pool[T]{
		opt: opt, start: time.Now(), ended: make(chan struct{}),
		queue: newFair[T](opt.Full == Shed), blocked: newFair[*submitter[T]](false),
	}
	p.idle.L = &p.mu
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.Resize(opt.Workers)
	return p
}

func (p *Pool[T]) now() time.Duration { return time.Since(p.start) }

func (p *Pool[T]) weight(tenant string) int {
	if p.opt.Weight == nil {
		return 1
	}
	return max(1, p.opt.Weight(tenant))
}

// Submit puts the task in the tenant's line. If it returns nil, the task was accepted: it is run, or OnDrop is told of it, once. Otherwise it
// is neither: then the error is [ErrFull], [ErrClosed], or that of ctx. When the queue is full, Options.Full says what happens, and only
// [Block] waits: until there is a place, or ctx ends, or the pool is closed.
//
// A task may submit others. But if all workers wait in Submit, nobody makes room: use Fail or Shed for that, or a ctx with a deadline.
func (p *Pool[T]) Submit(ctx context.Context, tenant string, task T) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	weight, now := p.weight(tenant), p.now()
	p.lock()
	if p.opt.Full == Block && p.fullLocked() && p.blocked.size == 0 {
		// Workers that get to run now are likely to make room for many, which costs much less than to be woken for each place.
		p.mu.Unlock()
		runtime.Gosched()
		p.lock()
	}
	switch {
	case p.closed:
		p.mu.Unlock()
		return ErrClosed
	case !p.fullLocked():
		p.acceptLocked(tenant, weight, now, task)
		p.unlockAndWake()
		return nil
	case p.opt.Full == Shed:
		victim, found := p.shedLocked(tenant)
		if found {
			p.acceptLocked(tenant, weight, now, task)
		}
		p.mu.Unlock()
		return p.drop(victim, found)
	case p.opt.Full == Fail:
		p.stats.Refused++
		p.mu.Unlock()
		return ErrFull
	}
	s := &submitter[T]{task: task, answer: make(chan error, 1)}
	place := p.blocked.push(tenant, weight, now, s)
	p.mu.Unlock()
	return p.wait(ctx, s, place)
}

func (p *Pool[T]) fullLocked() bool { return p.queue.size >= p.opt.Queue }

func (p *Pool[T]) acceptLocked(tenant string, weight int, now time.Duration, task T) {
	p.queue.push(tenant, weight, now, task)
	p.stats.Accepted++
}

// wait returns when the submitter has its answer, or ctx has ended before.
func (p *Pool[T]) wait(ctx context.Context, s *submitter[T], place *entry[*submitter[T]]) error {
	select {
	case err := <-s.answer:
		return err
	case <-ctx.Done():
	}
	p.lock()
	if !s.answered {
		p.blocked.remove(place)
		p.mu.Unlock()
		return ctx.Err()
	}
	p.mu.Unlock()
	return <-s.answer
}

// admitLocked gives a place that has just become free to the submitter that is next, if one waits, who is to be told.
func (p *Pool[T]) admitLocked() *submitter[T] {
	if p.blocked.size == 0 {
		return nil
	}
	tenant, weight, s := p.blocked.pop()
	s.answered = true
	p.acceptLocked(tenant, weight, p.now(), s.task)
	return s
}

// tell says to a submitter, if there is one, what became of its task.
func (s *submitter[T]) tell(err error) {
	if s != nil {
		s.answer <- err
	}
}

// shedLocked makes room for a task of the tenant, unless the tenant has as many as anybody then.
func (p *Pool[T]) shedLocked(tenant string) (victim owned[T], found bool) {
	longest := p.queue.ranking.longest()
	if p.queue.length(tenant)+1 >= longest.size {
		p.stats.Refused++
		return victim, false
	}
	p.stats.Shed++
	tenant = longest.tenant
	return owned[T]{tenant, p.queue.remove(longest.last)}, true
}

// drop tells the owner of a task that it was shed, or the caller if it was the submitted one.
func (p *Pool[T]) drop(victim owned[T], found bool) error {
	if !found {
		return ErrFull
	}
	if p.opt.OnDrop != nil {
		p.opt.OnDrop(victim.tenant, victim.value, ErrFull)
	}
	return nil
}
