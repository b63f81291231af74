package coalesce

import (
	"context"
	"time"
)

// A waiter is one request in a call.
type waiter[I any] struct {
	item       I
	arrived    time.Duration
	prev, next *waiter[I] // in the order of arrival
}

type phase uint8

const (
	waiting phase = iota // a slot
	serving              // fetch is under way, or about to be
	ended                // fetch has returned, or the slot has vanished
)

// A Call is a slot that is being served: one run of Fetch, and those who wait for its answer. Its methods are safe for concurrent use.
type Call[I, V any] struct {
	group *Group[I, V]
	shard *shard[I, V]
	entry *entry[I, V]
	opt   *Options[I, V]
	async AsyncPolicy   // opt.Policy, if it's one
	done  chan struct{} // closed when answered
	ctx   context.Context
	end   context.CancelCauseFunc
	items []I

	// What follows is guarded by shard.mu; answer is also read, without the lock, by those who have seen done closed.
	phase       phase
	first, last *waiter[I]
	size        int           // of the list
	lateness    time.Duration // sum over the list of arrived−opened
	timer       *time.Timer
	wake        time.Duration // when the timer is due
	asked, told uint64        // numbers of the latest question and of the latest answer heard of the policy
	open        uint64        // number of the question that an AsyncPolicy has not answered yet; 0: there is none
	again       bool          // requests have arrived since that question
	leader      *waiter[I]    // the first when it was served; nil if it has left since
	answered    bool
	answer      answer[I, V]
	held        int64
	flush       Flush
	opened      time.Duration
	started     time.Duration
}

// An answer doesn't change any more when the call is answered.
type answer[I, V any] struct {
	value   V
	err     error
	leader  *waiter[I] // nil if it had left
	private bool       // for the leader only
	at      time.Duration
}

func (a *answer[I, V]) to(w *waiter[I]) (v V, err error) {
	if a.err != nil {
		return v, a.err
	}
	if a.private && a.leader != w {
		return v, ErrNotShared
	}
	return a.value, nil
}

// Items returns what the waiters brought, in the order of their arrival, as it was when the slot was served: the first is the leader's. The
// caller must not change it.
func (c *Call[I, V]) Items() []I { return c.items }

// Publish answers all waiters with v, before Fetch returns, and reports how many there are: each of them returns v from Do, and no one else but
// those who join later (see Options.Relaxed), who get v at once. It does nothing and returns 0 if the call was answered before. If it returns 0
// nobody was there to hear it.
func (c *Call[I, V]) Publish(v V) (given int) {
	now := c.group.now()
	c.shard.mu.Lock()
	first, _ := c.answerLocked(answer[I, V]{value: v, at: now})
	given = c.flush.Answered
	c.shard.mu.Unlock()
	if !first {
		return 0
	}
	c.tell()
	return given
}

// PublishPrivate answers the leader with v, and releases all others at once: they return [ErrNotShared] and make their own calls. The key is
// remembered as not shareable for Config.Remember. It reports whether the leader gets v; if not, it has left and v is for nobody. It does
// nothing if the call was answered before.
func (c *Call[I, V]) PublishPrivate(v V) (given bool) {
	now := c.group.now()
	c.shard.mu.Lock()
	first, released := c.answerLocked(answer[I, V]{value: v, private: true, at: now})
	given = first && c.flush.Answered > 0
	c.shard.mu.Unlock()
	if released != nil {
		released.tell()
	}
	if first {
		c.tell()
	}
	return given
}

// Seal lets nobody join the call any more, and returns how many requests were given its value in all.
func (c *Call[I, V]) Seal() (given int) {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	c.sealLocked()
	return c.flush.Answered
}

// Hold counts n more bytes as held by the result while it is under way, toward Config.MaxBytes; they stop counting when Fetch returns, or by
// Release. It reports false, and counts nothing, if they are not to be had: the fetch may then give up sharing, or wait.
func (c *Call[I, V]) Hold(n int64) bool {
	if n < 0 {
		return false
	}
	if !reserve(&c.group.bytes, n, c.group.cfg.MaxBytes) {
		c.group.short.Store(true)
		return false
	}
	c.shard.mu.Lock()
	alive := c.phase == serving
	if alive {
		c.held += n
	}
	c.shard.mu.Unlock()
	if !alive {
		c.group.giveBack(n)
	}
	return alive
}

// Release gives back n bytes of those that Hold counted.
func (c *Call[I, V]) Release(n int64) {
	c.shard.mu.Lock()
	n = max(0, min(n, c.held))
	c.held -= n
	c.shard.mu.Unlock()
	c.group.giveBack(n)
}

// giveBack uncounts bytes.
func (g *Group[I, V]) giveBack(n int64) {
	if n > 0 {
		g.bytes.Add(-n)
		g.short.Store(false)
	}
}

// sealLocked lets nobody join.
func (c *Call[I, V]) sealLocked() {
	if c.entry.flight == c {
		c.entry.flight = nil
	}
}

// answerLocked sets the answer, unless there is one. Those who wait are told by tell, without the lock. A private answer makes the slot of the
// key that waits meanwhile, if any, vanish: its waiters are to be told as well.
func (c *Call[I, V]) answerLocked(a answer[I, V]) (first bool, released *Call[I, V]) {
	if c.answered || c.phase == ended {
		return false, nil
	}
	a.leader = c.leader
	c.answer, c.answered = a, true
	c.flush.Upstream = max(0, a.at-c.started)
	switch {
	case a.err != nil:
		return true, nil
	case a.private:
		released = c.unshareLocked()
	default:
		c.flush.Answered = c.size
	}
	e := c.entry
	var prior latency
	if e.latency.n == 0 {
		prior = c.group.latency.get()
	}
	e.latency.add(c.flush.Upstream, prior)
	return true, released
}

// unshareLocked does what a private answer means to the key, and to those who are not the leader.
func (c *Call[I, V]) unshareLocked() (released *Call[I, V]) {
	c.sealLocked()
	if c.leader != nil {
		c.flush.Answered = 1
	}
	c.flush.Released = c.size - c.flush.Answered
	e := c.entry
	if c.group.cfg.Remember < 0 {
		return nil
	}
	e.unshared = c.answer.at + c.group.cfg.Remember
	if released = e.open; released != nil {
		released.answer, released.answered = answer[I, V]{err: ErrNotShared, at: c.answer.at}, true
		released.vanishLocked()
	}
	return released
}

// tell lets the waiters go. The one who has set the answer calls it.
func (c *Call[I, V]) tell() {
	c.group.waiters.Add(-int64(c.size)) // nobody leaves or comes after the answer, so size stays
	if c.answer.err == nil {
		c.group.latency.add(c.flush.Upstream)
	}
	close(c.done)
}
