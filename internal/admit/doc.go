// Package admit is the stage in front of an upstream: so many calls at once and no more, and a queue for the rest.
//
// A request enters the upstream's [Gate] with a price, and gets a [Ticket] when there is a slot for it:
//
//	ticket, err := gate.Enter(exchange, price)
//	if err != nil { // a *Refusal, which says why, and when to try again
//	}
//	defer ticket.Release()
//
// # The queue
//
// The gate is a [book.Book] in which slots are the supply and requests are bids of volume 1: a free slot is supply that is left over, and
// goes to the next request at once; a slot that is released goes to the bid that is first. That is the one with the highest price, and of
// those with the same price the one that came first. With order fifo all bid the same.
//
// A request leaves the queue as soon as its client has gone, when it has waited for as long as it may, or when the queue is full and a
// request comes that goes before it: then the one that would be served last makes room. A newcomer that would itself be last is refused.
//
// # Ageing
//
// The price of a waiting request may rise with time, so that the longest that cheap requests wait is bounded: with age 1/s a request that
// bids 0 has overtaken all newcomers that bid 4 after four seconds. Since all prices rise alike, the order of those who wait never changes
// while they wait: what a request bids in the book is said once, when it comes, as its price less the age of the gate. See order.
//
// # Slots
//
// A slot is taken until its ticket is released, by everybody who holds it: a part of the gateway that may have work left at the upstream
// after the request itself is over calls [Ticket.Retain].
//
// A slot never gets lost, nor has two owners. Whatever ends a wait (the slot, the deadline, the client's leaving, a newcomer, Close)
// decides about it under the gate's lock, once. A client that leaves when it has been given its slot, but has not taken it yet, gives it to the
// next.
package admit
