package agent

import (
	"sync"
	"time"
)

const (
	// maxCalls is how many questions a client has under way at once. An agent that answers in a millisecond answers 256,000 a second then.
	maxCalls = 256
	// maxFailures in a row leave the agent alone, for minPause at first and twice as long each time up to maxPause.
	maxFailures = 3
	minPause    = 100 * time.Millisecond
	maxPause    = 5 * time.Second
)

// circuit says whether the agent may be asked. The zero value says yes. Safe for concurrent use.
type circuit struct {
	running sync.WaitGroup // calls; only added to under mu, and not when closed

	mu       sync.Mutex // guards what follows
	closed   bool       // for good
	calls    int        // under way
	failures int        // in a row
	pause    time.Duration
	until    time.Time // when it's asked again after that many failures; before, it is left alone
	probing  bool      // by one call, on which it depends what comes then
}

// begin reports whether a call may be made; its end is then told with end, and when all about it is over with running.Done. If not, why says Away
// or Busy.
func (c *circuit) begin(now time.Time) (why Outcome, may bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	broken := c.failures >= maxFailures
	switch {
	case c.closed, broken && (c.probing || now.Before(c.until)):
		return Away, false
	case c.calls >= maxCalls:
		return Busy, false
	}
	c.probing = broken
	c.calls++
	c.running.Add(1)
	return Answered, true
}

// end tells how a call went. It reports whether the agent is left alone from now on, or no longer.
func (c *circuit) end(now time.Time, o Outcome) (left, back bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls--
	switch {
	case o == Answered:
		back = c.failures >= maxFailures
		c.failures, c.pause, c.probing = 0, 0, false
	case c.failures < maxFailures:
		c.failures++
		if left = c.failures == maxFailures && !c.closed; left {
			c.restLocked(now)
		}
	case c.probing: // otherwise it began before the pause
		c.restLocked(now)
	}
	return left, back
}

// restLocked leaves the agent alone for a while.
func (c *circuit) restLocked(now time.Time) {
	c.pause = min(max(2*c.pause, minPause), maxPause)
	c.until, c.probing = now.Add(c.pause), false
}

// underWay returns how many calls there are.
func (c *circuit) underWay() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

// close lets nobody begin any more, and waits for the calls to end.
func (c *circuit) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.running.Wait()
}
