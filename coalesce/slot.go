package coalesce

import "time"

// This file is the first half of a slot's life, in which it waits; serve.go is the second.

// A placement is where a request was put.
type placement[I, V any] struct {
	call   *Call[I, V]
	joined bool // the call was in flight
	ask    bool // the policy is to be asked, the question being
	state  State
	number uint64
}

// place puts the waiter into a slot or a call, or says why not.
func (g *Group[I, V]) place(hash uint64, key string, w *waiter[I], opt *Options[I, V]) (p placement[I, V], err error) {
	now := w.arrived
	sh := g.shardOf(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.closed {
		return p, ErrClosed
	}
	e := sh.entryLocked(hash, key, g.idlePerShard)
	before := e.arrivals.add(now)
	if e.unshared > now {
		return p, ErrNotShared
	}
	p.call = e.open
	if opt.Relaxed && e.flight != nil {
		p.call, p.joined = e.flight, true
		if p.call.answered {
			p.call.flush.Joined++
			p.call.flush.Answered++
			return p, nil
		}
	}
	if err := g.admit(p.call == nil); err != nil {
		return p, err
	}
	if p.call == nil {
		p.call = g.openLocked(sh, e, opt, now)
	}
	p.call.joinLocked(w)
	if p.joined {
		p.call.flush.Joined++
	} else {
		p.ask, p.number, p.state = p.call.arrivedLocked(now, &before)
	}
	return p, nil
}

// admit counts one more waiter, and a slot if it opens one, unless there are too many.
func (g *Group[I, V]) admit(opens bool) error {
	if !reserve(&g.waiters, 1, int64(g.cfg.MaxWaiters)) {
		return ErrOverflow
	}
	if opens && (g.full() || !reserve(&g.keys, 1, int64(g.cfg.MaxKeys))) {
		g.waiters.Add(-1)
		return ErrOverflow
	}
	return nil
}

// full reports whether results hold what they may. What is asked for in pieces hardly ever adds up to the cap: as soon as a piece was not to be
// had, and until something is given back, that is it. Where nothing is held nothing will be given back, and one piece was too large by itself.
func (g *Group[I, V]) full() bool {
	held := g.bytes.Load()
	return held >= g.cfg.MaxBytes || held > 0 && g.short.Load()
}

// arrivedLocked serves the slot if with the waiter that has just arrived it has reached a cap; otherwise it makes the question to the policy, unless
// one is open.
func (c *Call[I, V]) arrivedLocked(now time.Duration, before *arrivals) (question bool, number uint64, s State) {
	if r, due := c.dueLocked(now); due {
		c.serveLocked(r, now)
		return false, 0, s
	}
	if c.open != 0 {
		c.again = true
		return false, 0, s
	}
	return true, c.questionLocked(), c.stateLocked(now, true, before)
}

// openLocked opens a slot for the key.
func (g *Group[I, V]) openLocked(sh *shard[I, V], e *entry[I, V], opt *Options[I, V], now time.Duration) *Call[I, V] {
	c := &Call[I, V]{group: g, shard: sh, entry: e, opt: opt, done: make(chan struct{}), opened: now}
	c.async, _ = opt.Policy.(AsyncPolicy)
	sh.wakeLocked(e)
	e.open = c
	return c
}

// joinLocked appends the waiter.
func (c *Call[I, V]) joinLocked(w *waiter[I]) {
	w.prev = c.last
	if c.last == nil {
		c.first = w
	} else {
		c.last.next = w
	}
	c.last = w
	c.size++
	c.lateness += max(0, w.arrived-c.opened)
}

// unlinkLocked removes the waiter.
func (c *Call[I, V]) unlinkLocked(w *waiter[I]) {
	if w.prev == nil {
		c.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		c.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	c.size--
	c.lateness -= max(0, w.arrived-c.opened)
}

// waitingLocked returns how long the waiters have waited together.
func (c *Call[I, V]) waitingLocked(now time.Duration) time.Duration {
	return max(0, time.Duration(c.size)*(now-c.opened)-c.lateness)
}

// dueLocked says whether the slot has reached a cap.
func (c *Call[I, V]) dueLocked(now time.Duration) (r Reason, due bool) {
	switch {
	case c.opt.MaxBatch > 0 && c.size >= c.opt.MaxBatch:
		return BySize, true
	case c.opt.Policy == nil || c.opt.Hold <= 0:
		return ByPolicy, true
	case now-c.opened >= c.opt.Hold:
		return ByTimer, true
	}
	return 0, false
}

// stateLocked is what the policy gets to know. seen are the arrivals as the policy is to see them.
func (c *Call[I, V]) stateLocked(now time.Duration, arrival bool, seen *arrivals) State {
	e := c.entry
	l := e.latency
	if l.n == 0 {
		l = c.group.latency.get()
	}
	p50, p99 := l.quantiles()
	s := State{
		Now: now, Arrival: arrival,
		Size: c.size, Waiting: c.waitingLocked(now), Age: max(0, now-c.opened),
		SinceArrival: seen.since(now), Gap: seen.meanGap(), Rates: seen.rates(now),
		LatencyP50: p50, LatencyP99: p99,
		InFlight: e.calls > 0,
		Relaxed:  c.opt.Relaxed, Hold: c.opt.Hold, MaxBatch: c.opt.MaxBatch,
	}
	if s.InFlight {
		s.InFlightFor = max(0, now-e.since)
	}
	return s
}

// consult asks the policy and does what it says. Between the question and the answer the slot may have changed:
//
//	A arrives, asks with size 1            B arrives, asks with size 2
//	                                       is told to wait 3 ms, sets the timer
//	is told to wait 20 ms, sets the timer
//
// So questions have numbers, and an answer that comes after one to a later question is not heard, except to serve.
func (c *Call[I, V]) consult(s State, number uint64) {
	if c.async != nil {
		c.consultAsync(s, number)
		return
	}
	d, sane := ask(c.opt.Policy, s)
	now := c.group.now()
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	c.heedLocked(d, sane, now, s.Now, number)
}

// heedLocked does what the policy said to the question of that number, which was asked some time ago.
func (c *Call[I, V]) heedLocked(d Decision, sane bool, now, asked time.Duration, number uint64) {
	if c.phase != waiting {
		return
	}
	if !sane || d.Fallback {
		c.flush.Fallbacks++
	}
	switch {
	case d.Serve:
		c.serveLocked(ByPolicy, now)
	case number > c.told:
		c.told = number
		c.armLocked(now, asked, d.After)
	}
}

// armLocked sets the timer to the next question, which is due some time after the last one, or to when the slot has to be served.
func (c *Call[I, V]) armLocked(now, asked, after time.Duration) {
	c.wake = c.opened + c.opt.Hold
	if after > 0 && after < c.wake-asked {
		c.wake = asked + after
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(c.wake-now, c.ring)
	} else {
		c.timer.Reset(c.wake - now) // even if it's set to that time: it may have rung already
	}
}

// ring is called by the timer.
func (c *Call[I, V]) ring() {
	now := c.group.now()
	c.shard.mu.Lock()
	if c.phase != waiting || now < c.wake { // served; or set anew when it was about to ring, and so will ring again
		c.shard.mu.Unlock()
		return
	}
	if r, due := c.dueLocked(now); due {
		c.serveLocked(r, now)
		c.shard.mu.Unlock()
		return
	}
	if c.open != 0 { // its answer says when to ask again
		c.armLocked(now, now, 0)
		c.shard.mu.Unlock()
		return
	}
	c.group.running.Add(1)
	defer c.group.running.Done()
	number, s := c.questionLocked(), c.stateLocked(now, false, &c.entry.arrivals)
	c.shard.mu.Unlock()
	c.consult(s, number)
}
