package coalesce

import (
	"context"
	"errors"
	"runtime/debug"
	"time"
)

// serveLocked makes the slot a call.
func (c *Call[I, V]) serveLocked(r Reason, now time.Duration) {
	g, e := c.group, c.entry
	c.phase, c.started = serving, max(now, c.opened, c.last.arrived) // clocks are read before the lock is taken
	c.stopLocked()
	c.items = make([]I, 0, c.size)
	for w := c.first; w != nil; w = w.next {
		c.items = append(c.items, w.item)
	}
	c.leader = c.first
	c.flush.Reason, c.flush.Size = r, c.size
	c.flush.Age, c.flush.Waiting = c.started-c.opened, c.waitingLocked(c.started)
	e.open, e.flight = nil, c
	e.calls++
	e.since = c.started
	g.calls.Add(1)
	g.running.Add(1)
	c.ctx, c.end = context.WithCancelCause(g.ctx)
	go c.run()
}

func (c *Call[I, V]) stopLocked() {
	if c.timer != nil {
		c.timer.Stop()
	}
}

// run runs the fetch. Whatever that does, the waiters get an answer, and the process goes on.
func (c *Call[I, V]) run() {
	var v V
	var err error
	returned := false
	defer c.group.running.Done()
	defer func() {
		if !returned {
			value := recover()
			if value == nil {
				value = ErrGoexit
			}
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
		c.finish(v, err)
	}()
	v, err = c.opt.Fetch(c.ctx, c)
	returned = true
}

// finish ends the call.
func (c *Call[I, V]) finish(v V, err error) {
	g := c.group
	now := g.now()
	c.shard.mu.Lock()
	first, _ := c.answerLocked(answer[I, V]{value: v, err: err, at: now})
	c.phase = ended
	c.sealLocked()
	c.entry.calls--
	c.shard.restLocked(c.entry, g.idlePerShard)
	held := c.held
	c.held = 0
	c.recordLocked(now, err)
	c.shard.mu.Unlock()

	g.giveBack(held)
	g.calls.Add(-1)
	g.keys.Add(-1)
	if first {
		c.tell()
	}
	c.end(context.Canceled)
	if g.cfg.Observe != nil {
		g.cfg.Observe(c.flush)
	}
}

// recordLocked completes the event, which doesn't change any more.
func (c *Call[I, V]) recordLocked(now time.Duration, err error) {
	g, f := c.group, &c.flush
	f.Key, f.Tag, f.Err = c.entry.hash, c.opt.Tag, err
	if context.Cause(c.ctx) == ErrAbandoned && !isPanic(err) {
		f.Err = ErrAbandoned
	}
	f.Opened, f.Started, f.Ended = g.at(c.opened), g.at(c.started), g.at(now)
}

func isPanic(err error) bool {
	var p *PanicError
	return errors.As(err, &p)
}

// wait returns what the waiter gets.
func (c *Call[I, V]) wait(ctx context.Context, w *waiter[I], joined bool) (v V, o Outcome, err error) {
	select {
	case <-c.done:
	case <-ctx.Done():
		if c.leave(w) {
			return v, Outcome{Waited: c.group.now() - w.arrived}, ctx.Err()
		}
		<-c.done
	}
	o = Outcome{Role: Follower, Reason: c.flush.Reason, Size: c.flush.Size, Waited: c.group.now() - w.arrived}
	switch {
	case joined:
		o.Role, o.Reason = Joined, JoinedCall
	case c.answer.leader == w:
		o.Role = Leader
	}
	v, err = c.answer.to(w)
	return v, o, err
}

// leave takes the waiter out of the call, and reports false if it was answered before. When the last one leaves, a slot vanishes and a call is
// cancelled.
func (c *Call[I, V]) leave(w *waiter[I]) bool {
	g := c.group
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	if c.answered {
		return false
	}
	c.unlinkLocked(w)
	g.waiters.Add(-1)
	if c.leader == w {
		c.leader = nil
	}
	switch {
	case c.size > 0:
	case c.phase == waiting:
		c.vanishLocked()
	default:
		// Nobody may join from here on: the answer would be that of a cancelled call.
		c.sealLocked()
		c.end(ErrAbandoned)
	}
	return true
}

// vanishLocked ends a slot that was not served.
func (c *Call[I, V]) vanishLocked() {
	c.phase = ended
	c.stopLocked()
	c.entry.open = nil
	c.shard.restLocked(c.entry, c.group.idlePerShard)
	c.group.keys.Add(-1)
}
