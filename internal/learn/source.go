package learn

import (
	"math"
	"math/rand/v2"
	"time"
)

// A Source says when requests come. It is a value without state: the same random numbers make the same times.
type Source interface {
	// Times appends n times, ascending, from 0 on; fewer if there are no more, which only a recording has.
	Times(dst []time.Duration, n int, r *rand.Rand) []time.Duration
	// String returns what Parse understands.
	String() string
}

// Poisson is random arrivals: those of many clients who know nothing of each other.
type Poisson struct {
	Rate float64 // per second
}

// Times implements [Source].
func (p Poisson) Times(dst []time.Duration, n int, r *rand.Rand) []time.Duration {
	at := 0.0
	for range n {
		at += r.ExpFloat64() / p.Rate
		dst = append(dst, seconds(at))
	}
	return dst
}

// Modulated is random arrivals whose rate jumps: bursts and pauses (a Markov-modulated Poisson process). It stays in a state for a random
// time and goes on to any of the others, each as likely.
type Modulated []State

// A State of [Modulated].
type State struct {
	Rate float64       // per second; 0: no arrivals
	Stay time.Duration // for that long in the mean
}

// Times implements [Source].
func (m Modulated) Times(dst []time.Duration, n int, r *rand.Rand) []time.Duration {
	at, state := 0.0, r.IntN(len(m))
	until := r.ExpFloat64() * m[state].Stay.Seconds()
	for n > 0 {
		next := at + r.ExpFloat64()/m[state].Rate // +Inf at rate 0
		if next > until {
			at = until // random arrivals have no memory
			state = (state + 1 + r.IntN(max(1, len(m)-1))) % len(m)
			until += r.ExpFloat64() * m[state].Stay.Seconds()
			continue
		}
		at = next
		dst = append(dst, seconds(at))
		n--
	}
	return dst
}

// Diurnal is random arrivals whose rate goes up and down as a sine.
type Diurnal struct {
	Rate   float64 // in the mean, per second
	Depth  float64 // from 0 to 1: the rate goes from (1−Depth) to (1+Depth) times the mean
	Period time.Duration
}

// Times implements [Source].
func (d Diurnal) Times(dst []time.Duration, n int, r *rand.Rand) []time.Duration {
	phase, turn := 2*math.Pi*r.Float64(), 2*math.Pi/d.Period.Seconds()
	return thin(dst, n, r, d.Rate*(1+d.Depth), func(at float64) float64 { return d.Rate * (1 + d.Depth*math.Sin(phase+turn*at)) })
}

// Flash is calm traffic into which crowds break: at random times the rate jumps to Peak, and decays to Rate again.
type Flash struct {
	Rate, Peak float64       // per second
	Every      time.Duration // between crowds, in the mean
	Decay      time.Duration // after this time the crowd is down to 1/e of itself
}

// Times implements [Source].
func (f Flash) Times(dst []time.Duration, n int, r *rand.Rand) []time.Duration {
	every, decay := f.Every.Seconds(), f.Decay.Seconds()
	began, next := math.Inf(-1), r.ExpFloat64()*every
	return thin(dst, n, r, max(f.Peak, f.Rate), func(at float64) float64 {
		for at >= next {
			began = next
			next += r.ExpFloat64() * every
		}
		return f.Rate + (f.Peak-f.Rate)*math.Exp((began-at)/decay)
	})
}

// thin appends n arrivals at a rate that changes, by leaving some out of random arrivals at the highest rate. (Lewis and Shedler, "Simulation of
// nonhomogeneous Poisson processes by thinning", Naval Research Logistics Quarterly 26, 1979.) The rate is asked at ascending times.
func thin(dst []time.Duration, n int, r *rand.Rand, highest float64, rate func(at float64) float64) []time.Duration {
	at := 0.0
	for n > 0 {
		at += r.ExpFloat64() / highest
		if r.Float64()*highest < rate(at) {
			dst = append(dst, seconds(at))
			n--
		}
	}
	return dst
}

// Pareto has gaps with a heavy tail: most are short, a few are very long. They are at least so long that the mean rate is Rate.
type Pareto struct {
	Rate  float64 // per second
	Alpha float64 // above 1; the nearer to 1 the heavier the tail, and below 2 the variance is infinite
}

// Times implements [Source].
func (p Pareto) Times(dst []time.Duration, n int, r *rand.Rand) []time.Duration {
	least := (p.Alpha - 1) / (p.Alpha * p.Rate)
	at := 0.0
	for range n {
		at += least * math.Pow(1-r.Float64(), -1/p.Alpha)
		dst = append(dst, seconds(at))
	}
	return dst
}

// LogNormal has gaps whose logarithm is normal.
type LogNormal struct {
	Rate  float64 // per second
	Sigma float64 // standard deviation of the logarithm of a gap
}

// Times implements [Source].
func (l LogNormal) Times(dst []time.Duration, n int, r *rand.Rand) []time.Duration {
	median := math.Exp(-l.Sigma*l.Sigma/2) / l.Rate
	at := 0.0
	for range n {
		at += median * math.Exp(l.Sigma*r.NormFloat64())
		dst = append(dst, seconds(at))
	}
	return dst
}

// longest keeps times far from where sums of them would overflow: 100 years.
const longest = 100 * 365 * 24 * 3600

func seconds(s float64) time.Duration { return time.Duration(min(s, longest) * 1e9) }
