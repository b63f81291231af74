package admit

import (
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/book"
)

// Ticket is a request's place: first in the queue, if it has to wait, and then among the calls under way. Release must be called once by whoever
// entered, and once for every Retain, and nothing after it. The methods of a nil Ticket do nothing.
type Ticket struct {
	gate    *Gate
	number  uint64       // its index in the gate's list
	holders atomic.Int32 // who have the slot

	settled chan struct{} // has one value for each wait that ends otherwise than by its deadline
	timer   *time.Timer   // nil until it is needed

	// All below is guarded by the gate's lock, while the ticket waits.
	state   state
	gone    bool // the client has left
	bid     book.ID
	price   int64
	arrived time.Duration // since the gate's start
	timeout time.Duration // of the wait; 0 if there was none
	waited  time.Duration
	refusal *Refusal
	next    *Ticket // of those to be woken
}

// state is how far a ticket has come. It leaves waiting once.
type state uint8

const (
	waiting state = iota
	admitted
	refused
)

// clear makes a ticket fit for the next request.
func (t *Ticket) clear() {
	t.state, t.gone, t.bid, t.price, t.arrived, t.timeout, t.waited, t.refusal, t.next = waiting, false, 0, 0, 0, 0, 0, nil, nil
}

// Waited is how long the request has waited in the queue.
func (t *Ticket) Waited() time.Duration {
	if t == nil {
		return 0
	}
	return t.waited
}

// Retain keeps the slot taken until Release has been called once more. Only a holder may call it.
func (t *Ticket) Retain() {
	if t != nil {
		t.holders.Add(1)
	}
}

// Release gives the slot back, if nobody else holds it. It may be called by any goroutine.
func (t *Ticket) Release() {
	if t == nil {
		return
	}
	switch n := t.holders.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("admit: a ticket is released that nobody holds")
	}
	g := t.gate
	g.mu.Lock()
	woken := g.freeLocked(t)
	g.mu.Unlock()
	woken.wake()
}

// Abort says that the client has left. It implements http1.Aborter, for [Gate.Enter] alone.
func (t *Ticket) Abort() {
	if t.leave(Gone) {
		t.before(nil).wake()
	}
}

// leave takes the ticket out of the queue, and reports whether it was there.
func (t *Ticket) leave(why Reason) bool {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	t.gone = t.gone || why == Gone
	if t.state != waiting {
		return false
	}
	g.dismissLocked(t, why, g.now())
	return true
}

// wait returns when it is settled what becomes of the ticket.
func (t *Ticket) wait() {
	if t.timer == nil {
		t.timer = time.NewTimer(t.timeout)
	} else {
		t.timer.Reset(t.timeout)
	}
	defer t.timer.Stop()
	select {
	case <-t.settled:
	case <-t.timer.C:
		if !t.leave(TimedOut) {
			<-t.settled // somebody else was first, and is about to say so
		}
	}
}

// conclude ends a wait: the ticket has its slot, or there is a refusal and the ticket is gone. A slot that was given to a client that has
// left meanwhile goes to the next.
func (g *Gate) conclude(t *Ticket) (refusal *Refusal) {
	g.mu.Lock()
	var woken *Ticket
	switch {
	case t.state == refused:
		refusal = t.refusal
		g.spare = append(g.spare, t)
	case t.gone:
		refusal = g.refuseLocked(Gone, t.waited, g.now())
		woken = g.freeLocked(t)
	}
	g.mu.Unlock()
	woken.wake()
	return refusal
}

// before puts a ticket whose wait has ended in front of a list of such.
func (t *Ticket) before(others *Ticket) *Ticket {
	t.next = others
	return t
}

// wake tells those in a list that their waits have ended. The lock must not be held.
func (t *Ticket) wake() {
	for t != nil {
		next := t.next // the ticket may be used again at once
		t.settled <- struct{}{}
		t = next
	}
}
