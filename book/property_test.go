package book_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/book"
)

// A crowd makes up commands. It is in one of several moods for a while: one fills the book, one drains it.
type crowd struct {
	rng     *rand.Rand
	prices  uint64 // how many there are; 0 means all of uint64
	huge    bool   // volumes near 2⁶⁴ now and then
	bids    int    // of 100 commands
	sells   int
	cancels int
	volume  uint64 // of a sale, at most
}

func (c *crowd) mood() {
	moods := []struct {
		bids, sells, cancels int
		volume               uint64
	}{
		{40, 20, 20, 20}, // balanced
		{80, 5, 5, 20},   // rising
		{20, 60, 10, 20}, // falling, served
		{10, 5, 75, 20},  // falling, cancelled
		{80, 2, 10, 500}, // sweeping
		{10, 80, 5, 50},  // supply is left over
	}
	m := moods[c.rng.IntN(len(moods))]
	c.bids, c.sells, c.cancels, c.volume = m.bids, m.sells, m.cancels, m.volume
}

func (c *crowd) price() uint64 {
	switch {
	case c.prices > 0:
		return c.rng.Uint64N(c.prices)
	case c.rng.IntN(20) == 0:
		return []uint64{0, 1, math.MaxUint64 - 1, math.MaxUint64}[c.rng.IntN(4)]
	}
	return c.rng.Uint64()
}

func (c *crowd) next(m *model) command {
	if c.rng.IntN(500) == 0 || c.bids == 0 {
		c.mood()
	}
	switch n := c.rng.IntN(100); {
	case n < c.bids:
		o := book.Order{Owner: c.rng.Uint64N(50), Volume: c.rng.Uint64N(20), Price: c.price()}
		if c.huge && c.rng.IntN(20) == 0 {
			o.Volume = math.MaxUint64 - c.rng.Uint64N(100)>>c.rng.IntN(3)
		}
		return command{kind: bid, order: o}
	case n < c.bids+c.sells:
		o := book.Order{Volume: c.rng.Uint64N(c.volume)}
		if c.huge && c.rng.IntN(1000) == 0 {
			o.Volume = c.rng.Uint64()
		}
		return command{kind: sell, order: o}
	case n < c.bids+c.sells+c.cancels:
		return command{kind: cancel, id: c.id(m)}
	}
	return command{kind: reprice, id: c.id(m), order: book.Order{Price: c.price()}}
}

// id picks an open bid, or one of any time.
func (c *crowd) id(m *model) book.ID {
	if n := len(m.ref.bids); n > 0 && c.rng.IntN(10) > 0 {
		return m.ref.bids[c.rng.IntN(n)].ID
	}
	return book.ID(c.rng.Uint64N(m.ref.last + 2))
}

func newCrowd(seed uint64) *crowd {
	prices := []uint64{1, 4, 50, 1000, 0}
	return &crowd{rng: rand.New(rand.NewPCG(seed, 6)), prices: prices[seed%5], huge: seed%7 == 3}
}

// commands says how long the histories are: 100,000 in make soak.
func commands() int {
	if os.Getenv("SLUICE_SOAK") != "" {
		return 100_000
	}
	return 10_000
}

// TestSeeds runs histories against the reference, and then again: from the log alone, and from a snapshot and the rest of
// the log. All end in the same state.
func TestSeeds(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c, m := newCrowd(seed), newModel(2000)
			log := make([]command, commands())
			cut := c.rng.IntN(len(log))
			var snapshot []byte
			for i := range log {
				if i == cut {
					snapshot, _ = m.book.AppendBinary(nil)
				}
				log[i] = c.next(m)
				m.do(t, log[i])
				if i%1000 == 0 {
					m.check(t)
				}
			}
			m.check(t)
			sameEnd(t, m.book, "replay", &book.Book{MaxBids: 2000}, log)
			tail := &book.Book{MaxBids: 2000}
			if err := tail.UnmarshalBinary(snapshot); err != nil {
				t.Fatal(err)
			}
			sameEnd(t, m.book, "snapshot and tail", tail, log[cut:])
		})
	}
}

// sameEnd applies log to b, and compares it with want.
func sameEnd(t *testing.T, want *book.Book, name string, b *book.Book, log []command) {
	t.Helper()
	var buffer []book.Fill
	for _, c := range log {
		if r := apply(b, c, buffer[:0]); r.fills != nil {
			buffer = r.fills
		}
	}
	if b.Hash() != want.Hash() || b.Stats() != want.Stats() {
		t.Errorf("%s: hash %x, %+v; live: %x, %+v", name, b.Hash(), b.Stats(), want.Hash(), want.Stats())
	}
	wantBytes, _ := want.MarshalBinary()
	if got, _ := b.MarshalBinary(); !bytes.Equal(got, wantBytes) {
		t.Errorf("%s: another snapshot than the live book's", name)
	}
}

// TestManyPrices is about prices that come and go by the thousand, in every order.
func TestManyPrices(t *testing.T) {
	const n = 3000
	orders := map[string]func(rng *rand.Rand, i int) uint64{
		"rising":  func(_ *rand.Rand, i int) uint64 { return uint64(i) },
		"falling": func(_ *rand.Rand, i int) uint64 { return math.MaxUint64 - uint64(i) },
		"random":  func(rng *rand.Rand, _ int) uint64 { return rng.Uint64() },
	}
	for name, price := range orders {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			m := newModel(0)
			for round := range 4 {
				for i := range n {
					m.do(t, command{kind: bid, order: book.Order{Volume: 1, Price: price(rng, i)}})
				}
				m.check(t)
				for len(m.ref.bids) > 10*round {
					c := command{kind: sell, order: book.Order{Volume: 1}}
					if round%2 == 1 || rng.IntN(4) == 0 {
						c = command{kind: cancel, id: m.ref.bids[rng.IntN(len(m.ref.bids))].ID}
					}
					m.do(t, c)
					if len(m.ref.bids)%500 == 0 {
						m.check(t)
					}
				}
				m.check(t)
			}
		})
	}
}

// property drives a model with commands that rapid can make smaller.
func property(t *rapid.T) {
	m := newModel(rapid.IntRange(0, 30).Draw(t, "most bids"))
	price := rapid.Uint64Range(0, rapid.SampledFrom([]uint64{0, 3, 100, math.MaxUint64}).Draw(t, "highest price"))
	volume := rapid.OneOf(rapid.Uint64Range(0, 20), rapid.Uint64Range(0, 20), rapid.Uint64())
	id := func(t *rapid.T) book.ID { return book.ID(rapid.Uint64Range(0, m.ref.last+1).Draw(t, "id")) }
	t.Repeat(map[string]func(*rapid.T){
		"": func(t *rapid.T) { m.check(t) },
		"bid": func(t *rapid.T) {
			o := book.Order{Owner: rapid.Uint64Range(1, 3).Draw(t, "owner"), Volume: volume.Draw(t, "volume"), Price: price.Draw(t, "price")}
			m.do(t, command{kind: bid, order: o})
		},
		"sell":   func(t *rapid.T) { m.do(t, command{kind: sell, order: book.Order{Volume: volume.Draw(t, "volume")}}) },
		"cancel": func(t *rapid.T) { m.do(t, command{kind: cancel, id: id(t)}) },
		"reprice": func(t *rapid.T) {
			m.do(t, command{kind: reprice, id: id(t), order: book.Order{Price: price.Draw(t, "price")}})
		},
		"restart": func(t *rapid.T) { m.restart(t) },
	})
}

func TestAgainstReference(t *testing.T) { rapid.Check(t, property) }

func FuzzAgainstReference(f *testing.F) { f.Fuzz(rapid.MakeFuzz(property)) }
