package work

import (
	"log"
	"runtime"
	"runtime/debug"
)

// Resize sets the number of workers, from 0; less counts as 0. New ones start at once. Those that are too many leave when they have done the task
// they are at. Without workers the pool takes tasks and doesn't run them, until it is resized again.
func (p *Pool[T]) Resize(workers int) {
	p.lock()
	p.target = max(0, workers)
	for p.workers < p.target && !p.finishedLocked() {
		p.workers++
		go p.work(false)
	}
	p.mu.Unlock()
	p.idle.Broadcast() // those that are too many may be waiting
}

// finishedLocked reports that there will never be anything to do.
func (p *Pool[T]) finishedLocked() bool { return p.closed && p.queue.size == 0 }

// work runs tasks until the worker is not needed any more. ran says that it has just run one.
func (p *Pool[T]) work(ran bool) {
	left := false
	defer func() {
		if !left { // runtime.Goexit in a task, which no goroutine survives
			go p.work(true)
		}
	}()
	for {
		tenant, task, ok := p.next(ran)
		if !ok {
			break
		}
		p.run(tenant, task)
		ran = true
	}
	left = true
}

// next returns the task that the worker is to run, which may take a while to come. ran says that it has just run another.
func (p *Pool[T]) next(ran bool) (tenant string, task T, ok bool) {
	p.lock()
	if ran {
		p.stats.Busy--
		p.stats.Done++
	}
	p.awaitLocked()
	if p.workers > p.target || p.finishedLocked() {
		p.leaveLocked()
		p.mu.Unlock()
		return tenant, task, false
	}
	tenant, _, task = p.queue.pop()
	p.stats.Busy++
	admitted := p.admitLocked()
	p.unlockAndWake()
	admitted.tell(nil)
	return tenant, task, true
}

// awaitLocked returns when there is a task, or a reason to leave.
func (p *Pool[T]) awaitLocked() {
	nothing := func() bool { return p.queue.size == 0 && !p.closed && p.workers <= p.target }
	if nothing() {
		// Who submits gets to run now, if somebody does, and finds a worker that needn't be woken.
		p.mu.Unlock()
		runtime.Gosched()
		p.lock()
	}
	for nothing() {
		p.resting++
		p.idle.Wait()
		p.resting--
		p.waking = false
	}
}

// unlockAndWake wakes a worker if there is a task for it. It wakes no other until that one is up, which then wakes the next: so a burst of
// tasks doesn't wake everybody for what a few get done meanwhile.
func (p *Pool[T]) unlockAndWake() {
	wake := p.queue.size > 0 && p.resting > 0 && !p.waking
	if wake {
		p.waking = true
	}
	p.mu.Unlock()
	if wake {
		p.idle.Signal()
	}
}

func (p *Pool[T]) leaveLocked() {
	p.workers--
	p.endLocked()
}

// endLocked closes ended if the pool has come to its end.
func (p *Pool[T]) endLocked() {
	if p.workers == 0 && p.finishedLocked() && !p.over {
		p.over = true
		close(p.ended)
	}
}

// run runs the task and contains its panic.
func (p *Pool[T]) run(tenant string, task T) {
	returned := false
	defer func() {
		if !returned {
			p.panicked(tenant, task, recover())
		}
	}()
	p.opt.Run(p.ctx, task)
	returned = true
}

// panicked counts and tells a panic. recover returns nil only for Goexit: a panic with nil is a *runtime.PanicNilError.
func (p *Pool[T]) panicked(tenant string, task T, value any) {
	if value == nil {
		value = ErrGoexit
	}
	p.lock()
	p.stats.Panics++
	p.mu.Unlock()
	stack := debug.Stack()
	if p.opt.OnPanic == nil {
		log.Printf("work: a task of tenant %q panicked: %v\n%s", tenant, value, stack)
		return
	}
	p.opt.OnPanic(tenant, task, value, stack)
}
