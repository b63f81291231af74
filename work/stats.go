package work

import "time"

// Stats are figures of a [Pool], all of the same instant. Each task that was accepted is in one of Depth, Busy, Done, Shed and Dropped.
type Stats struct {
	Depth   int           // tasks that wait in the queue
	Oldest  time.Duration // for how long the oldest of them has waited; 0 if there is none
	Tenants int           // that have tasks in the queue
	Blocked int           // calls of Submit that wait for a place
	Busy    int           // workers that run a task
	Workers int           // as set by Resize; when there were more, those that run a task stay until it is done

	Accepted uint64 // tasks for which Submit returned nil, or will
	Refused  uint64 // tasks for which it returned ErrFull
	Done     uint64 // tasks that ended, those that panicked too
	Panics   uint64 // tasks that panicked
	Shed     uint64 // tasks that were accepted and had to give way to others
	Dropped  uint64 // tasks that were accepted and not run, since Close ran out of time
}

// Stats returns the figures of now.
func (p *Pool[T]) Stats() Stats {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Depth, s.Tenants, s.Blocked, s.Workers = p.queue.size, len(p.queue.lines), p.blocked.size, p.target
	if e := p.queue.oldest; e != nil {
		s.Oldest = max(0, now-e.pushed)
	}
	return s
}
