package book_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sluicegate/sluice/book"
)

// An exchange is what the designs compared here have in common.
type exchange interface {
	Bid(o book.Order) (book.Fill, error)
	Sell(volume uint64, fills []book.Fill) ([]book.Fill, error)
	Cancel(id book.ID) (book.Bid, bool)
}

// designs are the book and what else one might write.
var designs = []struct {
	name string
	make func() exchange
}{
	{"book", func() exchange { return new(book.Book) }},
	{"heap", func() exchange { return &heapBook{byID: map[book.ID]*heapBid{}} }},
	{"levels", func() exchange { return newLevelsBook() }},
	{"slice", func() exchange { return &sliceBook{byID: map[book.ID]*sliceBid{}} }},
}

// A trader keeps a book at a steady state. Owners are indices into its list of open bids.
type trader struct {
	rng    *rand.Rand
	x      exchange
	prices uint64
	open   []traded
	buffer []book.Fill
}

type traded struct {
	id    book.ID
	price uint64
}

func newTrader(x exchange, bids int, prices uint64) *trader {
	tr := &trader{rng: rand.New(rand.NewPCG(1, 2)), x: x, prices: prices, open: make([]traded, bids)}
	for i := range tr.open {
		tr.bid(uint64(i), uint64(i)*0x9e3779b9%prices) // every price, in a mixed order
	}
	return tr
}

func (tr *trader) bid(owner, price uint64) {
	fill, err := tr.x.Bid(book.Order{Owner: owner, Volume: 10, Price: price})
	if err != nil {
		panic(err)
	}
	tr.open[owner] = traded{fill.ID, price}
}

// cancel cancels any bid and places another, at any price: two commands.
func (tr *trader) cancel() {
	owner := tr.rng.Uint64N(uint64(len(tr.open)))
	tr.x.Cancel(tr.open[owner].id)
	tr.bid(owner, tr.rng.Uint64N(tr.prices))
}

// sell serves one bid, in two parts, and lets its owner bid again at the same price: three commands.
func (tr *trader) sell() {
	for _, volume := range [...]uint64{4, 6} {
		tr.buffer, _ = tr.x.Sell(volume, tr.buffer[:0])
	}
	owner := tr.buffer[0].Owner
	tr.bid(owner, tr.open[owner].price)
}

// round is 10 commands: 4 bids, 2 cancels, 4 sales with one fill each.
func (tr *trader) round() {
	tr.cancel()
	tr.sell()
	tr.cancel()
	tr.sell()
}

const perRound = 10

// BenchmarkCommands is the mean command of a steady mix. The bar is 2.5 million a second with 100,000 bids at 1,000 prices.
func BenchmarkCommands(b *testing.B) {
	for _, size := range []struct {
		bids   int
		prices uint64
	}{{100_000, 1000}, {100, 10}, {10_000, 1}, {1000, 1_000_000_000}, {100_000, 1_000_000_000}, {1_000_000, 1000}} {
		for _, d := range designs {
			if d.name == "slice" && size.bids > 100_000 {
				continue // it would take minutes to fill
			}
			b.Run(fmt.Sprintf("bids=%d/prices=%d/%s", size.bids, size.prices, d.name), func(b *testing.B) {
				tr := newTrader(d.make(), size.bids, size.prices)
				for range min(size.bids, 100_000) / perRound { // so that memory is as mixed as in a long run
					tr.round()
				}
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i += perRound {
					tr.round()
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mcommands/s")
				if bk, ok := tr.x.(*book.Book); ok {
					b.ReportMetric(float64(bk.Stats().Prices), "prices")
				}
			})
		}
	}
}

// BenchmarkQueue is a request that waits for a slot: a bid, and a slot that another frees.
func BenchmarkQueue(b *testing.B) {
	for _, prices := range []uint64{1, 10, 1_000_000_000} {
		b.Run(fmt.Sprintf("waiting=1000/prices=%d", prices), func(b *testing.B) {
			var q book.Book
			rng := rand.New(rand.NewPCG(1, 2))
			for range 1000 {
				mustBid(b, &q, 1, 1, rng.Uint64N(prices))
			}
			var fills []book.Fill
			b.ReportAllocs()
			for b.Loop() {
				_, _ = q.Bid(book.Order{Owner: 1, Volume: 1, Price: rng.Uint64N(prices)})
				fills, _ = q.Sell(1, fills[:0])
			}
		})
	}
}

// BenchmarkSweep is a sale that many bids share, per fill.
func BenchmarkSweep(b *testing.B) {
	var bk book.Book
	const bids = 10_000
	fills := make([]book.Fill, 0, bids)
	b.ReportAllocs()
	for i := 0; i < b.N; i += bids {
		b.StopTimer()
		for j := range uint64(bids) {
			mustBid(b, &bk, j, 1, j%1000)
		}
		b.StartTimer()
		fills, _ = bk.Sell(bids, fills[:0])
	}
}

func BenchmarkReprice(b *testing.B) {
	var bk book.Book
	newTrader(&bk, 100_000, 1000)
	rng := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		bk.Reprice(book.ID(1+rng.Uint64N(100_000)), rng.Uint64N(1000))
	}
}

func BenchmarkHash(b *testing.B) {
	var bk book.Book
	newTrader(&bk, 100_000, 1000)
	var sum uint64
	for b.Loop() {
		sum += bk.Hash()
	}
	if sum == 1 {
		b.Fatal()
	}
}

// BenchmarkSnapshot writes and reads 100,000 bids at 1,000 prices.
func BenchmarkSnapshot(b *testing.B) {
	var bk book.Book
	tr := newTrader(&bk, 100_000, 1000)
	for range 20_000 {
		tr.round()
	}
	data, _ := bk.AppendBinary(nil)
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			data, _ = bk.AppendBinary(data[:0])
		}
		b.ReportMetric(float64(len(data))/100_000, "bytes/bid")
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var got book.Book
			if err := got.UnmarshalBinary(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
