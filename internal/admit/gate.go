package admit

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/sluicegate/sluice/book"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
)

// Client is the side that a request comes from. An *http1.Exchange is one; see there for the method.
type Client interface{ WhenGone(http1.Aborter) }

// Gate lets a bounded number of calls through to an upstream. A nil Gate lets everything through. Make one with [New]; its methods are safe for
// concurrent use, and it has no goroutines.
//
// Entering takes one lock, and no allocation once as many tickets have been in use at once. To wait, to be admitted after that and to leave
// take O(log n) each, of n prices in the queue.
type Gate struct {
	start time.Time

	mu       sync.Mutex // guards all below
	rules    rules
	book     book.Book // bids are the tickets that wait; what is left over are the free slots
	inFlight int
	closed   bool
	pace     pace
	counts   counts
	tickets  []*Ticket   // by their numbers, which are the owners of bids
	spare    []*Ticket   // those that nobody uses
	fills    []book.Fill // used again
}

// rules are what a configuration amounts to.
type rules struct {
	slots   int
	most    int // tickets that may wait
	timeout time.Duration
	order   order
}

func newRules(cfg *config.Upstream) rules {
	r := rules{slots: cfg.MaxInFlight, most: cfg.Queue.Max, timeout: cfg.Queue.Timeout, order: newOrder(&cfg.Queue)}
	if total := cfg.Timeouts.Total; total > 0 {
		r.timeout = min(r.timeout, total)
	}
	return r
}

// New makes the gate of an upstream, nil if that is not limited.
func New(cfg *config.Upstream) *Gate {
	if cfg.MaxInFlight == 0 {
		return nil
	}
	g := &Gate{start: time.Now(), rules: newRules(cfg)}
	g.offerLocked(0)
	return g
}

// Apply changes the rules to those of cfg, which must have a bound. Whoever waits goes on waiting, in the new order, for as long as the old rules
// say. If the bound falls, no slots are given until so many calls have ended.
func (g *Gate) Apply(cfg *config.Upstream) {
	next := newRules(cfg)
	g.mu.Lock()
	reorder := next.order != g.rules.order
	g.rules = next
	if reorder {
		g.reorderLocked()
	}
	woken := g.offerLocked(g.now())
	g.mu.Unlock()
	woken.wake()
}

// Close refuses all who wait, and from now on all who would have to. Calls under way keep their slots.
func (g *Gate) Close() {
	if g == nil {
		return
	}
	g.mu.Lock()
	g.closed = true
	var woken *Ticket
	now := g.now()
	for bid, ok := g.book.First(); ok; bid, ok = g.book.First() {
		t := g.tickets[bid.Owner]
		g.dismissLocked(t, Closed, now)
		woken = t.before(woken)
	}
	g.mu.Unlock()
	woken.wake()
}

// Enter takes a slot for a request that bids price, 0 or more, and waits for one if it must. The error is a *[Refusal]. A client that leaves
// ends the wait. On success the ticket must be released; that of a nil gate is nil, and need not be, but may.
func (g *Gate) Enter(from Client, price int64) (*Ticket, error) {
	if g == nil {
		return nil, nil
	}
	t, displaced, refusal := g.ask(price)
	displaced.wake()
	switch {
	case refusal != nil:
		return nil, refusal
	case t.timeout > 0:
		from.WhenGone(t)
		t.wait()
		from.WhenGone(nil)
		if refusal := g.conclude(t); refusal != nil {
			return nil, refusal
		}
	}
	return t, nil
}

// ask bids for a slot. If the ticket has a timeout, the bid waits.
func (g *Gate) ask(price int64) (t, displaced *Ticket, refusal *Refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.book.Left() > 0 {
		t = g.takeLocked()
		g.admitLocked(t, 0)
		g.placeLocked(t, 0)
		if g.book.Left() == 0 {
			g.pace.full(g.now())
		}
		return t, nil, nil
	}
	now := g.now()
	bid := g.rules.order.bid(price, now)
	if g.closed {
		return nil, nil, g.refuseLocked(Closed, 0, now)
	}
	if g.book.Len() >= g.rules.most {
		if displaced = g.displaceLocked(bid, now); displaced == nil {
			return nil, nil, g.refuseLocked(Full, 0, now)
		}
	}
	t = g.takeLocked()
	t.state, t.price, t.arrived, t.timeout = waiting, price, now, g.rules.timeout
	g.placeLocked(t, bid)
	return t, displaced, nil
}

func (g *Gate) now() time.Duration { return time.Since(g.start) }

// takeLocked finds a ticket for a request.
func (g *Gate) takeLocked() *Ticket {
	n := len(g.spare)
	if n == 0 {
		t := &Ticket{gate: g, number: uint64(len(g.tickets)), settled: make(chan struct{}, 1)}
		g.tickets = append(g.tickets, t)
		return t
	}
	t := g.spare[n-1]
	g.spare = g.spare[:n-1]
	t.clear()
	return t
}

// placeLocked puts a ticket's bid into the book.
func (g *Gate) placeLocked(t *Ticket, price uint64) {
	fill, err := g.book.Bid(book.Order{Owner: t.number, Volume: 1, Price: price})
	if err != nil {
		panic(err) // of 2³¹ bids, or 2⁶⁴ slots
	}
	t.bid = fill.ID
}

// admitLocked gives a slot to a ticket.
func (g *Gate) admitLocked(t *Ticket, waited time.Duration) {
	t.state, t.waited = admitted, waited
	t.holders.Store(1)
	g.inFlight++
	g.counts.admitted(waited)
}

// dismissLocked takes a ticket that waits out of the queue.
func (g *Gate) dismissLocked(t *Ticket, why Reason, now time.Duration) {
	g.book.Cancel(t.bid)
	t.state, t.refusal = refused, g.refuseLocked(why, now-t.arrived, now)
}

// refuseLocked makes and counts a refusal.
func (g *Gate) refuseLocked(why Reason, waited, now time.Duration) *Refusal {
	g.counts.refused[why]++
	return &Refusal{Reason: why, Waited: waited, RetryAfter: g.pace.retryAfter(now, g.book.Len())}
}

// displaceLocked makes room for a bid, if the one that would be served last is lower. It returns who has had to go.
func (g *Gate) displaceLocked(price uint64, now time.Duration) *Ticket {
	last, ok := g.book.Last()
	if !ok || last.Price >= price {
		return nil
	}
	t := g.tickets[last.Owner]
	g.dismissLocked(t, Displaced, now)
	return t.before(nil)
}

// offerLocked brings what the book has to sell in line with the slots that are free, and returns who has got one.
func (g *Gate) offerLocked(now time.Duration) (woken *Ticket) {
	free, left := max(0, g.rules.slots-g.inFlight), int(g.book.Left())
	if free < left { // the bound has fallen
		g.book.Bid(book.Order{Volume: uint64(left - free)}) // can't fail: there is as much
		return nil
	}
	var err error
	if g.fills, err = g.book.Sell(uint64(free-left), g.fills[:0]); err != nil {
		panic(err) // of 2⁶⁴ slots
	}
	for _, fill := range g.fills {
		t := g.tickets[fill.Owner]
		g.admitLocked(t, now-t.arrived)
		woken = t.before(woken)
	}
	return woken
}

// freeLocked gives a ticket's slot to the next, and the ticket back.
func (g *Gate) freeLocked(t *Ticket) (woken *Ticket) {
	g.inFlight--
	g.spare = append(g.spare, t)
	var now time.Duration
	if g.book.Left() == 0 {
		now = g.now()
		g.pace.freed(now)
	}
	return g.offerLocked(now)
}

// reorderLocked makes all who wait bid anew, as they have come.
func (g *Gate) reorderLocked() {
	var all []*Ticket
	for bid := range g.book.All() {
		all = append(all, g.tickets[bid.Owner])
	}
	slices.SortFunc(all, func(a, b *Ticket) int { return cmp.Compare(a.bid, b.bid) })
	for _, t := range all {
		g.book.Cancel(t.bid)
	}
	for _, t := range all {
		g.placeLocked(t, g.rules.order.bid(t.price, t.arrived))
	}
}
