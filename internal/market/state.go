package market

import (
	"errors"

	"github.com/sluicegate/sluice/book"
)

// Bounds of the state. They are rules of the state machine: nodes that are to agree need the same.
const (
	MaxUsers  = 4 << 20  // usernames that ever placed an order
	MaxBids   = 16 << 20 // open at once
	MaxKeys   = 16 << 20 // idempotency keys of the last [KeyTime]
	MaxLeases = 1 << 20  // of the last [LeaseTime] that were not returned
	MaxFills  = 1 << 16  // that are remembered for those who listen
)

// How long things are remembered, in milliseconds of the time that commands carry.
const (
	KeyTime   = 24 * 60 * 60 * 1000
	LeaseTime = 60 * 60 * 1000
)

// sweep is how many of each kind of thing whose time has passed a command removes at most: more than it can add, so that what has to go
// goes, and few, so that no command takes long when the clock jumps.
const sweep = 8

// State is the market: the book, what each user was allocated, and what is remembered for a while. It is a state machine in the sense of
// [journal.Machine]: Apply is a pure function of the state and a command. Make one with NewState; it is not safe for concurrent use.
type State struct {
	book   book.Book
	users  paged[user]
	byName map[string]uint32
	orders orders
	keys   expiring[answered]
	leases expiring[leased]
	fills  fills
	now    uint64 // the latest time of a command, milliseconds since 1970
	sums   uint64 // of the digests of users, orders, keys and leases
	counts counts

	scratch []book.Fill
	bounds  bounds // no part of the state
}

// bounds are those that tests may lower.
type bounds struct{ users, keys, leases int }

// counts are totals since the beginning that are nowhere else.
type counts struct {
	bids, sales, cancels uint64 // that had an effect
}

type user struct {
	name      string
	hash      uint64 // of the name
	allocated uint64
	spent     uint64 // in leases that have ended
	leased    uint64 // in leases that have not
	head      uint32 // of the user's orders, the oldest
	tail      uint32
	bids      uint32
}

// answered is an order that was answered, under its idempotency key.
type answered struct {
	kind      kind
	name      uint64 // hash of the username
	volume    uint64
	price     uint64
	id        uint64
	allocated uint64
}

// leased is what a node holds of a user's balance.
type leased struct {
	user  uint32
	units uint64
}

// NewState returns an empty market.
func NewState() *State {
	s := &State{byName: map[string]uint32{}, keys: newExpiring[answered](KeyTime), leases: newExpiring[leased](LeaseTime)}
	s.book.MaxBids = MaxBids
	s.bounds = bounds{MaxUsers, MaxKeys, MaxLeases}
	s.orders.init()
	return s
}

// Outcome is what became of a command.
type Outcome byte

const (
	Done      Outcome = iota
	Invalid           // not a command; or what is returned of a lease is more than it has
	Overflow          // the open volume, or all that was ever sold, would pass 64 bits
	Full              // a bound of the state is reached; Reply.Bound says which
	KeyReused         // the key was used for something else
	NotFound          // no such bid, user or lease
)

// Bound names a bound of the state.
type Bound byte

const (
	NoBound Bound = iota
	UserBound
	BidBound
	KeyBound
	LeaseBound
)

// A Reply says what became of a command. Only [Done] changes anything but the clock.
type Reply struct {
	Outcome Outcome
	Bound   Bound
	ID      uint64 // of the bid; 0 for a volume of 0

	// Allocated is what the bid or the sale was matched with at once; of a cancelled bid what it had got; the units of a lease.
	Allocated uint64
	// Rest is what is open of the bid, or left of the sale; what was open of a cancelled bid; what is left of the balance.
	Rest uint64
	// Wait is in how many milliseconds a key becomes free, if KeyBound is reached.
	Wait uint64
}

// Apply changes the state by a command. Bytes that are no command change nothing.
func (s *State) Apply(cmd []byte) Reply {
	c, ok := parseCommand(cmd)
	if !ok {
		return Reply{Outcome: Invalid}
	}
	s.advance(c.time)
	switch c.kind {
	case buy, sell:
		return s.once(&c)
	case cancel:
		return s.cancel(c.bid)
	case lease:
		return s.lease(&c)
	default:
		return s.giveBack(&c)
	}
}

// advance moves the clock, which never goes back, and removes some of what was remembered for long enough.
func (s *State) advance(to uint64) {
	s.now = max(s.now, to)
	for range sweep {
		id, passed := s.keys.oldest(s.now)
		if !passed {
			break
		}
		s.forgetKey(id)
	}
	for range sweep {
		id, passed := s.leases.oldest(s.now)
		if !passed {
			break
		}
		s.endLease(id, 0)
	}
}

// once answers an order, and one that was answered under the same key as it was then.
func (s *State) once(c *command) Reply {
	if !c.keyed {
		return s.order(c)
	}
	sum := digestName(c.name)
	if a, ok := s.keys.get(c.key, s.now); ok {
		if a.kind != c.kind || a.name != sum || a.volume != c.volume || a.price != c.price {
			return Reply{Outcome: KeyReused}
		}
		return Reply{ID: a.id, Allocated: a.allocated, Rest: a.volume - a.allocated}
	}
	if s.keys.len() >= s.bounds.keys {
		return Reply{Outcome: Full, Bound: KeyBound, Wait: s.keys.due() - min(s.now, s.keys.due())}
	}
	r := s.order(c)
	if r.Outcome == Done {
		s.rememberKey(c.key, answered{kind: c.kind, name: sum, volume: c.volume, price: c.price, id: r.ID, allocated: r.Allocated})
	}
	return r
}

func (s *State) order(c *command) Reply {
	if c.volume == 0 {
		return Reply{}
	}
	if c.kind == sell {
		return s.sell(c.volume)
	}
	return s.bid(c)
}

func (s *State) bid(c *command) Reply {
	n, known := s.byName[c.name]
	if !known && s.users.len() >= s.bounds.users {
		return Reply{Outcome: Full, Bound: UserBound}
	}
	f, err := s.book.Bid(book.Order{Owner: uint64(s.orders.upcoming()), Volume: c.volume, Price: c.price})
	if err != nil {
		return refused(err)
	}
	if !known {
		n = s.enlist(c.name)
	}
	s.counts.bids++
	u := s.users.at(n)
	if f.Open > 0 {
		i := s.orders.upcoming()
		s.orders.add(u, order{id: uint64(f.ID), volume: c.volume, time: s.now, user: n})
		s.sums += s.orders.rows.at(i).digest(i)
	}
	if f.Volume > 0 {
		s.allocate(n, &f)
	}
	return Reply{ID: uint64(f.ID), Allocated: f.Volume, Rest: f.Open}
}

func refused(err error) Reply {
	if errors.Is(err, book.ErrFull) {
		return Reply{Outcome: Full, Bound: BidBound}
	}
	return Reply{Outcome: Overflow}
}

func (s *State) enlist(name string) uint32 {
	n := uint32(s.users.len())
	u := s.users.grow()
	u.name, u.hash = name, digestName(name)
	s.byName[name] = n
	s.sums += u.digest(n)
	return n
}

// keepScratch bounds the fills that are kept to be written over.
const keepScratch = 1 << 16

func (s *State) sell(volume uint64) Reply {
	fills, err := s.book.Sell(volume, s.scratch[:0])
	if err != nil {
		return refused(err)
	}
	s.counts.sales++
	var r Reply
	for i := range fills {
		f := &fills[i]
		row := uint32(f.Owner)
		n := s.orders.rows.at(row).user
		if f.Open == 0 {
			s.closeOrder(row)
		}
		s.allocate(n, f)
		r.Allocated += f.Volume
	}
	r.Rest = volume - r.Allocated
	if s.scratch = fills; cap(fills) > keepScratch {
		s.scratch = nil
	}
	return r
}

// allocate notes that user n got a fill.
func (s *State) allocate(n uint32, f *book.Fill) {
	u := s.users.at(n)
	s.sums -= u.digest(n)
	u.allocated += f.Volume // no more than was sold, which is a number of 64 bits
	s.sums += u.digest(n)
	s.fills.add(fill{time: s.now, bid: uint64(f.ID), user: n, price: f.Price, volume: f.Volume, open: f.Open})
}

// closeOrder forgets an order whose bid has left the book.
func (s *State) closeOrder(row uint32) {
	o := s.orders.rows.at(row)
	s.sums -= o.digest(row)
	s.orders.remove(s.users.at(o.user), row)
}

func (s *State) cancel(id uint64) Reply {
	b, ok := s.book.Cancel(book.ID(id))
	if !ok {
		return Reply{Outcome: NotFound}
	}
	s.counts.cancels++
	row := uint32(b.Owner)
	got := s.orders.rows.at(row).volume - b.Volume
	s.closeOrder(row)
	return Reply{ID: id, Allocated: got, Rest: b.Volume}
}

func (s *State) rememberKey(key ID, a answered) {
	if s.keys.has(key) { // its time has passed
		s.forgetKey(key)
	}
	s.keys.put(key, s.now, a)
	s.sums += a.digest(key, s.now)
}

func (s *State) forgetKey(key ID) {
	gone := s.keys.remove(key)
	s.sums -= gone.value.digest(key, gone.at)
}

// Hash returns a hash of the state, which every command keeps up to date.
func (s *State) Hash() uint64 {
	c := &s.counts
	return digest(s.book.Hash(), s.sums, s.now, s.fills.last, s.fills.chain, c.bids, c.sales, c.cancels)
}

func (u *user) digest(n uint32) uint64 {
	return digest(1, uint64(n), u.hash, u.allocated, u.spent, u.leased)
}

func (o *order) digest(row uint32) uint64 {
	return digest(2, uint64(row), o.id, o.volume, o.time, uint64(o.user))
}

func (a *answered) digest(key ID, at uint64) uint64 {
	hi, lo := key.words()
	return digest(3, hi, lo, at, uint64(a.kind), a.name, a.volume, a.price, a.id, a.allocated)
}

func (l *leased) digest(id ID, at uint64) uint64 {
	hi, lo := id.words()
	return digest(4, hi, lo, at, uint64(l.user), l.units)
}
