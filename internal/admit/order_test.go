package admit

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/rate"
)

// headStart is by how much, in nanoseconds, a request is ahead of one that bids 0 at the start: price·period/count − arrived, exactly.
func headStart(q *config.Queue, price int64, arrived time.Duration) *big.Rat {
	r := new(big.Rat).SetFrac(big.NewInt(int64(q.Age.Period)), big.NewInt(q.Age.Count))
	r.Mul(r, new(big.Rat).SetInt64(price))
	return r.Sub(r, new(big.Rat).SetInt64(int64(arrived)))
}

// The bids of any two requests are in the order of their exact head starts, unless these differ by less than a step. A step is a nanosecond,
// or, where prices rise slowly, less than a billionth of a price.
func TestBidsAreInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := &config.Queue{Order: config.OrderPrice, Age: config.Ageing{Rate: rate.Rate{
			Count:  rapid.Int64Range(1, 1<<62).Draw(t, "count"),
			Period: time.Duration(rapid.Int64Range(1, 1<<62).Draw(t, "period")),
		}}}
		o := newOrder(q)
		price := rapid.Int64Range(0, maxAgeingPrice)
		arrived := rapid.Int64Range(0, int64(100*365*24*time.Hour))
		if rapid.Bool().Draw(t, "near") {
			arrived = rapid.Int64Range(0, int64(o.step)*4)
			price = rapid.Int64Range(0, 5)
		}
		p1, p2 := price.Draw(t, "p1"), price.Draw(t, "p2")
		a1, a2 := time.Duration(arrived.Draw(t, "a1")), time.Duration(arrived.Draw(t, "a2"))
		ahead := new(big.Rat).Sub(headStart(q, p1, a1), headStart(q, p2, a2))
		step := new(big.Rat).SetInt64(int64(o.step))
		b1, b2 := o.bid(p1, a1), o.bid(p2, a2)
		switch {
		case ahead.Cmp(step) >= 0 && b1 <= b2, ahead.Cmp(step.Neg(step)) <= 0 && b1 >= b2:
			t.Fatalf("bids %d and %d for head starts that differ by %s ns", b1, b2, ahead.FloatString(3))
		case o.step == 1 && ahead.Sign() > 0 && b1 < b2, o.step == 1 && ahead.Sign() < 0 && b1 > b2:
			t.Fatalf("bids %d and %d against the order of head starts that differ by %s ns", b1, b2, ahead.FloatString(3))
		}
		onePrice := new(big.Rat).SetFrac(big.NewInt(int64(q.Age.Period)), big.NewInt(q.Age.Count))
		if o.step > 1 && onePrice.Cmp(new(big.Rat).SetInt64(int64(o.step-1)<<30)) < 0 {
			t.Fatalf("a step of %d ns where a price is worth %s", o.step, onePrice.FloatString(0))
		}
	})
}

func TestBidsWithoutAgeing(t *testing.T) {
	const most = 1<<63 - 1
	byPrice := newOrder(&config.Queue{Order: config.OrderPrice})
	for price, want := range map[int64]uint64{-1: 0, 0: 0, 1: 1, most: most} {
		if got := byPrice.bid(price, time.Hour); got != want {
			t.Errorf("%d bids %d", price, got)
		}
	}
	age := config.Ageing{Rate: rate.Rate{Count: 1, Period: time.Second}}
	if fifo := newOrder(&config.Queue{Order: config.OrderFIFO, Age: age}); fifo.bid(5, 0) != fifo.bid(0, time.Hour) {
		t.Error("prices count in the order of arrival")
	}
	o := newOrder(&config.Queue{Order: config.OrderPrice, Age: age})
	if o.bid(most, 0) != o.bid(maxAgeingPrice, 0) || o.bid(maxAgeingPrice, 0) <= o.bid(maxAgeingPrice-1, 0) {
		t.Error("the highest price is not where it is said to be")
	}
}
