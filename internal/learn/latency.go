package learn

import (
	"math"
	"math/rand/v2"
	"time"
)

// Latency says how long calls take: always Median; log-normally around it; or more the more requests come. It depends on when the request came that
// opened the call's slot, and not on when the call begins, so that it is the same for all policies, and a schedule can be made that knows it.
//
// A log-normal latency drifts: an upstream is now slow and now fast, for a second or so. (Its logarithm is an Ornstein-Uhlenbeck process.) If each
// call's were drawn anew, a schedule that knew them would do nothing but wait for quick ones, and be no measure for others.
type Latency struct {
	Median   time.Duration
	Sigma    float64 // standard deviation of the logarithm; 0: none
	Capacity float64 // at this many requests a second, over the last second, calls take twice as long, and so on; 0: never
}

// calls appends the time of a call for each arrival.
func (l Latency) calls(dst, times []time.Duration, r *rand.Rand) []time.Duration {
	drift, load, last := r.NormFloat64(), 0.0, 0.0
	for _, t := range times {
		now := t.Seconds()
		stays := math.Exp(last - now) // of what was a while ago, on a scale of a second
		last = now
		took := float64(l.Median)
		if l.Sigma > 0 {
			drift = drift*stays + r.NormFloat64()*math.Sqrt(1-stays*stays)
			took *= math.Exp(l.Sigma * drift)
		}
		if l.Capacity > 0 {
			load = load*stays + 1
			took *= 1 + load/l.Capacity
		}
		dst = append(dst, time.Duration(took))
	}
	return dst
}
