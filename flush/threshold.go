package flush

import (
	"math"
	"time"

	"github.com/sluicegate/sluice/coalesce"
)

// Threshold serves a slot as soon as it has the number of waiters that is best at the rate at which requests for its key come (see [Best] and
// [BestJoining]). A CallCost of 0 or less means at once.
//
// The rate is taken from the shortest time scale that has seen enough arrivals. Silence is news, too: if nothing came for a time t, the rate is
// taken to be at most 3/t, because at a higher rate a silence like that has a chance of less than 5 %. So what a slot hopes for gets less
// while nothing comes, and a request that comes after a long silence doesn't wait.
type Threshold struct {
	CallCost time.Duration
}

// enough arrivals, decayed, make a rate known to some 25 %, and the best size, which goes with its square root, to half of that.
const enough = 8

// silence is how many arrivals are expected in the longest silence that a rate is thought to allow: exp(−3) is 5 %.
const silence = 3

// Decide implements [coalesce.Policy].
func (p Threshold) Decide(s coalesce.State) coalesce.Decision {
	rate := p.rate(s)
	size := float64(s.Size)
	if size >= p.best(s, rate) {
		return coalesce.Decision{Serve: true}
	}
	// Without another arrival, the rate goes down to fits when this much time has passed since the last one.
	fits := p.rateFor(s, size)
	if fits <= 0 {
		return coalesce.Decision{}
	}
	quiet := time.Duration(min(math.Ceil(silence/fits*1e9), math.MaxInt64/2))
	if s.Arrival {
		return when(max(1, quiet))
	}
	return when(max(1, quiet-s.SinceArrival))
}

// best returns n* for the state.
func (p Threshold) best(s coalesce.State, rate float64) float64 {
	if s.Relaxed {
		return BestJoining(rate, p.CallCost, s.LatencyP50)
	}
	return float64(Best(rate, p.CallCost))
}

// rate returns the arrivals per second to be expected.
func (p Threshold) rate(s coalesce.State) float64 {
	scales := [...]time.Duration{coalesce.ShortScale, coalesce.MiddleScale, coalesce.LongScale}
	rate := s.Rates[len(scales)-1]
	for i, scale := range scales {
		if s.Rates[i]*scale.Seconds() >= enough {
			rate = s.Rates[i]
			break
		}
	}
	if s.SinceArrival > 0 {
		rate = min(rate, silence/s.SinceArrival.Seconds())
	}
	return rate
}

// rateFor returns the highest rate per second below which a slot of that size is served.
func (p Threshold) rateFor(s coalesce.State, size float64) float64 {
	cost, length := p.CallCost.Seconds(), s.LatencyP50.Seconds()
	if !s.Relaxed {
		return size * (size + 1) / (2 * cost)
	}
	// √(2κ+λL) − λL = n has two solutions, of which this is the lower; written so that L may be 0.
	b := 2*cost + length - 2*size*length
	root := math.Sqrt(max(0, b*b-4*size*size*length*length))
	if b+root <= 0 {
		return 0
	}
	return 2 * size * size / (b + root)
}

// Best returns the number of waiters that is best to serve if requests come at random, rate of them per second, and can't join a call in
// flight: the least n with n(n+1) ≥ 2κ, κ being rate × callCost. It is at least 1.
func Best(rate float64, callCost time.Duration) int {
	twice := 2 * rate * callCost.Seconds()
	if !(twice > 2) {
		return 1
	}
	if twice > 1e18 {
		return 1e9
	}
	n := math.Ceil((math.Sqrt(1+4*twice) - 1) / 2)
	for (n-1)*n >= twice { // the root may be off by a rounding error, on either side
		n--
	}
	for n*(n+1) < twice {
		n++
	}
	return int(n)
}

// BestJoining returns the same if requests join a call in flight, which takes length: max(1, √(2κ+λL) − λL). It isn't a whole number: a slot
// that has as many or more is served.
func BestJoining(rate float64, callCost, length time.Duration) float64 {
	during := rate * length.Seconds()
	n := math.Sqrt(2*rate*callCost.Seconds()+during) - during
	if !(n > 1) {
		return 1
	}
	return n
}
