package work

import "context"

// Close lets no task in any more: from now on Submit returns [ErrClosed], also to those who wait in it. The workers go on until the queue is
// empty. Close returns nil when every task that was accepted has been run and no worker is left.
//
// If ctx ends before, Close drops the tasks that haven't started, with [ErrClosed] to OnDrop, cancels the context of those that are running, and
// returns an [*UnfinishedError], without waiting for them. Calling it again, by whomever, waits for them to end.
//
// A task must not wait for Close of its own pool, which waits for the task.
func (p *Pool[T]) Close(ctx context.Context) error {
	p.mu.Lock()
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
	return p.unfinished()
}

// giveUp drops what is in the queue.
func (p *Pool[T]) giveUp(cause error) {
	p.mu.Lock()
	if p.cause == nil {
		p.cause = cause
	}
	tasks := p.queue.drain()
	p.stats.Dropped += uint64(len(tasks))
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

// unfinished returns what Close has to report.
func (p *Pool[T]) unfinished() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stats.Dropped == 0 && p.stats.Busy == 0 {
		return nil
	}
	return &UnfinishedError{NotRun: int(p.stats.Dropped), Running: p.stats.Busy, Cause: p.cause}
}
