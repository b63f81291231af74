package redislimit

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/internal/lease"
)

// A leaseCall is an exchange about one account, under way or about to be.
type leaseCall struct {
	*call
	account *account
}

// call begins an account's call; the account is locked.
func (l *Lease) call(now time.Duration, a *account, need int64) leaseCall {
	l.calling.Add(1)
	c := l.link.exchange(a.key, a.core.Interval, a.core.Send(now, need))
	c.done = func(reply []int64, err error) { l.complete(a, reply, err) }
	return leaseCall{c, a}
}

// submit sends a call; no account is locked.
func (l *Lease) submit(c leaseCall) {
	err := l.link.submit(c.call)
	if err == nil {
		return
	}
	defer l.calling.Done()
	c.account.mu.Lock()
	defer c.account.mu.Unlock()
	c.account.core.Abort()
	c.account.fail(err)
}

// fail wakes all who wait, with an error. The account is locked.
func (a *account) fail(err error) {
	for _, w := range a.waiting {
		w.err = err
		close(w.woken)
	}
	a.waiting = nil
}

// complete ends an account's call: it serves those who wait, in their order, and makes the next call if they need one.
func (l *Lease) complete(a *account, reply []int64, err error) {
	if err == nil && len(reply) != 7 {
		err = fmt.Errorf("redis: exchange replied with %d numbers", len(reply))
	}
	defer l.calling.Done()
	now := l.link.clock()
	a.mu.Lock()
	need, again := int64(0), false
	if err != nil {
		a.core.Lose(now)
		a.fail(err)
	} else {
		a.core.Receive(now, grant(reply))
		need, again = a.serve(now)
		a.core.Settle()
	}
	var next leaseCall
	if again {
		next = l.call(now, a, need)
	}
	l.totals.add(&a.core.Counters)
	if at := a.core.Next(now); at > 0 && !a.queued {
		a.queued = true
		l.wheel.add(a, at)
	}
	a.mu.Unlock()
	if again {
		l.submit(next)
	}
}

func grant(reply []int64) lease.Grant {
	return lease.Grant{
		Granted: reply[0], Carried: reply[1], Debt: lease.Span{Whole: reply[2], Rest: reply[3]},
		Slot: reply[4], Lifetime: time.Duration(reply[5]) * time.Microsecond,
	}
}

// serve lets those who wait take tokens, and keeps those who must wait on. It reports whether a call is to be made, and what it needs.
func (a *account) serve(now time.Duration) (need int64, call bool) {
	var still []*waiter
	for _, w := range a.waiting {
		v := a.core.Take(now, w.n)
		if v.Wait {
			if still = append(still, w); len(still) == 1 {
				need, call = w.n, true
			}
			continue
		}
		w.taken = v.Taken
		close(w.woken)
		call = call || v.Call
	}
	a.waiting = still
	return need, call
}

// post sends an exchange whose answer doesn't matter; if it is lost, so are the tokens.
func (l *Lease) post(key string, i lease.Interval, x lease.Exchange) {
	c := l.link.exchange(key, i, x)
	c.done = func([]int64, error) {}
	_ = l.link.submit(c)
}

// Periods of the lease's upkeep.
const (
	tick     = 50 * time.Millisecond
	atOnce   = 8  // shards swept in a tick
	farthest = 64 // ticks ahead that the wheel reaches; leases last 40
)

// A wheel holds the accounts to be looked at in each of the next ticks.
type wheel struct {
	mu    sync.Mutex
	slots [farthest][]*account // guarded by mu
	next  int64                // the tick to be looked at next; guarded by mu
}

func (w *wheel) init(now time.Duration) { w.next = int64(now / tick) }

// add has the account looked at in the tick after at.
func (w *wheel) add(a *account, at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := min(max(int64(at/tick)+1, w.next), w.next+farthest-1)
	w.slots[t%farthest] = append(w.slots[t%farthest], a)
}

// due takes out the accounts to be looked at by now.
func (w *wheel) due(now time.Duration) (all []*account) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ; w.next <= int64(now/tick); w.next++ {
		s := &w.slots[w.next%farthest]
		all = append(all, *s...)
		*s = nil
	}
	return all
}

// tend gives back, until ctx ends, what idle accounts hold and what leases about to end leave, and forgets accounts that hold nothing.
func (l *Lease) tend(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for shard := 0; ; shard += atOnce {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := l.link.clock()
		for _, a := range l.wheel.due(now) {
			l.look(now, a)
		}
		for k := range atOnce {
			l.accounts.sweep(shard+k, func(a *account) bool { return a.forgettable(now) })
		}
	}
}

// look gives back what the account has to give back, and sees to it that it is looked at again.
func (l *Lease) look(now time.Duration, a *account) {
	a.mu.Lock()
	x, send, again := a.core.Due(now)
	i := a.core.Interval
	if a.queued = again > 0; a.queued {
		l.wheel.add(a, again)
	}
	l.totals.add(&a.core.Counters)
	a.mu.Unlock()
	if send {
		l.post(a.key, i, x)
	}
}

func (a *account) forgettable(now time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waiting) == 0 && !a.queued && a.core.Idle(now)
}

// Close returns all tokens that are held and waits until Redis has them, or doesn't answer. Decide must not be called any more.
func (l *Lease) Close() error {
	l.stop()
	l.owned.Wait()
	l.calling.Wait()
	var posted sync.WaitGroup
	var failed atomic.Int64
	l.accounts.each(func(a *account) {
		a.mu.Lock()
		x := a.core.Close()
		c := l.link.exchange(a.key, a.core.Interval, x)
		l.totals.add(&a.core.Counters)
		a.mu.Unlock()
		if x.Back == 0 && x.Settle == 0 {
			return
		}
		posted.Add(1)
		c.done = func(_ []int64, err error) {
			if err != nil {
				failed.Add(1)
			}
			posted.Done()
		}
		if l.link.submit(c) != nil {
			failed.Add(1)
			posted.Done()
		}
	})
	posted.Wait()
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("%w: the leases of %d keys were not returned", ErrUnavailable, n)
	}
	return nil
}
