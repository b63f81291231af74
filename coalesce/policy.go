package coalesce

import "time"

// The time scales of [State.Rates].
const (
	ShortScale  = 100 * time.Millisecond
	MiddleScale = time.Second
	LongScale   = 10 * time.Second
)

// Never is State.SinceArrival of a key's first arrival.
const Never time.Duration = 1<<63 - 1

// A Policy decides when a slot is served. It is asked at each arrival in a slot and again when the time that it asked for has come, unless the
// slot has reached one of its caps: then it is served whatever the policy would say.
//
// Decide must be a pure and fast function of the state, and is called by many goroutines at once. No lock is held meanwhile, but the request
// whose arrival is asked about waits for it. If it panics, or asks to be asked again at a negative time, the slot is served at once, and
// [Flush] counts a fallback. A policy that needs more time is an [AsyncPolicy].
type Policy interface {
	Decide(State) Decision
}

// A Decision is to serve the slot now, or to wait.
type Decision struct {
	Serve bool
	// After says when to ask again, if not Serve; 0 means at the next arrival. Times below 10 µs count as 10 µs.
	After time.Duration
	// Fallback says that the policy could not decide, and that this is what something else has decided in its place. It is counted in [Flush].
	Fallback bool
}

// State is what a policy knows: all about the slot, and what was learned about its key. Times are in nanoseconds as always in Go, and never
// negative.
type State struct {
	Now     time.Duration // since the group was made, monotonic
	Arrival bool          // whether it is asked because a request arrived; otherwise because the time it asked for has come

	Size    int           // waiters in the slot, with the one that arrived; at least 1
	Waiting time.Duration // how long they have waited, summed up
	Age     time.Duration // since the slot was opened

	// SinceArrival is the time since the last arrival for the key. At an arrival it is the time between it and the one before, or Never if
	// there was none.
	SinceArrival time.Duration
	// Gap is the mean of the latest gaps between arrivals for the key, some eight of them; 0 while there was none. It is the geometric mean, so that
	// after a pause it still tells how close arrivals were before. At an arrival it is what it was just before it.
	Gap time.Duration
	// Rates are the arrivals for the key per second, over ShortScale, MiddleScale and LongScale: older arrivals count exponentially less. At
	// an arrival they are what they were just before it, because then their mean is the true rate of random arrivals.
	Rates [3]float64
	// LatencyP50 and LatencyP99 estimate the time from the start of a call to its answer. While the key has had no answer they are those of
	// all keys; 0 if there was none at all.
	LatencyP50, LatencyP99 time.Duration

	InFlight    bool          // whether another call for the key is in flight (which this slot may not use)
	InFlightFor time.Duration // since when

	Relaxed  bool          // Options.Relaxed, Hold and MaxBatch of the slot
	Hold     time.Duration //
	MaxBatch int           // 0: no cap
}

// shortest is the least time to the next question. It keeps a policy that always asks for the next nanosecond from occupying a core.
const shortest = 10 * time.Microsecond

// ask asks the policy. sane is false if it failed, and the decision is then to serve.
func ask(p Policy, s State) (d Decision, sane bool) {
	defer func() {
		if !sane {
			recover()
			d = Decision{Serve: true}
		}
	}()
	return p.Decide(s).checked()
}

// checked returns the decision as it is heeded. sane is false if it is none.
func (d Decision) checked() (_ Decision, sane bool) {
	if d.After > 0 {
		d.After = max(d.After, shortest)
	}
	return d, d.Serve || d.After >= 0
}
