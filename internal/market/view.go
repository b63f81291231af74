package market

import "github.com/sluicegate/sluice/book"

// A Balance is what a user has and had.
type Balance struct {
	Allocated uint64 // all that was ever allocated
	Spent     uint64 // in leases that have ended
	Leased    uint64 // held by nodes
	Balance   uint64 // what may be leased
}

// Balance returns a user's balance. It reports false for a user who never placed an order.
func (s *State) Balance(name string) (Balance, bool) {
	n, ok := s.byName[name]
	if !ok {
		return Balance{}, false
	}
	u := s.users.at(n)
	return Balance{Allocated: u.allocated, Spent: u.spent, Leased: u.leased, Balance: u.balance()}, true
}

// A Bid is an open bid.
type Bid struct {
	ID     uint64 `json:"id"`
	Price  uint64 `json:"price"`
	Volume uint64 `json:"volume"` // as it was bid for
	Open   uint64 `json:"open"`
	Time   uint64 `json:"time"` // milliseconds since 1970
}

// Bids appends up to n of a user's open bids with ids above after, in the order of their ids, and returns the extended slice and how many the user
// has in all. It reports false for a user who never placed an order.
func (s *State) Bids(dst []Bid, name string, after uint64, n int) (bids []Bid, all int, known bool) {
	number, ok := s.byName[name]
	if !ok {
		return dst, 0, false
	}
	u := s.users.at(number)
	for i := s.bidsFrom(u, number, after); i != 0 && n > 0; n-- {
		o := s.orders.rows.at(i)
		b, _ := s.book.Get(book.ID(o.id))
		dst = append(dst, Bid{ID: o.id, Price: b.Price, Volume: o.volume, Open: b.Volume, Time: o.time})
		i = o.next
	}
	return dst, int(u.bids), true
}

// bidsFrom returns the user's first order after a bid. That takes a walk along the list only if the bid has been filled or cancelled meanwhile.
func (s *State) bidsFrom(u *user, number uint32, after uint64) uint32 {
	if b, ok := s.book.Get(book.ID(after)); ok && s.orders.rows.at(uint32(b.Owner)).user == number {
		return s.orders.rows.at(uint32(b.Owner)).next
	}
	if u.tail == 0 || s.orders.rows.at(u.tail).id <= after {
		return 0
	}
	i := u.head
	for i != 0 && s.orders.rows.at(i).id <= after {
		i = s.orders.rows.at(i).next
	}
	return i
}

// Levels appends the best n prices to dst and returns the extended slice.
func (s *State) Levels(dst []book.Level, n int) []book.Level {
	if n <= 0 {
		return dst
	}
	for l := range s.book.Depth() {
		dst = append(dst, l)
		if n--; n == 0 {
			break
		}
	}
	return dst
}

// Stats are totals.
type Stats struct {
	Book    book.Stats
	Users   int
	Orders  uint64 // bids that had an effect
	Sales   uint64 // that had an effect
	Cancels uint64 // that had an effect
	Fills   uint64
	Keys    int // idempotency keys that are remembered
	Leases  int // that are out
}

// Stats returns the totals.
func (s *State) Stats() Stats {
	return Stats{
		Book: s.book.Stats(), Users: s.users.len(), Orders: s.counts.bids, Sales: s.counts.sales, Cancels: s.counts.cancels,
		Fills: s.fills.last, Keys: s.keys.len(), Leases: s.leases.len(),
	}
}

// A Fill says that a bid was served.
type Fill struct {
	Sequence uint64 `json:"sequence"` // in the order of the log, 1, 2, 3…
	Time     uint64 `json:"time"`     // milliseconds since 1970
	Bid      uint64 `json:"bid"`
	Username string `json:"username"`
	Price    uint64 `json:"price"` // the bid's
	Volume   uint64 `json:"volume"`
	Open     uint64 `json:"open"` // of the bid, after this
}

// Fills appends up to n of the fills after the one numbered after, oldest first, and returns the extended slice and how many between after and
// the first of them are not remembered any more.
func (s *State) Fills(dst []Fill, after uint64, n int) (fills []Fill, lost uint64) {
	from := max(after+1, s.fills.first())
	for i := from; i <= s.fills.last && n > 0; i++ {
		f := s.fills.place(i)
		dst = append(dst, Fill{
			Sequence: i, Time: f.time, Bid: f.bid, Username: s.users.at(f.user).name, Price: f.price, Volume: f.volume, Open: f.open,
		})
		n--
	}
	return dst, from - (after + 1)
}

// LastFill is the sequence of the latest fill, 0 if there was none.
func (s *State) LastFill() uint64 { return s.fills.last }

// An Allocation is what a user was allocated so far.
type Allocation struct {
	Username  string `json:"username"`
	Allocated uint64 `json:"allocated"`
}

// Allocations appends what up to n users were allocated, in the order of their first bids, from number from on, and returns the extended slice.
func (s *State) Allocations(dst []Allocation, from uint64, n int) []Allocation {
	for i := from; i < uint64(s.users.len()) && n > 0; i++ {
		u := s.users.at(uint32(i))
		dst = append(dst, Allocation{u.name, u.allocated})
		n--
	}
	return dst
}
