package coalesce

import (
	"math"
	"time"
)

// arrivals remembers the arrivals for one key in a few words: for each time scale a count in which an arrival that is t ago counts exp(−t/scale).
// Divided by the scale that is a rate. It is not safe for concurrent use.
type arrivals struct {
	counts [3]float64
	gap    float64 // decayed mean of the logarithms of the gaps, in nanoseconds; 0: there was none
	last   time.Duration
	some   bool
}

// latestGaps is how many of the latest gaps State.Gap is about.
const latestGaps = 8

func scales() [3]time.Duration { return [3]time.Duration{ShortScale, MiddleScale, LongScale} }

// since returns the time from the last arrival to now.
func (a *arrivals) since(now time.Duration) time.Duration {
	if !a.some {
		return Never
	}
	return max(0, now-a.last)
}

// at returns the counts as of now.
func (a *arrivals) at(now time.Duration) [3]float64 {
	c := a.counts
	if t := now - a.last; t > 0 && a.some {
		short := math.Exp(-float64(t) / float64(ShortScale))
		middle := math.Exp(-float64(t) / float64(MiddleScale))
		long := math.Exp(-float64(t) / float64(LongScale))
		c[0], c[1], c[2] = c[0]*short, c[1]*middle, c[2]*long
	}
	return c
}

// add counts an arrival, and returns what was known just before.
func (a *arrivals) add(now time.Duration) (before arrivals) {
	before = *a
	a.count(now)
	return before
}

// count counts an arrival, and returns the counts just before it.
func (a *arrivals) count(now time.Duration) (before [3]float64) {
	now = max(now, a.last)
	c := a.at(now)
	if a.some {
		a.follow(now - a.last)
	}
	a.counts = [3]float64{c[0] + 1, c[1] + 1, c[2] + 1}
	a.last, a.some = now, true
	return c
}

// follow moves the mean gap towards this one.
func (a *arrivals) follow(gap time.Duration) {
	x := math.Log(float64(max(gap, time.Microsecond)))
	if a.gap == 0 {
		a.gap = x
		return
	}
	a.gap += (x - a.gap) / latestGaps
}

// meanGap returns State.Gap.
func (a *arrivals) meanGap() time.Duration {
	if a.gap == 0 {
		return 0
	}
	return time.Duration(math.Exp(a.gap))
}

// rates returns the arrivals per second as of now.
func (a *arrivals) rates(now time.Duration) [3]float64 { return perSecond(a.at(now)) }

// perSecond makes counts rates.
func perSecond(c [3]float64) [3]float64 {
	for i, s := range scales() {
		c[i] /= s.Seconds()
	}
	return c
}
