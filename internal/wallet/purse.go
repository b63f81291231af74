package wallet

import (
	"sync"
	"time"
)

// purse is what one client has at hand for one rule.
type purse struct {
	perUnit int64

	mu      sync.Mutex
	leases  []lease       // in the order in which they were taken, which is that in which they are spent
	credit  int64         // requests of units that count as spent already: what was left of a broken unit, or given back
	want    uint64        // units that the next lease should have
	since   time.Time     // when the last lease was taken
	used    time.Time     // when somebody last asked
	filling chan struct{} // closed when the lease that is being taken is there; nil if none is
	pending bool          // it is not known what became of the lease with id pendingID
	id      ID
	asked   uint64    // units that were asked for with id
	first   time.Time // when that was first done
}

// lease is some units of a client's balance.
type lease struct {
	id    ID
	units uint64
	left  int64 // requests
	since time.Time
	whole uint64 // units that are left, once it has ended
}

func (p *purse) touch() {
	p.mu.Lock()
	p.used = time.Now()
	p.mu.Unlock()
}

// pay takes n requests, if they are there. If not, and a lease is being taken, it returns what is closed when that is done; otherwise the caller is to
// fill the purse.
func (p *purse) pay(n int64, now time.Time) (filling <-chan struct{}, paid bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.availableLocked(now) >= n {
		p.takeLocked(n)
		return nil, true
	}
	if p.filling != nil {
		return p.filling, false
	}
	p.filling = make(chan struct{})
	return nil, false
}

// availableLocked is what can be spent. Leases that are too old count no more.
func (p *purse) availableLocked(now time.Time) int64 {
	sum := p.credit
	for i := range p.leases {
		if now.Sub(p.leases[i].since) < leaseTime {
			sum += p.leases[i].left
		} else {
			p.leases[i].left = 0
		}
	}
	return sum
}

func (p *purse) takeLocked(n int64) {
	take := min(n, p.credit)
	p.credit -= take
	for i := range p.leases {
		n -= take
		take = min(n, p.leases[i].left)
		p.leases[i].left -= take
	}
}

// left is what the client may still spend, here and of its balance.
func (p *purse) left(bank Bank, c *Charge) int64 {
	balance := bank.Balance(c.Client)
	p.mu.Lock()
	defer p.mu.Unlock()
	return addUnits(p.availableLocked(time.Now()), balance, c.PerUnit)
}

// addUnits adds the requests of units to n, without wrapping.
func addUnits(n int64, units uint64, perUnit int64) int64 {
	const most = 1<<63 - 1
	if units > uint64((most-n)/perUnit) {
		return most
	}
	return n + int64(units)*perUnit
}

// next is the lease to take: enough for the charge and, for a client that came back soon, twice as much as last time. It is 0 if the client's balance does not
// cover the charge. A lease of which nobody knows what became is asked for again.
func (p *purse) next(bank Bank, c *Charge) (id ID, units uint64, first time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending {
		return p.id, p.asked, p.first
	}
	now := time.Now()
	missing := c.N - p.availableLocked(now)
	need := uint64((missing + c.PerUnit - 1) / c.PerUnit)
	balance := bank.Balance(c.Client)
	if need > balance {
		return id, 0, now
	}
	if now.Sub(p.since) < time.Second {
		p.want = min(max(2*p.want, 1), maxUnits)
	} else {
		p.want = 1
	}
	p.pending, p.id, p.asked, p.first = true, bank.NewID(), min(max(need, p.want), balance), now
	return p.id, p.asked, now
}

func (p *purse) add(l lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending = false
	p.since = l.since
	if l.units > 0 {
		p.leases = append(p.leases, l)
	}
}

// filled lets those go on who wait for a lease.
func (p *purse) filled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.filling)
	p.filling = nil
}

func (p *purse) refund(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.credit += n
}

// idle returns the leases that are to end: those that are spent or too old, and, of a client that has not asked for a while, all. empty says that nothing
// is left and nobody uses the purse.
func (p *purse) idle(now time.Time) (ended []lease, empty bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.used) >= leaseTime { // what nobody knows of a lease, and the rest of a broken unit, are given up
		p.pending, p.credit = false, 0
	}
	if p.filling != nil || p.pending {
		return nil, false
	}
	rests := now.Sub(p.used) >= idleTime
	kept := p.leases[:0]
	for _, l := range p.leases {
		switch {
		case rests:
			ended = append(ended, p.endLocked(l))
		case l.left == 0 || now.Sub(l.since) >= leaseTime:
			ended = append(ended, p.endLocked(l))
		default:
			kept = append(kept, l)
		}
	}
	clear(p.leases[len(kept):])
	p.leases = kept
	return ended, rests && p.credit == 0 && len(p.leases) == 0
}

// endLocked splits what is left of a lease: whole units go back to the bank, and the rest of a broken one stays at hand.
func (p *purse) endLocked(l lease) lease {
	l.whole = uint64(l.left / p.perUnit)
	p.credit += l.left % p.perUnit
	return l
}

// empty ends all leases.
func (p *purse) empty() (ended []lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.leases {
		ended = append(ended, p.endLocked(l))
	}
	p.leases = nil
	return ended
}
