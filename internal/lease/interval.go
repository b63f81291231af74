package lease

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/sluicegate/sluice/gcra"
)

// exact is 2⁵³: whole numbers up to it are exact in a float64, which is what a Lua script calculates in.
const exact = 1 << 53

// endless is more microseconds than any debt has.
const endless = exact - 1

// ErrLimit is wrapped by the errors of [NewInterval].
var ErrLimit = errors.New("lease: limit cannot be shared")

// An Interval is a limit as the ledger reckons with it: T, the time one token takes to come back, is P/Q microseconds in lowest terms. The zero
// Interval refuses everything.
type Interval struct {
	P, Q int64
	Size int64 // burst+1
}

// NewInterval returns the interval of a limit. Limits whose T cannot be told exactly within the ledger's 53 bits are an error that wraps
// [ErrLimit]: those of more than 4·10¹² tokens per period in lowest terms.
func NewInterval(l gcra.Limit) (Interval, error) {
	count, period := l.Rate()
	if count == 0 {
		return Interval{}, nil
	}
	g := gcd(int64(period), 1000)
	if count >= exact/2/(1000/g) {
		return Interval{}, fmt.Errorf("%w: %v is too fine a rate", ErrLimit, l)
	}
	return Interval{P: int64(period) / g, Q: count * (1000 / g), Size: l.Burst() + 1}, nil
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// A Span is a length of time: whole microseconds and Rest/Q of one, 0 <= Rest < Q.
type Span struct{ Whole, Rest int64 }

// Times returns n·T, for n from 0 to Size; what is longer than any debt is endless.
func (i Interval) Times(n int64) Span {
	if i.Q == 0 {
		return Span{}
	}
	hi, lo := bits.Mul64(uint64(n), uint64(i.P))
	if hi >= uint64(i.Q) {
		return Span{Whole: endless}
	}
	whole, rest := bits.Div64(hi, lo, uint64(i.Q))
	return Span{Whole: int64(min(whole, endless)), Rest: int64(rest)}
}

// Room returns the longest debt with which a cost of n is allowed; it is negative where there is none.
func (i Interval) Room(n int64) Span {
	switch {
	case i.Q == 0 || n < 0 || n > i.Size:
		return Span{Whole: -1}
	case n == 0:
		return Span{Whole: endless}
	}
	return i.Times(i.Size - n)
}

// Fits returns how many tokens can be spent at once with the given debt, from 0 to Size.
func (i Interval) Fits(debt Span) int64 {
	if i.Q == 0 || i.less(i.Times(i.Size), debt) {
		return 0
	}
	hi, lo := i.parts(debt)
	return i.Size - int64(divUp(hi, lo, uint64(i.P)))
}

// Decision returns what there is to say about a cost of n that met the given debt, as gcra says it; if allowed, debt is the one after.
func (i Interval) Decision(debt Span, n int64, allowed bool) gcra.Decision {
	if i.Q == 0 {
		return gcra.Decision{RetryAfter: gcra.Never}
	}
	d := gcra.Decision{Allowed: allowed, Limit: i.Size, Remaining: i.Fits(debt), ResetAfter: i.duration(debt)}
	room := i.Room(n)
	switch {
	case allowed:
	case room.Whole < 0:
		d.RetryAfter = gcra.Never
	default:
		d.RetryAfter = i.duration(i.minus(debt, room))
	}
	return d
}

// less reports whether a < b.
func (i Interval) less(a, b Span) bool {
	return a.Whole < b.Whole || a.Whole == b.Whole && a.Rest < b.Rest
}

// plus returns a+b.
func (i Interval) plus(a, b Span) Span {
	a.Whole, a.Rest = a.Whole+b.Whole, a.Rest+b.Rest
	if a.Rest >= i.Q {
		a.Whole, a.Rest = a.Whole+1, a.Rest-i.Q
	}
	return a
}

// minus returns a-b, or 0 where that is negative.
func (i Interval) minus(a, b Span) Span {
	if i.less(a, b) {
		return Span{}
	}
	a.Whole, a.Rest = a.Whole-b.Whole, a.Rest-b.Rest
	if a.Rest < 0 {
		a.Whole, a.Rest = a.Whole-1, a.Rest+i.Q
	}
	return a
}

// duration returns s, rounded up to a nanosecond.
func (i Interval) duration(s Span) time.Duration {
	hi, lo := bits.Mul64(uint64(s.Rest), 1000)
	return time.Duration(s.Whole*1000) + time.Duration(divUp(hi, lo, uint64(i.Q)))
}

// parts returns s in units of 1/Q microseconds, as a 128-bit number.
func (i Interval) parts(s Span) (hi, lo uint64) {
	hi, lo = bits.Mul64(uint64(s.Whole), uint64(i.Q))
	lo, carry := bits.Add64(lo, uint64(s.Rest), 0)
	return hi + carry, lo
}

// divUp returns hi:lo divided by d, rounded up; the quotient must fit 64 bits.
func divUp(hi, lo, d uint64) uint64 {
	q, r := bits.Div64(hi, lo, d)
	if r > 0 {
		q++
	}
	return q
}
