package gcra

import (
	"math"
	"sync/atomic"
	"time"
)

// dead is the TAT of a cell that was evicted. No live cell ever has it again, so whoever still holds the cell fails to change it.
const dead = math.MinInt64

// A cell is the [State] of one client, in two words that are changed without locks. Only tat decides: every change of state is one
// compare-and-swap of it.
//
//	tat >= 0      the TAT; start is as in State
//	tat == ^t     idle, and the next busy period starts at t >= 0; start may still have to become t
//	tat == dead   evicted
//
// Why ^t: a busy period begins by changing both words. If start were simply stored before tat, this could happen to a client whose last TAT
// was 50:
//
//	A at 100: idle, stores start=100
//	B at 101: idle, stores start=101
//	A:        CAS tat 50 -> 100+T succeeds, but now belongs to the start 101
//
// With ^t the start of the next period is fixed in the same word that everybody swaps; whoever sees it can finish the job (see load). start
// only grows, so that a late helper cannot put an old one back.
//
// Limits with a T of whole nanoseconds don't need start, and leave it alone.
type cell struct {
	tat   atomic.Int64
	start atomic.Int64
}

// decide applies a to the cell; ok is false, and nothing was decided, if the cell is dead.
func (c *cell) decide(a action, l *Limit, now, n int64) (v verdict, ok bool) {
	for {
		word := c.tat.Load()
		if a == take && word >= 0 && l.den == 1 && 0 < n && n <= l.size { // needs only the one word
			tat, v := l.takeWhole(word, now, n)
			if v.wait != 0 || c.tat.CompareAndSwap(word, tat) {
				return v, true
			}
			continue
		}
		if word == dead {
			return verdict{}, false
		}
		s := c.load(word)
		next, v := l.decide(a, s, now, n)
		if next == s || c.swap(word, s, next, l) {
			return v, true
		}
	}
}

// load returns the state that goes with the tat word. It may mix two periods if the cell changes meanwhile; then the swap fails, unless the
// client was meanwhile idle, came back and was refunded to the very nanosecond seen here; even that shifts its TAT by less than one.
func (c *cell) load(word int64) State {
	if word >= 0 {
		return State{Start: time.Duration(c.start.Load()), TAT: time.Duration(word)}
	}
	t := ^word
	for s := c.start.Load(); s < t; s = c.start.Load() {
		c.start.CompareAndSwap(s, t)
	}
	return State{Start: time.Duration(t), TAT: time.Duration(t)}
}

// swap changes the state from s, which was loaded with word, to next, and reports whether it was still the same.
func (c *cell) swap(word int64, s, next State, l *Limit) bool {
	if next.Start == s.Start || l.den == 1 {
		return c.tat.CompareAndSwap(word, int64(next.TAT))
	}
	fresh := ^int64(next.Start)
	if !c.tat.CompareAndSwap(word, fresh) {
		return false
	}
	c.load(fresh)
	return c.tat.CompareAndSwap(fresh, int64(next.TAT))
}

// kill makes the cell dead if its TAT is still tat, and reports whether it did.
func (c *cell) kill(tat int64) bool {
	word := c.tat.Load()
	return word != dead && plain(word) == tat && c.tat.CompareAndSwap(word, dead)
}

// plain returns the TAT of a word that isn't dead.
func plain(word int64) int64 {
	if word < 0 {
		return ^word
	}
	return word
}
