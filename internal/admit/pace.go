package admit

import "time"

// pace learns how long it takes for a slot to come free while there is none. The zero value knows nothing. Not safe for concurrent use.
type pace struct {
	mean  time.Duration // 0: not known
	since time.Duration // when the last slot was taken, or the last one handed on
}

const (
	paceWeight    = 8 // a new time counts for so much less than what is known
	minRetryAfter = time.Second
	maxRetryAfter = time.Minute
)

// full notes that the last slot has been taken.
func (p *pace) full(now time.Duration) { p.since = now }

// freed notes that a slot has come free while there was none.
func (p *pace) freed(now time.Duration) {
	took := now - p.since
	if p.mean == 0 {
		p.mean = took
	} else {
		p.mean += (took - p.mean) / paceWeight
	}
	p.since = now
}

// retryAfter estimates when n slots and one more will have come free, from a second to a minute. A slot that has been awaited for longer than
// they used to take counts for as long as that.
func (p *pace) retryAfter(now time.Duration, n int) time.Duration {
	each := max(p.mean, now-p.since)
	if each > maxRetryAfter/time.Duration(n+1) {
		return maxRetryAfter
	}
	return max(minRetryAfter, each*time.Duration(n+1))
}
