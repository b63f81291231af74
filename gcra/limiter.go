package gcra

import (
	"errors"
	"fmt"
	"time"
)

// Config says what a [Limiter] is to do.
type Config struct {
	// Limit applies to each client. The zero Limit refuses everything.
	Limit Limit
	// MaxKeys is the most clients remembered at once; 0 means 1,048,576. A client takes some 50 bytes beside its key.
	MaxKeys int
	// Clock is what Allow, AllowN, Peek, Charge and Refund read; nil means the monotonic clock, from the call of New.
	Clock Clock
	// CloneKeys makes the limiter keep a copy of a new client's key, which must then be a string, instead of the string itself. Set it where
	// keys are parts of larger strings, which would all be kept, or views of a buffer (unsafe.String) that is used again after the call.
	CloneKeys bool
}

const defaultMaxKeys = 1 << 20

// A Limiter limits the rate of each of its clients, which are told apart by a key. It is safe for concurrent use; the zero value is not usable,
// see [New].
//
// The methods whose names end in At are given the time as a duration since the limiter's start; the others read the clock. Where those return
// an error, the clock failed or went backward, and the decision, which still stands, was made as of the latest time it is known to have
// shown: while the clock is out of order no time passes, so nothing is earned, and what was left can be spent.
type Limiter[K comparable] struct {
	limit Limit
	table *table[K]
	watch *watch
}

// ErrMaxKeys is returned by [New] for a MaxKeys below 0.
var ErrMaxKeys = errors.New("gcra: MaxKeys is negative")

// ErrCloneKeys is returned by [New] for CloneKeys with keys that are not strings.
var ErrCloneKeys = errors.New("gcra: CloneKeys is for keys that are strings")

// New returns a limiter that knows no client yet.
func New[K comparable](c Config) (*Limiter[K], error) {
	if c.MaxKeys < 0 {
		return nil, fmt.Errorf("%w: %d", ErrMaxKeys, c.MaxKeys)
	}
	if c.MaxKeys == 0 {
		c.MaxKeys = defaultMaxKeys
	}
	if c.Clock == nil {
		c.Clock = Since(time.Now())
	}
	t := newTable[K](c.MaxKeys)
	if c.CloneKeys && !t.strings {
		return nil, ErrCloneKeys
	}
	t.cloneKeys = c.CloneKeys
	return &Limiter[K]{limit: c.Limit, table: t, watch: &watch{clock: c.Clock}}, nil
}

// WithLimit returns a limiter that applies another limit to the same clients: it shares the clock and all that l remembers, now and later,
// because a TAT is a time and means the same under any limit. Use it for a client with a limit of its own, and to change a limit without
// forgetting what was spent. It costs one small allocation, whatever the number of clients.
//
// A client should be decided under one limit at a time: with a new one, the wait it has left stays what it is, and counts as another number of
// tokens.
func (l *Limiter[K]) WithLimit(limit Limit) *Limiter[K] {
	return &Limiter[K]{limit: limit, table: l.table, watch: l.watch}
}

// Limit returns the limit that l applies.
func (l *Limiter[K]) Limit() Limit { return l.limit }

// Now reads the clock once, for a caller that makes several decisions about one request. With an error it returns the latest time known.
func (l *Limiter[K]) Now() (time.Duration, error) { return l.watch.now() }

// Allow decides a request of cost 1.
func (l *Limiter[K]) Allow(key K) (Decision, error) { return l.AllowN(key, 1) }

// AllowN decides a request of cost n: it spends n tokens if they are there, and nothing if not. If n is 0 the request is allowed and nothing
// is spent; if n is negative, or above burst+1, it is refused and RetryAfter is [Never].
func (l *Limiter[K]) AllowN(key K, n int64) (d Decision, err error) {
	now, err := l.watch.now()
	l.table.decide(take, &l.limit, key, clamp(now), n).write(&d, &l.limit)
	return d, err
}

// AllowAt is Allow at the time now.
func (l *Limiter[K]) AllowAt(key K, now time.Duration) Decision { return l.AllowNAt(key, now, 1) }

// AllowNAt is AllowN at the time now.
func (l *Limiter[K]) AllowNAt(key K, now time.Duration, n int64) (d Decision) {
	l.table.decide(take, &l.limit, key, clamp(now), n).write(&d, &l.limit)
	return d
}

// Peek returns what AllowN would, and spends nothing: Remaining and ResetAfter are those of now.
func (l *Limiter[K]) Peek(key K, n int64) (d Decision, err error) {
	now, err := l.watch.now()
	l.table.decide(peek, &l.limit, key, clamp(now), n).write(&d, &l.limit)
	return d, err
}

// PeekAt is Peek at the time now.
func (l *Limiter[K]) PeekAt(key K, now time.Duration, n int64) (d Decision) {
	l.table.decide(peek, &l.limit, key, clamp(now), n).write(&d, &l.limit)
	return d
}

// Charge spends n tokens whether they are there or not, for a cost that is known only afterwards. Allowed says whether they were; if not, the
// client is in debt and everything it asks for is refused until RetryAfter has passed. A debt stops growing some 73 years on. If n is 0 or
// negative nothing is spent.
func (l *Limiter[K]) Charge(key K, n int64) (d Decision, err error) {
	now, err := l.watch.now()
	l.table.decide(charge, &l.limit, key, clamp(now), n).write(&d, &l.limit)
	return d, err
}

// ChargeAt is Charge at the time now.
func (l *Limiter[K]) ChargeAt(key K, now time.Duration, n int64) (d Decision) {
	l.table.decide(charge, &l.limit, key, clamp(now), n).write(&d, &l.limit)
	return d
}

// Refund gives back n tokens that were spent for nothing, and returns a decision of cost 0. The allowance never gets larger than a whole one:
// what has come back with time already, or was never spent, is not given a second time. If n is 0 or negative, or the client is not
// known, nothing happens.
//
// With refunds too, what a client spent less what it was refunded never exceeds its rate times the time plus burst+1.
func (l *Limiter[K]) Refund(key K, n int64) (d Decision, err error) {
	now, err := l.watch.now()
	l.table.decide(refund, &l.limit, key, clamp(now), n).write(&d, &l.limit)
	return d, err
}

// RefundAt is Refund at the time now.
func (l *Limiter[K]) RefundAt(key K, now time.Duration, n int64) (d Decision) {
	l.table.decide(refund, &l.limit, key, clamp(now), n).write(&d, &l.limit)
	return d
}

// Sweep forgets clients that were idle at the time before, in at most budget steps of some 100 ns each, and reports how many it forgot and
// whether there is more to do. It runs beside traffic: it holds one of many locks that only new clients need, and for some 10 µs
// at a time. Nothing is lost by forgetting an idle client, but its next request has to add it again, so before is best some time ago (and must not be in the future):
//
//	limiter.Sweep(now-time.Minute, 10_000)
//
// A limiter that isn't swept works the same, and keeps the memory of up to MaxKeys clients.
func (l *Limiter[K]) Sweep(before time.Duration, budget int) (forgotten int, more bool) {
	if before < 0 {
		return 0, false
	}
	return l.table.sweep(clamp(before), budget)
}

// Stats returns the counters of all limiters that share clients with l.
func (l *Limiter[K]) Stats() Stats { return l.table.stats() }
