package coalesce

import "time"

// A History is what a group remembers of one key: when requests came, and how long calls took. It is there for programs that play traffic
// without a group, to have policies see in a simulation what they would see in a group: [State] takes its SinceArrival, Rates and latencies
// from the same arithmetic. The zero value knows nothing. It is not safe for concurrent use.
type History struct {
	arrivals arrivals
	latency  latency
}

// Arrive counts an arrival, and returns what a policy sees if it is asked about it: the time since the arrival before, or [Never], and the
// rates just before it.
func (h *History) Arrive(now time.Duration) (since time.Duration, rates [3]float64) {
	since = h.arrivals.since(now)
	before := h.arrivals.count(now)
	return since, perSecond(before)
}

// At returns what a policy sees if it is asked at a time when nothing arrives.
func (h *History) At(now time.Duration) (since time.Duration, rates [3]float64) {
	return h.arrivals.since(now), h.arrivals.rates(now)
}

// Answered learns how long a call took.
func (h *History) Answered(took time.Duration) { h.latency.add(took, latency{}) }

// Latency returns State.LatencyP50 and State.LatencyP99.
func (h *History) Latency() (p50, p99 time.Duration) { return h.latency.quantiles() }
