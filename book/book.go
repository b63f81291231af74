package book

import (
	"errors"
	"math"
)

// Why an order or a sale was refused. It changed nothing.
var (
	ErrOverflow = errors.New("the volume would pass 64 bits") // all that is open, or all that was ever sold
	ErrFull     = errors.New("the book is full")              // [Book.MaxBids] are open
)

// mostBids is how many bids can be open at once: their numbers in the arena have 32 bits.
const mostBids = math.MaxInt32

// A Book holds the open bids, or the supply that is left over. The zero Book is empty and ready for use. It is not safe
// for concurrent use, and must not be copied once used.
type Book struct {
	// MaxBids bounds the bids that are open at once; 0 means no bound of the caller's, 2³¹−1. It is a rule and not part of
	// the state: neither the hash nor snapshots hold it, so books that are to agree need the same.
	MaxBids int

	bids   arena
	prices ladder

	last uint64 // the newest number given out, to a bid as its ID or to a bid's place in the queue
	open uint64 // volume of all open bids; either open or left is 0
	left uint64 // supply that nobody wanted so far
	sold uint64 // all supply there ever was

	digest uint64 // the sum of the open bids' digests
}

// An ID names a bid. IDs rise from 1 with gaps, and none is ever used again; 0 names no bid.
type ID uint64

// An Order is what a bid asks for.
type Order struct {
	Owner  uint64 // the caller's; it comes back with every fill
	Volume uint64
	Price  uint64
}

// A Bid is an open bid.
type Bid struct {
	ID     ID
	Owner  uint64
	Price  uint64
	Volume uint64 // still open, at least 1
}

// A Fill says that a bid was served.
type Fill struct {
	ID     ID
	Owner  uint64
	Price  uint64 // the bid's
	Volume uint64 // served now
	Open   uint64 // of the bid, after this; at 0 it is done and has left the book
}

// Stats are a book's totals. Sold = Left + Allocated, and either Open or Left is 0.
type Stats struct {
	Bids      int    // open
	Prices    int    // that have open bids
	Open      uint64 // volume of the open bids
	Left      uint64 // supply left over
	Sold      uint64 // supply of all sales
	Allocated uint64 // volume of all fills
}

// Stats returns the totals. It takes O(1).
func (b *Book) Stats() Stats {
	return Stats{
		Bids: b.bids.live, Prices: b.prices.count,
		Open: b.open, Left: b.left, Sold: b.sold, Allocated: b.sold - b.left,
	}
}

// Len returns how many bids are open.
func (b *Book) Len() int { return b.bids.live }

// Left returns the supply that is left over.
func (b *Book) Left() uint64 { return b.left }

// Bid places a bid. The fill that it returns has the bid's new ID, says what leftover supply served at once, which may be
// nothing, and what stays open behind all bids of that price and above. A volume of 0 has no effect and gets no ID.
//
// It returns [ErrOverflow] if the volume of all open bids would pass 64 bits, and [ErrFull] if something would stay open
// and [Book.MaxBids] are open already.
func (b *Book) Bid(o Order) (Fill, error) {
	fill := Fill{Owner: o.Owner, Price: o.Price, Volume: min(o.Volume, b.left)}
	fill.Open = o.Volume - fill.Volume
	switch {
	case o.Volume == 0:
		return fill, nil
	case fill.Open > math.MaxUint64-b.open:
		return Fill{}, ErrOverflow
	case fill.Open > 0 && b.bids.live >= b.maxBids():
		return Fill{}, ErrFull
	}
	b.last++
	fill.ID = ID(b.last)
	b.left -= fill.Volume
	if fill.Open > 0 {
		b.place(slot{id: b.last, seq: b.last, owner: o.Owner, price: o.Price, open: fill.Open})
	}
	return fill, nil
}

func (b *Book) maxBids() int {
	if b.MaxBids > 0 {
		return min(b.MaxBids, mostBids)
	}
	return mostBids
}

// place puts a new bid into the book, last of its price.
func (b *Book) place(s slot) {
	b.digest += s.digest()
	b.open += s.open
	i := b.bids.take(s.id)
	at := b.bids.at(i)
	at.seq, at.owner, at.price, at.open = s.seq, s.owner, s.price, s.open
	b.enqueue(i, at)
}

// Sell adds supply, gives it to the open bids in their order, appends a fill for each bid that got something to fills and
// returns the extended slice. What nobody wants is left over: [Book.Left]. A volume of 0 has no effect.
//
// It returns [ErrOverflow] if all that was ever sold would pass 64 bits. It takes O(log prices) for each fill.
func (b *Book) Sell(volume uint64, fills []Fill) ([]Fill, error) {
	if volume > math.MaxUint64-b.sold {
		return fills, ErrOverflow
	}
	b.sold += volume
	for volume > 0 && b.open > 0 {
		price, l := b.prices.best()
		for volume > 0 && l.head != 0 {
			fill := b.serve(l, volume)
			volume -= fill.Volume
			fills = append(fills, fill)
		}
		if l.head == 0 {
			b.prices.remove(price)
		}
	}
	b.left += volume
	return fills, nil
}

// serve gives the first bid of a level what it can get of volume.
func (b *Book) serve(l *level, volume uint64) Fill {
	i := l.head
	s := b.bids.at(i)
	n := min(volume, s.open)
	b.digest -= s.digest()
	b.open -= n
	l.volume -= n
	s.open -= n
	fill := Fill{ID: ID(s.id), Owner: s.owner, Price: s.price, Volume: n, Open: s.open}
	if s.open > 0 {
		b.digest += s.digest()
		return fill
	}
	b.unlink(l, s)
	b.drop(i)
	return fill
}

// Cancel takes a bid out of the book and returns it, with what was still open of it. It reports false if there is no such
// bid: it is done, was cancelled before, or never was. It takes O(log prices).
func (b *Book) Cancel(id ID) (Bid, bool) {
	i := b.bids.find(uint64(id))
	if i == 0 {
		return Bid{}, false
	}
	s := b.bids.at(i)
	bid := s.bid()
	b.digest -= s.digest()
	b.open -= s.open
	b.dequeue(s)
	b.drop(i)
	return bid, true
}

// Reprice gives a bid another price. It keeps its ID and its volume and goes behind all bids that are at the new price
// already; at its old price it keeps its place. It reports false if there is no such bid. It takes O(log prices).
func (b *Book) Reprice(id ID, price uint64) bool {
	i := b.bids.find(uint64(id))
	if i == 0 {
		return false
	}
	s := b.bids.at(i)
	if s.price == price {
		return true
	}
	b.digest -= s.digest()
	b.dequeue(s)
	b.last++
	s.seq, s.price = b.last, price
	b.enqueue(i, s)
	b.digest += s.digest()
	return true
}

// enqueue makes s, which is slot i, the last bid of its price.
func (b *Book) enqueue(i uint32, s *slot) {
	l := b.prices.find(s.price)
	if l == nil {
		l = b.prices.insert(s.price)
	}
	s.prev, s.next = l.tail, 0
	if l.tail == 0 {
		l.head = i
	} else {
		b.bids.at(l.tail).next = i
	}
	l.tail = i
	l.volume += s.open
	l.bids++
}

// dequeue takes s out of the queue of its price, and the price out of the ladder if that was its last bid.
func (b *Book) dequeue(s *slot) {
	l := b.prices.find(s.price)
	l.volume -= s.open
	b.unlink(l, s)
	if l.head == 0 {
		b.prices.remove(s.price)
	}
}

// unlink takes s out of the list of its level.
func (b *Book) unlink(l *level, s *slot) {
	if s.prev == 0 {
		l.head = s.next
	} else {
		b.bids.at(s.prev).next = s.next
	}
	if s.next == 0 {
		l.tail = s.prev
	} else {
		b.bids.at(s.next).prev = s.prev
	}
	l.bids--
}

// drop gives up slot i, which is in no list any more. Other slots may move: their numbers and addresses are void.
func (b *Book) drop(i uint32) {
	b.bids.give(i)
	for range trims {
		if !b.bids.sparse() {
			return
		}
		if to := b.bids.trim(); to != 0 {
			b.moved(to)
		}
	}
}

// moved makes the queue point to where a slot has moved.
func (b *Book) moved(to uint32) {
	s := b.bids.at(to)
	if s.prev == 0 {
		b.prices.find(s.price).head = to
	} else {
		b.bids.at(s.prev).next = to
	}
	if s.next == 0 {
		b.prices.find(s.price).tail = to
	} else {
		b.bids.at(s.next).prev = to
	}
}
