package agent

import (
	"fmt"
	"math"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/agent/pb"
)

// Message returns the state as an agent is told it. callCost is what a call is worth, in waiting of one request.
func Message(s *coalesce.State, callCost time.Duration) *pb.BatchState {
	m := &pb.BatchState{
		BatchSize:     uint32(max(0, min(s.Size, math.MaxUint32))),
		BatchAgeMs:    millis(s.Age),
		UpstreamP99Ms: millis(s.LatencyP99),
		RequestRate:   float32(s.Rates[1]),

		WaitingMs:     some(millis(s.Waiting)),
		Rate_100Ms:    some(float32(s.Rates[0])),
		Rate_1S:       some(float32(s.Rates[1])),
		Rate_10S:      some(float32(s.Rates[2])),
		UpstreamP50Ms: some(millis(s.LatencyP50)),
		Arrival:       some(s.Arrival),
		Relaxed:       some(s.Relaxed),
		HoldMs:        some(millis(s.Hold)),
		MaxBatch:      some(uint32(max(0, min(s.MaxBatch, math.MaxUint32)))),
		CallCostMs:    some(millis(callCost)),
	}
	if s.SinceArrival != coalesce.Never {
		m.SinceArrivalMs = some(millis(s.SinceArrival))
	}
	if s.Gap > 0 {
		m.GapMs = some(millis(s.Gap))
	}
	if s.InFlight {
		m.InFlightMs = some(millis(s.InFlightFor))
	}
	var features [flush.NumFeatures]float32
	flush.Features(s, callCost, &features)
	m.Features = features[:]
	return m
}

func millis(d time.Duration) float32 { return float32(float64(d) / float64(time.Millisecond)) }

func some[T any](v T) *T { return &v }

// mostMillis and mostRate bound what a message may say: some 31 years, and an arrival every picosecond.
const (
	mostMillis = 1e12
	mostRate   = 1e12
)

// State returns what a message tells. What it leaves out is what the first four fields suggest; callCost is 0 if it isn't told. The error names a
// field with a number that is none, or out of range. The features are left unread, as they follow from the rest.
func State(m *pb.BatchState) (s coalesce.State, callCost time.Duration, err error) {
	r := reader{}
	s.Size = int(m.GetBatchSize())
	if s.Size == 0 {
		r.fail("batch_size: 0 is out of range, expected at least 1")
	}
	s.Age = r.millis("batch_age_ms", &m.BatchAgeMs, 0)
	s.LatencyP99 = r.millis("upstream_p99_ms", &m.UpstreamP99Ms, 0)
	rate := r.rate("request_rate", &m.RequestRate, 0)

	s.Rates = [3]float64{r.rate("rate_100ms", m.Rate_100Ms, rate), r.rate("rate_1s", m.Rate_1S, rate), r.rate("rate_10s", m.Rate_10S, rate)}
	s.Waiting = r.millis("waiting_ms", m.WaitingMs, evenly(s.Size, s.Age))
	s.SinceArrival = r.millis("since_arrival_ms", m.SinceArrivalMs, between(m, rate))
	s.Gap = r.millis("gap_ms", m.GapMs, gap(m, rate))
	s.LatencyP50 = r.millis("upstream_p50_ms", m.UpstreamP50Ms, s.LatencyP99)
	s.InFlight = m.InFlightMs != nil
	s.InFlightFor = r.millis("in_flight_ms", m.InFlightMs, 0)
	s.Arrival = m.Arrival == nil || m.GetArrival()
	s.Relaxed = m.GetRelaxed()
	s.Hold = r.millis("hold_ms", m.HoldMs, coalesce.Never)
	s.MaxBatch = int(m.GetMaxBatch())
	callCost = r.millis("call_cost_ms", m.CallCostMs, 0)
	return s, callCost, r.err
}

// evenly is how long requests have waited, summed up, that came one after the other.
func evenly(size int, age time.Duration) time.Duration {
	if size == 1 {
		return age
	}
	return time.Duration(min(float64(size)/2*float64(age), mostMillis*float64(time.Millisecond)))
}

// between is the time since the last arrival if a message doesn't tell: never to one that tells rates in detail, since it would.
func between(m *pb.BatchState, rate float64) time.Duration {
	if m.Rate_1S != nil || !(rate > 0) {
		return coalesce.Never
	}
	return time.Duration(min(1/rate*float64(time.Second), mostMillis*float64(time.Millisecond)))
}

// gap is the mean time between arrivals if a message doesn't tell: none to one that tells rates in detail.
func gap(m *pb.BatchState, rate float64) time.Duration {
	if d := between(m, rate); d != coalesce.Never {
		return d
	}
	return 0
}

// A reader reads numbers and keeps the first mistake.
type reader struct{ err error }

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// number reads a number that must be from 0 to most, otherwise if it isn't there.
func (r *reader) number(name string, v *float32, most, otherwise float64) float64 {
	switch {
	case v == nil:
		return otherwise
	case !(*v >= 0 && float64(*v) <= most): // also if it's NaN
		r.fail("%s: %v is out of range, expected 0 to %g", name, *v, most)
		return 0
	}
	return float64(*v)
}

func (r *reader) rate(name string, v *float32, otherwise float64) float64 {
	return r.number(name, v, mostRate, otherwise)
}

func (r *reader) millis(name string, v *float32, otherwise time.Duration) time.Duration {
	if v == nil {
		return otherwise
	}
	return time.Duration(math.Round(r.number(name, v, mostMillis, 0) * float64(time.Millisecond)))
}
