package window

import "time"

// An Instant is a moment in nanoseconds of monotonic time since the process started. It is a type of its own so that
// wall time cannot be passed by mistake: a [time.Time] and a Unix time both need a conversion. Values below zero read
// as zero. Tests step virtual time by converting: Instant(3*time.Second).
//
// Instants have no meaning in another process, and on systems whose monotonic clock stops while the machine sleeps
// (Linux) they do not count that sleep.
type Instant int64

// start is where instants begin. It is only ever read.
var start = time.Now()

// Now returns the present instant.
func Now() Instant { return Instant(time.Since(start)) }

// At returns the instant of t, which must be from [time.Now] in this process: the clock read once per request, say. It
// panics if t has no monotonic reading, as a time that was parsed, decoded, rounded or converted from Unix time: such a
// time follows the wall clock's steps.
func At(t time.Time) Instant {
	if t == t.Round(0) { // Round(0) strips the monotonic reading
		panic("window: At needs a time from time.Now: this one has no monotonic reading")
	}
	return Instant(t.Sub(start))
}

// Add returns the instant d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub returns the time from j to i.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i - j) }
