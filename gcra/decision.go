package gcra

import (
	"math"
	"math/bits"
	"time"
)

// Never is the RetryAfter of a cost that can never be allowed: one above burst+1, or below 0.
const Never time.Duration = math.MaxInt64

// A Decision is the answer to one request.
type Decision struct {
	// Allowed says whether the request may go ahead. [Limiter.Charge] sets it if the cost fitted.
	Allowed bool
	// Limit is the most that can be spent at once, burst+1.
	Limit int64
	// Remaining is what could be spent at once right after this decision, from 0 to Limit.
	Remaining int64
	// RetryAfter is 0 if Allowed. Otherwise it is the shortest wait after which the same request is allowed if the client sends nothing
	// else meanwhile, or [Never]. After a Charge that did not fit it is the time until the debt is paid.
	RetryAfter time.Duration
	// ResetAfter is the time until the allowance is whole again, if nothing more is spent.
	ResetAfter time.Duration
}

// A State is all that is remembered about one client. The zero State is a client never seen.
//
// The exact theoretical arrival time is the highest Start + k·T, k a whole number, that does not exceed TAT, provided that it lies within a
// nanosecond of it; as T is at least a nanosecond, no two values of k have the same TAT. Where there is none, because the State was left by
// another limit, TAT itself is taken: a change of limit moves a client by less than a nanosecond.
type State struct {
	Start time.Duration // when the present busy period started, since the limiter's start
	TAT   time.Duration // the theoretical arrival time, since the limiter's start, rounded up
}

// Decide is the whole algorithm as a pure function: it decides a request of cost n at the time now for a client in state s, and returns the
// client's next state. Every method of [Limiter] comes down to it; use it to keep states elsewhere, or to simulate.
//
// A cost of 0 is always allowed and changes nothing; a negative one is refused. Times before 0 count as 0, and those after 2⁶¹ ns (73 years)
// as 2⁶¹ ns. If the request is refused the state is returned as it was.
func (l Limit) Decide(s State, now time.Duration, n int64) (next State, d Decision) {
	next, v := l.decide(take, s, clamp(now), n)
	v.write(&d, &l)
	return next, d
}

// Charge is the pure form of [Limiter.Charge].
func (l Limit) Charge(s State, now time.Duration, n int64) (next State, d Decision) {
	next, v := l.decide(charge, s, clamp(now), n)
	v.write(&d, &l)
	return next, d
}

// Refund is the pure form of [Limiter.Refund].
func (l Limit) Refund(s State, now time.Duration, n int64) (next State, d Decision) {
	next, v := l.decide(refund, s, clamp(now), n)
	v.write(&d, &l)
	return next, d
}

func clamp(now time.Duration) int64 { return min(max(int64(now), 0), maxNow) }

// An action is what is to be done with the tokens.
type action uint8

const (
	take   action = iota // spend n if they are there
	charge               // spend n
	refund               // give n back
	peek                 // say what take would say
)

// A verdict is a Decision in three words, which the compiler keeps in registers on the way out. Handing on the five of a Decision from
// function to function, in memory, took half of the time of AllowAt.
type verdict struct {
	wait      time.Duration // 0: allowed
	remaining int64
	reset     time.Duration
}

// write sets d field by field. A composite literal would be put together elsewhere and copied in larger pieces than it was written in, which
// stalls the processor.
func (v verdict) write(d *Decision, l *Limit) {
	d.Allowed = v.wait == 0
	d.Limit = l.size
	d.Remaining = v.remaining
	d.RetryAfter = v.wait
	d.ResetAfter = v.reset
}

func (l *Limit) decide(a action, s State, now, n int64) (State, verdict) {
	switch {
	case l.den == 0:
		return s, verdict{wait: Never}
	case n <= 0 || a == refund:
		return l.decideRest(a, s, now, n)
	case a == take && l.den == 1 && n <= l.size:
		tat, v := l.takeWhole(int64(s.TAT), now, n)
		if v.wait == 0 {
			s = State{Start: later(s, now), TAT: time.Duration(tat)}
		}
		return s, v
	}
	p := l.locate(s, now)
	wait := Never
	if n <= l.size {
		wait = l.wait(p, now, n)
	}
	if wait == 0 && a != peek || a == charge {
		p = l.advance(p, uint64(n))
		s = p.state()
	}
	if a == charge {
		wait = l.wait(p, now, 0)
	}
	return s, l.judge(p, now, wait)
}

// decideRest decides what spends nothing: a refund, and costs of 0 and below.
func (l *Limit) decideRest(a action, s State, now, n int64) (State, verdict) {
	p := l.locate(s, now)
	if a == refund && n > 0 && p.tat > now {
		p = l.retreat(p, now, uint64(n))
		s = p.state()
	}
	if n < 0 && (a == take || a == peek) {
		return s, l.judge(p, now, Never)
	}
	return s, l.judge(p, now, 0)
}

func (l *Limit) judge(p position, now int64, wait time.Duration) verdict {
	return verdict{wait: wait, remaining: l.remaining(p, now), reset: time.Duration(p.tat - now)}
}

// takeWhole is take where T is a whole number of nanoseconds, for n from 1 to size: the common case, in as few steps as there can be
// (BenchmarkAllowAtOneKey). No sum can overflow: n*T <= span <= 2⁶¹, and the debt is at most 2⁶².
func (l *Limit) takeWhole(tat, now, n int64) (int64, verdict) {
	debt := max(min(tat, maxTAT)-now, 0)
	wait := debt + n*int64(l.num) - l.span
	if wait > 0 {
		return tat, verdict{time.Duration(wait), l.whole(l.span - debt), time.Duration(debt)}
	}
	debt += n * int64(l.num)
	return now + debt, verdict{0, l.whole(-wait), time.Duration(debt)}
}

// whole returns how many tokens come back in the given time, if T is a whole number of nanoseconds; none in a negative time.
func (l *Limit) whole(room int64) int64 { return int64(uint64(max(room, 0)) / l.num) }

// later returns the start of the busy period of a client in state s that spends something at now.
func later(s State, now int64) time.Duration {
	if int64(s.TAT) <= now {
		return time.Duration(now)
	}
	return s.Start
}

// A position is an exact theoretical arrival time that is not in the past: tat - short/den nanoseconds, with short < den.
type position struct {
	start, tat int64
	short      uint64
	loose      bool // tat isn't start plus a multiple of T: the next advance has to start anew at tat
}

func (p position) state() State {
	return State{Start: time.Duration(p.start), TAT: time.Duration(p.tat)}
}

// locate returns max(TAT, now), exactly.
func (l *Limit) locate(s State, now int64) position {
	start, tat := int64(s.Start), min(int64(s.TAT), maxTAT)
	switch {
	case tat <= now:
		return position{start: now, tat: now}
	case l.den == 1 || tat == maxTAT:
		return position{start: start, tat: tat}
	case start < 0 || start > tat:
		return position{start: start, tat: tat, loose: true}
	}
	hi, lo := bits.Mul64(uint64(tat-start), l.den)
	// The quotient is at most tat-start, because num >= den, so Div64 cannot overflow.
	_, short := bits.Div64(hi, lo, l.num)
	if short >= l.den {
		return position{start: start, tat: tat, loose: true}
	}
	return position{start: start, tat: tat, short: short}
}

// wait returns how long after now n more tokens fit, n from 0 to size, rounded up to a nanosecond.
func (l *Limit) wait(p position, now, n int64) time.Duration {
	if l.den == 1 {
		return time.Duration(max(0, p.tat-now-(l.span-n*int64(l.num))))
	}
	hi, lo := l.debt(p, now)
	roomHi, roomLo := bits.Mul64(uint64(l.size-n), l.num)
	lo, borrow := bits.Sub64(lo, roomLo, 0)
	hi, borrow = bits.Sub64(hi, roomHi, borrow)
	if borrow != 0 {
		return 0
	}
	q, _ := divUp(hi, lo, l.den) // at most p.tat-now, so it fits
	return time.Duration(q)
}

// remaining returns how many tokens fit right now.
func (l *Limit) remaining(p position, now int64) int64 {
	if l.den == 1 {
		return l.whole(l.span - (p.tat - now))
	}
	if p.tat-now >= l.span {
		return 0
	}
	hi, lo := l.debt(p, now)
	used, _ := divUp(hi, lo, l.num) // at most size, because the debt is below span*den
	return l.size - int64(used)
}

// debt returns the time from now to p in units of 1/den nanoseconds, as a 128-bit number. Neither sign nor size can overflow: p is after now
// unless short is 0, and the product is below 2⁶²·2⁶³.
func (l *Limit) debt(p position, now int64) (hi, lo uint64) {
	hi, lo = bits.Mul64(uint64(p.tat-now), l.den)
	lo, borrow := bits.Sub64(lo, p.short, 0)
	return hi - borrow, lo
}

// advance adds n intervals to p, up to maxTAT; n is at least 1.
func (l *Limit) advance(p position, n uint64) position {
	if p.loose {
		p.start, p.loose = p.tat, false
	}
	hi, lo := bits.Mul64(n, l.num)
	lo, borrow := bits.Sub64(lo, p.short, 0) // stays positive: num >= den > short
	whole, rest, ok := l.nanoseconds(hi-borrow, lo)
	if !ok || whole >= uint64(maxTAT-p.tat) {
		p.tat, p.short = maxTAT, 0
		return p
	}
	p.tat, p.short = p.tat+int64(whole), 0
	if rest > 0 {
		p.tat, p.short = p.tat+1, l.den-rest
	}
	return p
}

// retreat takes n intervals from p, but goes neither before now nor before the start of the busy period: at both the allowance was whole.
// A debt that reached maxTAT stays: what it was is not known.
func (l *Limit) retreat(p position, now int64, n uint64) position {
	if p.tat == maxTAT {
		return p
	}
	floor := max(now, p.start)
	hi, lo := bits.Mul64(n, l.num)
	lo, carry := bits.Add64(lo, p.short, 0)
	whole, rest, ok := l.nanoseconds(hi+carry, lo)
	if !ok || whole >= uint64(max(0, p.tat-floor)) {
		return position{start: floor, tat: floor}
	}
	p.tat, p.short = p.tat-int64(whole), rest
	return p
}

// nanoseconds splits hi:lo, in units of 1/den nanoseconds, into whole ones and the rest; ok is false where they don't fit 64 bits.
func (l *Limit) nanoseconds(hi, lo uint64) (whole, rest uint64, ok bool) {
	switch {
	case hi >= l.den:
		return 0, 0, false
	case l.den == 1:
		return lo, 0, true
	}
	whole, rest = bits.Div64(hi, lo, l.den)
	return whole, rest, true
}
