package coalesce

import (
	"math"
	"sync"
	"time"
)

// latency estimates the median and the 99th percentile of call times from one call after the other, in a few words. It moves each estimate
// up or down, by steps such that p is where the ups and the downs cancel out: up by p, down by 1−p, times a step size. It works on
// logarithms, where call times are spread about evenly, and the step follows their spread. (Stochastic approximation of quantiles: Tierney,
// "A space-efficient recursive procedure for estimating a quantile of an unknown distribution", SIAM J. Sci. Stat. Comput. 4, 1983.)
//
// It follows change within some 20 calls at the median, and some 10 upward but hundreds downward at the 99th percentile. It is not safe for
// concurrent use.
type latency struct {
	p50, p99 float64 // logarithms of nanoseconds
	spread   float64 // decayed mean of the distance from the median
	n        uint32  // calls, saturating
}

const (
	leastStep   = 0.1  // relative to the spread, when many calls were seen
	leastSpread = 0.02 // 2 %: never take call times for constant, or a change would not be followed
	startSpread = 0.3
)

// add learns one call time. A fresh estimate begins halfway from prior, if that knows anything.
func (l *latency) add(d time.Duration, prior latency) {
	x := math.Log(float64(max(d, 1)))
	if l.n == 0 {
		*l = latency{p50: x, p99: x + startSpread, spread: startSpread, n: 1}
		if prior.n > 0 {
			l.p50 = (x + prior.p50) / 2
			l.p99 = max(x, (x+prior.p99)/2)
			l.spread = max(prior.spread, math.Abs(x-prior.p50)/2)
		}
		return
	}
	l.n = min(l.n+1, 1<<20)
	weight := max(leastStep, 1/float64(l.n))
	l.spread = max(leastSpread, l.spread+(math.Abs(x-l.p50)-l.spread)*weight)
	step := l.spread * max(leastStep, 2/float64(l.n))
	l.p50 += max(-math.Abs(x-l.p50), min(math.Abs(x-l.p50), toward(x, l.p50, 0.5, step))) // never past a time that is always the same
	l.p99 += toward(x, l.p99, 0.99, 4*step)
	l.p99 = max(l.p99, l.p50)
}

// toward returns the step of the estimate q of quantile p.
func toward(x, q, p, step float64) float64 {
	if x > q {
		return step * p
	}
	return -step * (1 - p)
}

// quantiles returns the estimates; 0 if no call was seen.
func (l *latency) quantiles() (p50, p99 time.Duration) {
	if l.n == 0 {
		return 0, 0
	}
	return time.Duration(math.Exp(l.p50)), time.Duration(math.Exp(l.p99))
}

// sharedLatency is a latency for concurrent use.
type sharedLatency struct {
	mu sync.Mutex
	l  latency
}

func (s *sharedLatency) add(d time.Duration) {
	s.mu.Lock()
	s.l.add(d, latency{})
	s.mu.Unlock()
}

func (s *sharedLatency) get() latency {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.l
}
