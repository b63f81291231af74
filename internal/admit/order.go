package admit

import (
	"math/bits"
	"time"

	"github.com/sluicegate/sluice/internal/config"
)

// order says what a request bids in the book. Comparable: two that are equal bid the same.
type order struct {
	fifo bool

	// By ageing, waiting for period raises a price by count; without it count is 0. Time is counted in steps of so many nanoseconds.
	count, period, step uint64
}

func newOrder(q *config.Queue) order {
	o := order{fifo: q.Order == config.OrderFIFO}
	if q.Age.Count > 0 {
		o.count, o.period = uint64(q.Age.Count), uint64(q.Age.Period)
		o.step = o.period>>30/o.count + 1
	}
	return o
}

const (
	// maxAgeingPrice is the highest price that is told from those above it while prices rise.
	maxAgeingPrice = 1<<32 - 1
	// zeroHour is what a price of 0 bids at the start of the gate. It bids less later, for the next 146 years.
	zeroHour = 1 << 62
)

// bid is the price in the book of a request that came so long after the gate's start.
//
// Let a price p rise by c in each time t. A request that came at a bids p+(now−a)·c/t, and the request that bids most now is always the one
// with the highest p·t/c−a. So that is its bid: how much earlier than it did it would have had to come with a price of 0. It is in whole
// nanoseconds, rounded down, which is exact but for requests that come within the same nanosecond of that order, and those are taken in the
// order in which they came.
//
// Where prices rise slowly, so that the head start of a high one takes more than 62 bits, time is counted in longer steps. With the step
// above the head start of the highest price is less than 2³²·2³⁰ steps, and a step is worth less than one price in 2³⁰.
func (o order) bid(price int64, arrived time.Duration) uint64 {
	p := uint64(max(price, 0))
	switch {
	case o.fifo:
		return 0
	case o.count == 0:
		return p
	}
	hi, lo := bits.Mul64(min(p, maxAgeingPrice), o.period)
	ahead, _ := bits.Div64(hi, lo, o.count*o.step) // count·step is at most period/2³⁰+count
	return zeroHour + ahead - uint64(arrived)/o.step
}
