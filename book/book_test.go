package book_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/sluicegate/sluice/book"
)

func TestRules(t *testing.T) {
	var b book.Book
	first := mustBid(t, &b, 1, 100, 3)
	mustBid(t, &b, 2, 150, 2)
	mustBid(t, &b, 3, 50, 4)
	want := []book.Fill{
		{ID: 3, Owner: 3, Price: 4, Volume: 50},
		{ID: 1, Owner: 1, Price: 3, Volume: 100},
		{ID: 2, Owner: 2, Price: 2, Volume: 100, Open: 50},
	}
	if got := mustSell(t, &b, 250); !slices.Equal(got, want) {
		t.Errorf("fills %+v, want %+v", got, want)
	}
	if got, want := b.Stats(), (book.Stats{Bids: 1, Prices: 1, Open: 50, Sold: 250, Allocated: 250}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if want := (book.Fill{ID: 1, Owner: 1, Price: 3, Open: 100}); first != want {
		t.Errorf("the first bid: %+v, want %+v", first, want)
	}
}

func TestFirstComeFirstServedWithinAPrice(t *testing.T) {
	var b book.Book
	for owner := range uint64(3) {
		mustBid(t, &b, owner, 10, 5)
	}
	want := []book.Fill{{ID: 1, Owner: 0, Price: 5, Volume: 10}, {ID: 2, Owner: 1, Price: 5, Volume: 5, Open: 5}}
	if got := mustSell(t, &b, 15); !slices.Equal(got, want) {
		t.Errorf("fills %+v, want %+v", got, want)
	}
	mustBid(t, &b, 3, 10, 5)
	want = []book.Fill{{ID: 2, Owner: 1, Price: 5, Volume: 5}, {ID: 3, Owner: 2, Price: 5, Volume: 3, Open: 7}}
	if got := mustSell(t, &b, 8); !slices.Equal(got, want) {
		t.Errorf("a partly served bid keeps its place: fills %+v, want %+v", got, want)
	}
}

func TestLeftoverServesLaterBids(t *testing.T) {
	var b book.Book
	if fills := mustSell(t, &b, 100); len(fills) != 0 || b.Left() != 100 {
		t.Fatalf("fills %+v, left %d", fills, b.Left())
	}
	for _, c := range []struct {
		volume uint64
		price  uint64
		want   book.Fill
		left   uint64
	}{
		{60, 0, book.Fill{ID: 1, Volume: 60}, 40},
		{60, 9, book.Fill{ID: 2, Price: 9, Volume: 40, Open: 20}, 0},
		{60, 9, book.Fill{ID: 3, Price: 9, Open: 60}, 0},
	} {
		if got := mustBid(t, &b, 0, c.volume, c.price); got != c.want || b.Left() != c.left {
			t.Errorf("bid of %d: %+v, left %d, want %+v and %d", c.volume, got, b.Left(), c.want, c.left)
		}
	}
}

func TestVolumeZeroHasNoEffect(t *testing.T) {
	for _, left := range []uint64{0, 5} {
		var b book.Book
		mustSell(t, &b, left)
		before, stats := b.Hash(), b.Stats()
		if got := mustBid(t, &b, 7, 0, 3); got != (book.Fill{Owner: 7, Price: 3}) {
			t.Errorf("bid of 0: %+v", got)
		}
		if fills := mustSell(t, &b, 0); len(fills) != 0 {
			t.Errorf("sale of 0: %+v", fills)
		}
		if b.Hash() != before || b.Stats() != stats {
			t.Errorf("%+v became %+v", stats, b.Stats())
		}
		if got := mustBid(t, &b, 7, 1, 3); got.ID != 1 {
			t.Errorf("a bid of 0 took an ID: the next has %d", got.ID)
		}
	}
}

func TestCancel(t *testing.T) {
	var b book.Book
	for owner := range uint64(4) {
		mustBid(t, &b, owner, 10, 5)
	}
	mustSell(t, &b, 3)
	for _, c := range []struct {
		name string
		id   book.ID
		want book.Bid
		ok   bool
	}{
		{"in the middle", 2, book.Bid{ID: 2, Owner: 1, Price: 5, Volume: 10}, true},
		{"twice", 2, book.Bid{}, false},
		{"partly served", 1, book.Bid{ID: 1, Owner: 0, Price: 5, Volume: 7}, true},
		{"never was", 5, book.Bid{}, false},
		{"no name", 0, book.Bid{}, false},
	} {
		if got, ok := b.Cancel(c.id); got != c.want || ok != c.ok {
			t.Errorf("%s: %+v, %v, want %+v, %v", c.name, got, ok, c.want, c.ok)
		}
	}
	want := []book.Fill{{ID: 3, Owner: 2, Price: 5, Volume: 10}, {ID: 4, Owner: 3, Price: 5, Volume: 10}}
	if got := mustSell(t, &b, 25); !slices.Equal(got, want) || b.Left() != 5 {
		t.Errorf("fills %+v, want %+v; %d left", got, want, b.Left())
	}
	if got, ok := b.Cancel(3); ok {
		t.Errorf("cancelled %+v, which was served", got)
	}
}

// TestNamesAreNotReused lets another bid take the memory of one that is gone.
func TestNamesAreNotReused(t *testing.T) {
	var b book.Book
	old := mustBid(t, &b, 1, 10, 5).ID
	b.Cancel(old)
	mustBid(t, &b, 2, 10, 5)
	if got, ok := b.Cancel(old); ok {
		t.Errorf("the old name cancelled %+v", got)
	}
	if got, ok := b.Get(old); ok {
		t.Errorf("the old name is that of %+v", got)
	}
	if b.Reprice(old, 6) {
		t.Error("the old name could be repriced")
	}
}

func TestReprice(t *testing.T) {
	order := func(b *book.Book) (owners []uint64) {
		for bid := range b.All() {
			owners = append(owners, bid.Owner)
		}
		return owners
	}
	for _, c := range []struct {
		name  string
		id    book.ID
		price uint64
		want  []uint64
	}{
		{"up: behind those who are there", 4, 9, []uint64{1, 2, 4, 3, 5}},
		{"down: behind those who are there", 1, 5, []uint64{2, 3, 4, 5, 1}},
		{"the same: it keeps its place", 3, 5, []uint64{1, 2, 3, 4, 5}},
		{"to a price of its own", 5, 7, []uint64{1, 2, 5, 3, 4}},
	} {
		var b book.Book
		for owner, price := range []uint64{9, 9, 5, 5, 5} {
			mustBid(t, &b, uint64(owner+1), 10, price)
		}
		if !b.Reprice(c.id, c.price) {
			t.Errorf("%s: not found", c.name)
		}
		if got := order(&b); !slices.Equal(got, c.want) {
			t.Errorf("%s: order %v, want %v", c.name, got, c.want)
		}
		if got, _ := b.Get(c.id); got != (book.Bid{ID: c.id, Owner: uint64(c.id), Price: c.price, Volume: 10}) {
			t.Errorf("%s: it became %+v", c.name, got)
		}
		if s := b.Stats(); s.Open != 50 || s.Bids != 5 {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
}

// TestLateComersAfterReprice: a place in the queue is kept over a snapshot, although it no longer follows from the ID.
func TestLateComersAfterReprice(t *testing.T) {
	var b book.Book
	mustBid(t, &b, 1, 1, 1)
	mustBid(t, &b, 2, 1, 2)
	b.Reprice(1, 2)
	mustBid(t, &b, 3, 1, 2)
	for name, x := range map[string]*book.Book{"live": &b, "restored": restored(t, &b)} {
		var owners []uint64
		for _, f := range mustSell(t, x, 3) {
			owners = append(owners, f.Owner)
		}
		if !slices.Equal(owners, []uint64{2, 1, 3}) {
			t.Errorf("%s: served %v", name, owners)
		}
	}
}

func TestHashTellsPlacesApart(t *testing.T) {
	var a, b book.Book
	for _, x := range []*book.Book{&a, &b} {
		mustBid(t, x, 1, 1, 1)
		mustBid(t, x, 2, 1, 1)
	}
	a.Reprice(1, 2)
	a.Reprice(2, 2)
	b.Reprice(2, 2)
	b.Reprice(1, 2)
	if a.Hash() == b.Hash() {
		t.Error("two books that differ only in who is first have the same hash")
	}
}

// TestHashIsTheSameEverywhere: nodes of other builds must come to the same hash.
func TestHashIsTheSameEverywhere(t *testing.T) {
	var b book.Book
	if got, want := b.Hash(), uint64(0x4479b0746e3d961f); got != want {
		t.Errorf("empty: %#x, want %#x", got, want)
	}
	mustSell(t, &b, 30)
	mustBid(t, &b, 1, 100, 3)
	mustBid(t, &b, math.MaxUint64, 150, 2)
	b.Reprice(1, 2)
	if got, want := b.Hash(), uint64(0x080cbf31b6603cc8); got != want {
		t.Errorf("with bids: %#x, want %#x", got, want)
	}
}

// unchanged expects that f changes nothing of b and fails with err.
func unchanged(t *testing.T, b *book.Book, want error, f func() error) {
	t.Helper()
	before, hash := b.Stats(), b.Hash()
	if err := f(); !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
	if b.Stats() != before || b.Hash() != hash {
		t.Errorf("what was refused made %+v of %+v", b.Stats(), before)
	}
}

func TestOverflow(t *testing.T) {
	order := func(volume uint64) book.Order { return book.Order{Volume: volume, Price: 1} }
	t.Run("open volume", func(t *testing.T) {
		var b book.Book
		mustBid(t, &b, 1, math.MaxUint64-5, 1)
		unchanged(t, &b, book.ErrOverflow, func() error { _, err := b.Bid(order(6)); return err })
		mustBid(t, &b, 1, 5, 2)
		unchanged(t, &b, book.ErrOverflow, func() error { _, err := b.Bid(order(1)); return err })
		b.Cancel(1)
		mustBid(t, &b, 1, math.MaxUint64-5, 2)
		if l := slices.Collect(b.Depth()); !slices.Equal(l, []book.Level{{Price: 2, Volume: math.MaxUint64, Bids: 2}}) {
			t.Errorf("depth %+v", l)
		}
	})
	t.Run("leftover supply", func(t *testing.T) {
		var b book.Book
		mustSell(t, &b, math.MaxUint64-5)
		unchanged(t, &b, book.ErrOverflow, func() error { _, err := b.Sell(6, nil); return err })
		mustSell(t, &b, 5)
		if got := mustBid(t, &b, 1, math.MaxUint64, 1); got.Open != 0 || b.Left() != 0 {
			t.Errorf("%+v, %d left", got, b.Left())
		}
	})
	t.Run("all that was sold", func(t *testing.T) {
		var b book.Book
		mustSell(t, &b, math.MaxUint64-5)
		mustBid(t, &b, 1, math.MaxUint64, 1)
		mustBid(t, &b, 1, math.MaxUint64-5, 1)
		fills := []book.Fill{{ID: 77}}
		unchanged(t, &b, book.ErrOverflow, func() (err error) { fills, err = b.Sell(6, fills); return err })
		if !slices.Equal(fills, []book.Fill{{ID: 77}}) {
			t.Errorf("the caller's fills became %+v", fills)
		}
		mustSell(t, &b, 5)
	})
	t.Run("leftover counts first", func(t *testing.T) {
		var b book.Book
		mustSell(t, &b, 10)
		if got := mustBid(t, &b, 1, math.MaxUint64, 1); got.Volume != 10 || got.Open != math.MaxUint64-10 {
			t.Errorf("%+v", got)
		}
	})
}

func TestMaxBids(t *testing.T) {
	b := book.Book{MaxBids: 2}
	order := book.Order{Volume: 5, Price: 1}
	mustBid(t, &b, 1, 5, 1)
	mustBid(t, &b, 1, 5, 1)
	unchanged(t, &b, book.ErrFull, func() error { _, err := b.Bid(order); return err })
	b = *restored(t, &b)
	unchanged(t, &b, book.ErrFull, func() error { _, err := b.Bid(order); return err })
	mustSell(t, &b, 12)
	for range 2 {
		mustBid(t, &b, 1, 1, 1)
	}
	mustBid(t, &b, 1, 1, 1)
	mustBid(t, &b, 1, 1, 1)
	mustSell(t, &b, 2)
	mustSell(t, &b, 5)
	for range 5 {
		if got := mustBid(t, &b, 1, 1, 1); got.Open != 0 {
			t.Errorf("%+v waits beside leftover supply", got)
		}
	}
}

// TestIteratorsStop leaves each of them early.
func TestIteratorsStop(t *testing.T) {
	var b book.Book
	for i := range uint64(100) {
		mustBid(t, &b, i, 1, i/2)
	}
	var levels []book.Level
	for l := range b.Depth() {
		if levels = append(levels, l); len(levels) == 2 {
			break
		}
	}
	if want := []book.Level{{Price: 49, Volume: 2, Bids: 2}, {Price: 48, Volume: 2, Bids: 2}}; !slices.Equal(levels, want) {
		t.Errorf("depth %+v, want %+v", levels, want)
	}
	var owners []uint64
	for bid := range b.All() {
		if owners = append(owners, bid.Owner); len(owners) == 3 {
			break
		}
	}
	if want := []uint64{98, 99, 96}; !slices.Equal(owners, want) {
		t.Errorf("bids of %v, want %v", owners, want)
	}
}

func TestEmptyBook(t *testing.T) {
	var b book.Book
	_, first := b.First()
	_, last := b.Last()
	_, got := b.Get(1)
	_, cancelled := b.Cancel(1)
	if first || last || got || cancelled || b.Reprice(1, 2) || b.Len() != 0 || b.Stats() != (book.Stats{}) {
		t.Errorf("an empty book holds something: %+v", b.Stats())
	}
	for range b.All() {
		t.Error("a bid")
	}
	for range b.Depth() {
		t.Error("a level")
	}
}
