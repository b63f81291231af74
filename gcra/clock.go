package gcra

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A Clock tells the time since some start, the same for all who share the clock. It should be monotonic. It must be safe for concurrent use.
type Clock interface {
	Now() (time.Duration, error)
}

// ErrClockBackward is what a limiter returns while its clock shows less than it did before.
var ErrClockBackward = errors.New("gcra: clock went backward")

// Since returns the process's monotonic clock, counted from start, which must come from [time.Now]. It never fails. Limiters that are
// decided together, or are given the time, should count from the same start.
func Since(start time.Time) Clock { return monotonic{start} }

type monotonic struct{ start time.Time }

func (m monotonic) Now() (time.Duration, error) { return time.Since(m.start), nil }

// A watch is a clock that is not trusted: it remembers the latest time shown, and stops there while the clock fails or is behind.
type watch struct {
	clock Clock
	_     [64]byte // latest is written, seldom; clock is read with every request
	// latest lags behind the truth by up to watchStep, so that it isn't fought over by all cores with every request.
	latest atomic.Int64
}

const watchStep = time.Millisecond

// now returns the time and, with an error, the latest time known if the clock can't be relied on.
func (w *watch) now() (time.Duration, error) {
	latest := time.Duration(w.latest.Load()) // before the clock is read: then it really was later if it is greater
	now, err := w.clock.Now()
	switch {
	case err != nil:
		return latest, fmt.Errorf("gcra: reading the clock: %w", err)
	case now < latest:
		return latest, ErrClockBackward
	case now-latest > watchStep:
		raise(&w.latest, int64(now))
	}
	return now, nil
}
