package book_test

import (
	"slices"
	"testing"

	"github.com/sluicegate/sluice/book"
)

// A command is what can be asked of a book, as a log would hold it.
type command struct {
	kind  kind
	order book.Order // of a bid; the volume of a sale; the new price of a reprice
	id    book.ID
}

type kind byte

const (
	bid kind = iota
	sell
	cancel
	reprice
)

// A reply is all that a command answers.
type reply struct {
	fill  book.Fill
	fills []book.Fill
	bid   book.Bid
	ok    bool
	err   error
}

func (r reply) equal(s reply) bool {
	return r.fill == s.fill && slices.Equal(r.fills, s.fills) && r.bid == s.bid && r.ok == s.ok && r.err == s.err
}

// apply carries out a command; fills of a sale are appended to the empty slice buffer.
func apply(b *book.Book, c command, buffer []book.Fill) (r reply) {
	switch c.kind {
	case bid:
		r.fill, r.err = b.Bid(c.order)
	case sell:
		r.fills, r.err = b.Sell(c.order.Volume, buffer)
	case cancel:
		r.bid, r.ok = b.Cancel(c.id)
	case reprice:
		r.ok = b.Reprice(c.id, c.order.Price)
	}
	return r
}

func (r *reference) apply(c command) (got reply) {
	switch c.kind {
	case bid:
		got.fill, got.err = r.Bid(c.order)
	case sell:
		got.fills, got.err = r.Sell(c.order.Volume)
	case cancel:
		got.bid, got.ok = r.Cancel(c.id)
	case reprice:
		got.ok = r.Reprice(c.id, c.order.Price)
	}
	return got
}

// A fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// A model is a book and beside it the reference, and what the caller of a book would keep.
type model struct {
	book      *book.Book
	ref       reference
	allocated map[uint64]uint64 // by owner
	buffer    []book.Fill
	hash      uint64
}

func newModel(maxBids int) *model {
	return &model{
		book: &book.Book{MaxBids: maxBids}, ref: reference{maxBids: maxBids},
		allocated: map[uint64]uint64{}, hash: new(book.Book).Hash(),
	}
}

// do gives a command to both and compares what they answer and their totals.
func (m *model) do(t fataler, c command) {
	t.Helper()
	before := m.book.Stats()
	got, want := apply(m.book, c, m.buffer[:0]), m.ref.apply(c)
	if !got.equal(want) {
		t.Fatalf("%+v: got %+v, want %+v", c, got, want)
	}
	m.account(t, got)
	m.checkStats(t, before)
	m.checkHash(t, c, want)
	if got.fills != nil {
		m.buffer = got.fills
	}
}

func (m *model) account(t fataler, got reply) {
	t.Helper()
	for _, f := range append(got.fills[:len(got.fills):len(got.fills)], got.fill) {
		if m.allocated[f.Owner]+f.Volume < m.allocated[f.Owner] {
			t.Fatalf("owner %d was served more than 64 bits hold", f.Owner)
		}
		m.allocated[f.Owner] += f.Volume
	}
}

func (m *model) checkStats(t fataler, before book.Stats) {
	t.Helper()
	s := m.book.Stats()
	switch {
	case s.Bids != len(m.ref.bids) || s.Bids != m.book.Len() || s.Open != m.ref.open || s.Left != m.ref.left || s.Left != m.book.Left():
		t.Fatalf("%+v, reference: %d bids, %d open, %d left", s, len(m.ref.bids), m.ref.open, m.ref.left)
	case s.Left > 0 && s.Bids > 0:
		t.Fatalf("supply is left over beside open bids: %+v", s)
	case m.ref.bought != s.Open+s.Allocated+m.ref.cancelled:
		t.Fatalf("bought %d, cancelled %d, %+v", m.ref.bought, m.ref.cancelled, s)
	case s.Sold != m.ref.sold || s.Sold != s.Left+s.Allocated:
		t.Fatalf("sold %d, %+v", m.ref.sold, s)
	case s.Allocated < before.Allocated:
		t.Fatalf("allocations fell from %d to %d", before.Allocated, s.Allocated)
	}
	m.checkEnds(t)
}

func (m *model) checkEnds(t fataler) {
	t.Helper()
	first, some := m.book.First()
	last, _ := m.book.Last()
	n := len(m.ref.bids)
	if some != (n > 0) || some && (first != m.ref.bids[0].Bid || last != m.ref.bids[n-1].Bid) {
		t.Fatalf("first %+v and last %+v of %+v", first, last, m.ref.bids)
	}
}

// checkHash expects another hash after whatever had an effect, and the same after what had none.
func (m *model) checkHash(t fataler, c command, r reply) {
	t.Helper()
	hash := m.book.Hash()
	if m.idle(c, r) {
		if hash != m.hash {
			t.Fatalf("%+v had no effect, yet the hash changed", c)
		}
	} else if c.kind != reprice && hash == m.hash {
		t.Fatalf("%+v had an effect, yet the hash is the same", c)
	}
	m.hash = hash
}

// idle reports whether a command certainly had no effect.
func (m *model) idle(c command, r reply) bool {
	if c.kind == bid || c.kind == sell {
		return r.err != nil || c.order.Volume == 0
	}
	return !r.ok
}

// check compares all that the book holds.
func (m *model) check(t fataler) {
	t.Helper()
	if got, want := slices.Collect(m.book.All()), m.ref.All(); !slices.Equal(got, want) {
		t.Fatalf("bids %+v, want %+v", got, want)
	}
	depth := m.ref.Depth()
	if got := slices.Collect(m.book.Depth()); !slices.Equal(got, depth) {
		t.Fatalf("depth %+v, want %+v", got, depth)
	}
	if got := m.book.Stats().Prices; got != len(depth) {
		t.Fatalf("%d prices, want %d", got, len(depth))
	}
	for _, want := range m.ref.bids {
		if got, ok := m.book.Get(want.ID); !ok || got != want.Bid {
			t.Fatalf("bid %d: got %+v, %v, want %+v", want.ID, got, ok, want.Bid)
		}
	}
	if got, ok := m.book.Get(book.ID(m.ref.last + 1)); ok {
		t.Fatalf("a bid that never was: %+v", got)
	}
	m.checkAllocations(t)
}

func (m *model) checkAllocations(t fataler) {
	t.Helper()
	var sum uint64
	for _, n := range m.allocated {
		sum += n
	}
	if want := m.book.Stats().Allocated; sum != want {
		t.Fatalf("the fills sum up to %d, the book says %d", sum, want)
	}
}

// restart takes the book through a snapshot.
func (m *model) restart(t fataler) {
	t.Helper()
	m.book = restored(t, m.book)
	if got := m.book.Hash(); got != m.hash {
		t.Fatalf("hash %x after the restart, %x before", got, m.hash)
	}
}

// restored returns a copy of b that went through a snapshot.
func restored(t fataler, b *book.Book) *book.Book {
	t.Helper()
	data, err := b.MarshalBinary()
	if err != nil {
		t.Fatalf("encoding: %v", err)
	}
	got := &book.Book{MaxBids: b.MaxBids}
	if err := got.UnmarshalBinary(data); err != nil {
		t.Fatalf("decoding: %v", err)
	}
	return got
}

func mustBid(t testing.TB, b *book.Book, owner, volume, price uint64) book.Fill {
	t.Helper()
	fill, err := b.Bid(book.Order{Owner: owner, Volume: volume, Price: price})
	if err != nil {
		t.Fatal(err)
	}
	return fill
}

func mustSell(t testing.TB, b *book.Book, volume uint64) []book.Fill {
	t.Helper()
	fills, err := b.Sell(volume, nil)
	if err != nil {
		t.Fatal(err)
	}
	return fills
}
