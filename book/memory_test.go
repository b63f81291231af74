package book_test

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/sluicegate/sluice/book"
)

// heapInUse returns the bytes of live objects.
func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	for name, prices := range map[string]uint64{"few prices": 10, "a price for each": 1 << 40} {
		tr := newTrader(new(book.Book), 2000, prices)
		for range 2000 {
			tr.round()
		}
		if n := testing.AllocsPerRun(1000, tr.round); n != 0 {
			t.Errorf("%s: %v allocations in 10 commands", name, n)
		}
	}
}

// filled returns a book with so many bids.
func filled(t testing.TB, bids, prices uint64) *book.Book {
	t.Helper()
	b := new(book.Book)
	for i := range bids {
		mustBid(t, b, i, 1, i*0x9e3779b97f4a7c15%prices)
	}
	return b
}

func TestMemoryPerBid(t *testing.T) {
	const bids = 100_000
	for _, c := range []struct {
		prices uint64
		most   float64 // bytes for each bid
	}{{1, 64}, {1000, 66}, {1 << 60, 137}} {
		before := heapInUse()
		b := filled(t, bids, c.prices)
		got := float64(heapInUse()-before) / bids
		runtime.KeepAlive(b)
		t.Logf("%d bids at up to %d prices: %.1f bytes each", bids, c.prices, got)
		if got > c.most {
			t.Errorf("more than %v", c.most)
		}
	}
}

// TestMemoryFollowsTheBook fills a book and empties it in three ways, none of which leaves holes behind.
func TestMemoryFollowsTheBook(t *testing.T) {
	const bids = 100_000
	ways := map[string]func(b *book.Book, n int){
		"served": func(b *book.Book, n int) { mustSell(t, b, uint64(n)) },
		"cancelled in order": func(b *book.Book, n int) {
			for id := book.ID(bids - b.Len() + 1); n > 0; id, n = id+1, n-1 {
				b.Cancel(id)
			}
		},
		"cancelled here and there": func(b *book.Book, n int) {
			for rng := rand.New(rand.NewPCG(1, 2)); n > 0; {
				if _, ok := b.Cancel(book.ID(1 + rng.Uint64N(bids))); ok {
					n--
				}
			}
		},
	}
	for name, drain := range ways {
		t.Run(name, func(t *testing.T) {
			before := heapInUse()
			b := filled(t, bids, 1<<60)
			full := heapInUse() - before
			for _, left := range []int{bids / 10, bids / 100, 0} {
				drain(b, b.Len()-left)
				used := heapInUse() - before
				t.Logf("%d bids: %d bytes, full: %d", left, used, full)
				if most := 4*full*int64(left)/bids + 48<<10; used > most {
					t.Errorf("%d bytes for %d bids, want %d at most", used, left, most)
				}
			}
			runtime.KeepAlive(b)
		})
	}
}
