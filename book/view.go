package book

import "iter"

// A Level is what is open at one price.
type Level struct {
	Price  uint64
	Volume uint64
	Bids   int
}

// Depth yields what is open at each price, the best price first. The book must not change meanwhile.
func (b *Book) Depth() iter.Seq[Level] {
	return func(yield func(Level) bool) {
		b.prices.descend(func(price uint64, l *level) bool {
			return yield(Level{Price: price, Volume: l.volume, Bids: int(l.bids)})
		})
	}
}

// All yields the open bids in the order in which they will be served. The book must not change meanwhile.
func (b *Book) All() iter.Seq[Bid] {
	return func(yield func(Bid) bool) {
		b.each(func(s *slot) bool { return yield(s.bid()) })
	}
}

// each calls visit for every bid in the order of All, until it returns false.
func (b *Book) each(visit func(s *slot) bool) {
	b.prices.descend(func(_ uint64, l *level) bool {
		for i := l.head; i != 0; {
			s := b.bids.at(i)
			if !visit(s) {
				return false
			}
			i = s.next
		}
		return true
	})
}

// Get returns an open bid.
func (b *Book) Get(id ID) (Bid, bool) {
	i := b.bids.find(uint64(id))
	if i == 0 {
		return Bid{}, false
	}
	return b.bids.at(i).bid(), true
}

// First returns the open bid that will be served first, and false if none is open.
func (b *Book) First() (Bid, bool) {
	if b.bids.live == 0 {
		return Bid{}, false
	}
	_, l := b.prices.best()
	return b.bids.at(l.head).bid(), true
}

// Last returns the open bid that will be served last: the one to turn away from a full queue.
func (b *Book) Last() (Bid, bool) {
	if b.bids.live == 0 {
		return Bid{}, false
	}
	return b.bids.at(b.prices.worst().tail).bid(), true
}
