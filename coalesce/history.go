package coalesce

import "time"

// A History is what a group remembers of one key: when requests came, and how long calls took. It is there for programs that play traffic
// without a group, to have policies see in a simulation what they would see in a group: [State] takes its SinceArrival, Gap, Rates and latencies
// from the same arithmetic. The zero value knows nothing. It is not safe for concurrent use.
type History struct {
	arrivals arrivals
	latency  latency
}

// Arrive counts an arrival, and sets SinceArrival, Gap and Rates of the state to what a policy sees if it is asked about it.
func (h *History) Arrive(now time.Duration, s *State) {
	s.SinceArrival, s.Gap = h.arrivals.since(now), h.arrivals.meanGap()
	s.Rates = perSecond(h.arrivals.count(now))
}

// At sets them to what a policy sees if it is asked at a time when nothing arrives.
func (h *History) At(now time.Duration, s *State) {
	s.SinceArrival, s.Gap, s.Rates = h.arrivals.since(now), h.arrivals.meanGap(), h.arrivals.rates(now)
}

// Answered learns how long a call took.
func (h *History) Answered(took time.Duration) { h.latency.add(took, latency{}) }

// Latency returns State.LatencyP50 and State.LatencyP99.
func (h *History) Latency() (p50, p99 time.Duration) { return h.latency.quantiles() }
