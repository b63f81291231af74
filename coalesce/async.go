package coalesce

// An AsyncPolicy is a [Policy] that may need longer for a decision than a request can be kept from its place in the slot: one that asks over a
// network, say. A slot has at most one question open with it. Requests that arrive meanwhile join the slot at once, and if the answer is not to
// serve, the policy is asked anew about the slot with them. The caps of a slot hold all the time, so one whose question is never answered is
// served all the same.
type AsyncPolicy interface {
	Policy

	// Ask is called in place of Decide, and under the same rules: it is fast, and called by many goroutines at once, without a lock. Either it
	// decides, as Decide does, and pending is false. Or pending is true, d has no meaning, and answer is called once when the decision is there, by
	// any goroutine.
	//
	// What answer is given decides in the place of the policy: it is asked at once, about the slot as it is by then. That may be a decision of
	// somebody else, with the time since s.Now taken from After, or a rule that stands in for one. If the slot has been served meanwhile, or was
	// answered before, answer does nothing.
	Ask(s State, answer func(Policy)) (d Decision, pending bool)
}

// consultAsync asks an AsyncPolicy about the slot, until it needs time for its answer or nobody has arrived since the question.
func (c *Call[I, V]) consultAsync(s State, number uint64) {
	for more := true; more; {
		d, sane, pending := c.put(s, number)
		if pending {
			c.awaitAnswer(s, number)
			return
		}
		s, number, more = c.resolve(d, sane, s, number)
	}
}

// put puts a question, as ask does.
func (c *Call[I, V]) put(s State, number uint64) (d Decision, sane, pending bool) {
	defer func() {
		if !sane {
			recover()
			d, pending = Decision{Serve: true}, false
		}
	}()
	d, pending = c.async.Ask(s, func(p Policy) { c.verdict(number, p) })
	if pending {
		return Decision{}, true, true
	}
	d, sane = d.checked()
	return d, sane, false
}

// awaitAnswer has the slot served in time if the answer to an open question never comes. It may have come already.
func (c *Call[I, V]) awaitAnswer(s State, number uint64) {
	now := c.group.now()
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	if c.phase == waiting && c.open == number {
		c.armLocked(now, s.Now, 0)
	}
}

// verdict is what an AsyncPolicy calls with its answer.
func (c *Call[I, V]) verdict(number uint64, p Policy) {
	now := c.group.now()
	c.shard.mu.Lock()
	if c.phase != waiting || c.open != number {
		c.shard.mu.Unlock()
		return
	}
	s := c.stateLocked(now, false, &c.entry.arrivals)
	c.shard.mu.Unlock()
	d, sane := ask(p, s)
	if s, next, more := c.resolve(d, sane, s, number); more {
		c.consultAsync(s, next)
	}
}

// resolve does what was decided about an open question, and makes another if requests have arrived since it was put:
//
//	A arrives, the question is put      B arrives, and has no question     the answer for A: wait for 50 ms
//
// B may be what makes the slot worth a call, so the policy is to hear of it now and not in 50 ms.
func (c *Call[I, V]) resolve(d Decision, sane bool, s State, number uint64) (next State, nextNumber uint64, more bool) {
	now := c.group.now()
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	if c.open != number { // another answer came first
		return s, 0, false
	}
	again := c.again
	c.open, c.again = 0, false
	c.heedLocked(d, sane, now, s.Now, number)
	if c.phase != waiting || !again {
		return s, 0, false
	}
	return c.stateLocked(now, false, &c.entry.arrivals), c.questionLocked(), true
}

// questionLocked numbers a question. One to an AsyncPolicy is open until it's answered.
func (c *Call[I, V]) questionLocked() uint64 {
	c.asked++
	if c.async != nil {
		c.open = c.asked
	}
	return c.asked
}
