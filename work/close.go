package work

import "context"

// Close lets no task in any more: from now on Submit returns [ErrClosed], also to those who wait in it. The workers go on until the queue is
// empty. Close returns nil when every task that was accepted has been run and no worker is left.
//
// If ctx ends before, Close drops the tasks that haven't started, with [ErrClosed] to OnDrop, cancels the context of those that are running, and
// returns an [*UnfinishedError], without waiting for them. To call it again, with a context that hasn't ended, waits until they have returned
// and says the same.
//
// A task must not call Close of its own pool, which waits for the task.
func (p *Pool[T]) Close(ctx context.Context) error {
	p.lock()
	p.closed = true
	refused := p.blocked.drain()
	for _, s := range refused {
		s.value.answered = true
	}
	p.endLocked()
	p.mu.Unlock()
	p.idle.Broadcast()
	for _, s := range refused {
		s.value.tell(ErrClosed)
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.giveUp(ctx.Err())
	}
	p.cancel(ErrClosed)
	p.lock()
	defer p.mu.Unlock()
	if p.report == nil {
		return nil
	}
	return p.report
}

// giveUp drops what is in the queue, and cancels what is running.
func (p *Pool[T]) giveUp(why error) {
	p.lock()
	tasks := p.queue.drain()
	p.stats.Dropped += uint64(len(tasks))
	if p.report == nil && len(tasks)+p.stats.Busy > 0 {
		p.report = &UnfinishedError{NotRun: len(tasks), Cancelled: p.stats.Busy, Cause: why}
	}
	p.endLocked()
	p.mu.Unlock()
	p.cancel(ErrClosed)
	if p.opt.OnDrop == nil {
		return
	}
	for _, t := range tasks {
		p.opt.OnDrop(t.tenant, t.value, ErrClosed)
	}
}
