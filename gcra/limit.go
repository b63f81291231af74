package gcra

import (
	"errors"
	"fmt"
	"math/bits"
	"time"
)

// Bounds of the time line, chosen so that no sum of two of them overflows an int64.
const (
	maxNow  = 1 << 61 // latest instant told apart: 73 years after the start; later ones count as this one
	maxSpan = 1 << 61 // longest time in which an empty allowance may fill up
	maxTAT  = 1 << 62 // where the debt of a client stops growing
)

// ErrLimit is wrapped by every error of [NewLimit].
var ErrLimit = errors.New("gcra: bad limit")

// A Limit is a sustained rate and a burst above it. It is an immutable value, made by [NewLimit]; two limits are equal (==) if they always
// decide alike. The zero Limit refuses everything.
type Limit struct {
	num, den uint64 // T, the time one token takes to come back, is num/den nanoseconds, in lowest terms; num >= den
	size     int64  // burst+1, the tokens of a whole allowance
	span     int64  // size*T in nanoseconds, rounded up
}

// NewLimit returns the limit of count tokens per period with the given burst: an idle client may spend burst+1 at once.
//
// The rate is at least one per 73 years and at most 10⁹ per second (count must not exceed the nanoseconds of period), burst is at least 0, and
// an empty allowance must fill up within 73 years: (burst+1)·period/count <= 2⁶¹ ns. Anything else is an error that wraps [ErrLimit].
func NewLimit(count int64, period time.Duration, burst int64) (Limit, error) {
	switch {
	case count < 1:
		return Limit{}, fmt.Errorf("%w: count is %d, must be at least 1", ErrLimit, count)
	case period < 1:
		return Limit{}, fmt.Errorf("%w: period is %v, must be positive", ErrLimit, period)
	case count > int64(period):
		return Limit{}, fmt.Errorf("%w: %d per %v is faster than 10⁹ per second", ErrLimit, count, period)
	case burst < 0 || burst >= maxSpan:
		return Limit{}, fmt.Errorf("%w: burst is %d, must be from 0 to 2⁶¹-1", ErrLimit, burst)
	}
	g := gcd(uint64(count), uint64(period))
	l := Limit{num: uint64(period) / g, den: uint64(count) / g, size: burst + 1}
	hi, lo := bits.Mul64(uint64(l.size), l.num)
	span, exact := divUp(hi, lo, l.den)
	if !exact || span > maxSpan {
		return Limit{}, fmt.Errorf("%w: a burst of %d at %d per %v takes over 73 years to come back", ErrLimit, burst, count, period)
	}
	l.span = int64(span)
	return l, nil
}

// MustLimit is [NewLimit] for limits written in the program; it panics where NewLimit returns an error.
func MustLimit(count int64, period time.Duration, burst int64) Limit {
	l, err := NewLimit(count, period, burst)
	if err != nil {
		panic(err)
	}
	return l
}

// Burst returns how many requests may come at once beyond the first; -1 for the zero Limit.
func (l Limit) Burst() int64 { return l.size - 1 }

// Rate returns the sustained rate in lowest terms: count tokens per period. Both are 0 for the zero Limit.
func (l Limit) Rate() (count int64, period time.Duration) {
	return int64(l.den), time.Duration(l.num)
}

// Window returns the time in which an empty allowance fills up, (burst+1)·period/count, rounded up to a nanosecond.
func (l Limit) Window() time.Duration { return time.Duration(l.span) }

// String renders the limit with its rate in lowest terms, such as "7 per 1s, burst 2".
func (l Limit) String() string {
	if l.den == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%d per %v, burst %d", l.den, time.Duration(l.num), l.size-1)
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// divUp returns the 128-bit number hi:lo divided by d, rounded up; ok is false where that does not fit 64 bits.
func divUp(hi, lo, d uint64) (q uint64, ok bool) {
	if hi >= d {
		return 0, false
	}
	q, r := bits.Div64(hi, lo, d)
	if r == 0 {
		return q, true
	}
	return q + 1, q+1 != 0
}
