package learn

import (
	"math"
	"math/rand/v2"
	"time"
)

// Latency says how long calls take: always Median; spread log-normally around it; or more the more requests come. How long a call takes depends on which
// request opened its slot, and not on when it begins, so that it is the same for all policies, and a schedule can be made that knows it.
type Latency struct {
	Median   time.Duration
	Sigma    float64 // standard deviation of the logarithm; 0: none
	Capacity float64 // at this many requests a second, over the last second, calls take twice as long, and so on; 0: never
}

// calls appends the time of a call for each arrival.
func (l Latency) calls(dst, times []time.Duration, r *rand.Rand) []time.Duration {
	var load, last float64
	for _, t := range times {
		took := float64(l.Median)
		if l.Sigma > 0 {
			took *= math.Exp(l.Sigma * r.NormFloat64())
		}
		if l.Capacity > 0 {
			now := t.Seconds()
			load = load*math.Exp(last-now) + 1
			last = now
			took *= 1 + load/l.Capacity
		}
		dst = append(dst, time.Duration(took))
	}
	return dst
}
