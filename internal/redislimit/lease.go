package redislimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/lease"
)

// Lease decides on this node, with tokens taken from Redis ahead of use. What it promises over all nodes is what [Strict] does, with one
// difference of time: a token counts when the node spends it. The price is that a node may refuse what another could have allowed, for some
// milliseconds, and that tokens with a node that dies are lost for up to two seconds.
//
// It is safe for concurrent use. Close returns what it holds.
type Lease struct {
	link     *Link
	strict   *Strict // for Peek, and where there is no room
	accounts table
	wheel    wheel
	totals   leaseTotals
	calling  sync.WaitGroup // calls under way
	stop     context.CancelFunc
	owned    sync.WaitGroup
}

// NewLease returns a leasing limiter on a link that remembers at most maxKeys keys, 0 for 1,048,576; keys beyond are decided as Strict does.
func NewLease(link *Link, maxKeys int) *Lease {
	ctx, stop := context.WithCancel(link.ctx)
	l := &Lease{link: link, strict: NewStrict(link), stop: stop}
	l.accounts.init(maxKeys)
	l.wheel.init(link.clock())
	l.owned.Go(func() { l.tend(ctx) })
	return l
}

// An account is a key's lease.Account and those who wait for it.
type account struct {
	id  uint64 // the order in which accounts are locked
	key string // in Redis

	mu      sync.Mutex
	core    lease.Account // guarded by mu, as is all below
	limit   gcra.Limit
	waiting []*waiter
	queued  bool // the wheel holds it
}

// A waiter is a request that an account's call decides.
type waiter struct {
	n     int64
	woken chan struct{} // closed when taken, refused or failed is set
	taken bool
	err   error
}

// A claim is one account's part in a request: the sum of the costs of its rules there.
type claim struct {
	*account
	limit   gcra.Limit
	n       int64
	of      uint64 // the requests, as bits
	paid    bool   // the tokens have been taken, by a waiter
	verdict lease.Verdict
	waiter  *waiter
}

// Decide decides all requests: either all are allowed, and spend their cost, or none does. It sets each Decision, as far as this node knows.
// Mostly it needs no round trip; otherwise it waits for one, no longer than the link's Timeout.
//
// There may be at most 64 requests. An error that wraps [ErrUnavailable] means that there is no decision: the node holds no tokens and Redis doesn't answer. Nothing was spent.
func (l *Lease) Decide(ctx context.Context, requests []Request) (allowed bool, err error) {
	var few [4]claim
	claims, room, err := l.claims(few[:0], requests)
	if err != nil {
		return false, err
	}
	if !room {
		l.totals.crowded.Add(1)
		return l.strict.Decide(ctx, requests)
	}
	patience := time.Duration(0)
	for {
		now := l.link.clock()
		if patience == 0 {
			patience = now + l.link.timeout
		}
		switch l.settle(now, claims, requests) {
		case settled:
			l.totals.allowed.Add(1)
			return true, nil
		case refused:
			l.totals.refused.Add(1)
			return false, nil
		}
		if l.link.breaker.open() { // a call that is under way will not end in time either
			l.link.stats.errors[kindOpen].Add(1)
			err = errOpen
		} else {
			err = l.wait(ctx, patience, claims)
		}
		if err != nil {
			l.putBack(claims)
			l.totals.failed.Add(1)
			return false, err
		}
	}
}

// claims finds the accounts of requests, in the order in which they are to be locked. room is false if there was none for one of them.
func (l *Lease) claims(into []claim, requests []Request) (claims []claim, room bool, err error) {
	for k := range requests {
		r := &requests[k]
		a := l.accounts.find(l.link, r)
		if a == nil {
			return nil, false, nil
		}
		if i := slices.IndexFunc(into, func(c claim) bool { return c.account == a }); i >= 0 {
			into[i].n += r.N
			into[i].of |= 1 << k
			continue
		}
		into = append(into, claim{account: a, limit: r.Limit, n: r.N, of: 1 << k})
	}
	if len(into) > 1 {
		slices.SortFunc(into, func(a, b claim) int { return cmp.Compare(a.id, b.id) })
	}
	for k := range into {
		if err := into[k].adopt(into[k].limit); err != nil {
			return nil, false, err
		}
	}
	return into, true, nil
}

// adopt makes limit the account's.
func (a *account) adopt(limit gcra.Limit) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.limit == limit {
		return nil
	}
	i, err := lease.NewInterval(limit)
	if err != nil {
		return err
	}
	a.limit, a.core.Interval = limit, i
	return nil
}

type state int

const (
	settled state = iota // all are paid
	refused              // one is refused
	waiting              // one has to wait
)

// settle takes the tokens of all claims, if all accounts have them. If one refuses it takes none, and puts back what waiters took.
func (l *Lease) settle(now time.Duration, claims []claim, requests []Request) state {
	lockAll(claims)
	outcome := settled
	for k := range claims {
		c := &claims[k]
		if c.paid {
			continue
		}
		switch c.verdict = c.core.Check(now, c.n); {
		case c.verdict.Refused:
			outcome = refused
		case c.verdict.Wait && outcome == settled:
			outcome = waiting
		}
	}
	var few [4]leaseCall
	calls := few[:0]
	for k := range claims {
		if need, ok := claims[k].act(now, outcome); ok {
			calls = append(calls, l.call(now, claims[k].account, need))
		}
	}
	if outcome != waiting {
		describe(now, claims, requests, outcome == settled)
	}
	unlockAll(claims)
	for _, c := range calls {
		l.submit(c)
	}
	if outcome == refused {
		l.putBack(claims)
	}
	return outcome
}

func lockAll(claims []claim) {
	for k := range claims {
		claims[k].mu.Lock()
	}
}

func unlockAll(claims []claim) {
	for k := range claims {
		claims[k].mu.Unlock()
	}
}

// act does to a claim, whose account is locked, what the outcome of all asks for. It reports whether a call is to be made, and what it needs.
func (c *claim) act(now time.Duration, outcome state) (need int64, call bool) {
	switch {
	case c.paid:
	case outcome == settled:
		return 0, c.core.Spend(now, c.n).Call
	case outcome == waiting && c.verdict.Wait:
		c.waiter = &waiter{n: c.n, woken: make(chan struct{})}
		c.waiting = append(c.waiting, c.waiter)
		return c.n, c.verdict.Call
	}
	return 0, false
}

// describe sets the requests' decisions. The claims' accounts are locked.
func describe(now time.Duration, claims []claim, requests []Request, allowed bool) {
	for i := range claims {
		c := &claims[i]
		v := c.verdict
		v.Taken = allowed || !v.Refused
		d := c.core.Decision(now, v)
		if c.paid && !allowed {
			d.Remaining = min(d.Limit, d.Remaining+c.n) // they are put back
		}
		for k := range requests {
			if c.of&(1<<k) != 0 {
				requests[k].Decision = d
			}
		}
	}
}

// wait waits until the calls that claims wait for have ended, or there is an error.
func (l *Lease) wait(ctx context.Context, until time.Duration, claims []claim) error {
	timer := time.NewTimer(until - l.link.clock())
	defer timer.Stop()
	for k := range claims {
		c := &claims[k]
		if c.waiter == nil {
			continue
		}
		var err error
		select {
		case <-c.waiter.woken:
		case <-ctx.Done():
			err = fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		case <-timer.C:
			l.link.late()
			err = errTimeout
		}
		if err := errors.Join(err, c.withdraw()); err != nil {
			return err
		}
	}
	return nil
}

// withdraw takes a claim's waiter out of the queue, if it is still there, and notes what became of it.
func (c *claim) withdraw() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.waiter
	c.waiter = nil
	c.waiting = slices.DeleteFunc(c.waiting, func(other *waiter) bool { return other == w })
	c.paid = w.taken
	return w.err
}

// putBack gives back what waiters have taken for a request that is not allowed, and leaves the queues.
func (l *Lease) putBack(claims []claim) {
	for k := range claims {
		c := &claims[k]
		if c.waiter != nil {
			_ = c.withdraw() // the request has an error already
		}
		if c.paid {
			c.paid = false
			l.refund(c.account, c.n)
		}
	}
}

// refund puts n tokens back into the account, and what it doesn't take into Redis.
func (l *Lease) refund(a *account, n int64) {
	a.mu.Lock()
	rest := a.core.Refund(l.link.clock(), n)
	i := a.core.Interval
	a.mu.Unlock()
	if rest > 0 {
		l.post(a.key, i, lease.Exchange{Slot: lease.Refund, Back: rest})
	}
}

// Refund gives back what requests spent for nothing. It doesn't wait for Redis; what can't be told to it is lost.
func (l *Lease) Refund(ctx context.Context, requests []Request) error {
	var few [4]claim
	claims, room, err := l.claims(few[:0], requests)
	if err == nil && !room {
		return l.strict.Refund(ctx, requests)
	}
	for k := range claims {
		if n := min(claims[k].n, claims[k].limit.Burst()+1); n > 0 {
			l.refund(claims[k].account, n)
		}
	}
	return err
}

// Peek says what Decide would, and spends nothing. It asks Redis, and adds what the node holds.
func (l *Lease) Peek(ctx context.Context, requests []Request) (allowed bool, err error) {
	if _, err = l.strict.Peek(ctx, requests); err != nil {
		return false, err
	}
	allowed = true
	for k := range requests {
		d, a := &requests[k].Decision, l.accounts.find(l.link, &requests[k])
		if a == nil {
			allowed = allowed && d.Allowed
			continue
		}
		a.mu.Lock()
		d.Remaining = min(d.Limit, d.Remaining+a.core.Holds(l.link.clock()))
		a.mu.Unlock()
		if !d.Allowed && 0 <= requests[k].N && requests[k].N <= d.Remaining {
			d.Allowed, d.RetryAfter = true, 0
		}
		allowed = allowed && d.Allowed
	}
	return allowed, nil
}
