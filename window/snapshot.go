package window

import (
	"fmt"
	"time"
)

// A Snapshot is what a window held at one moment: counts by age, and the wall time that the ages refer to. It is plain
// data; the zero Snapshot is that of an empty window.
type Snapshot struct {
	Taken     time.Time     // wall time
	Timeframe time.Duration // of the window
	Precision time.Duration // of the window
	Elapsed   time.Duration // how much of the newest bucket had passed
	Buckets   []Bucket      // those that are not empty, newest first
}

// A Bucket is one bucket of a snapshot.
type Bucket struct {
	Age   int    // 0 is the bucket that was unfinished when the snapshot was taken, 1 the one before it
	Count uint64 // at least 1
}

// Total returns what all buckets count together.
func (s *Snapshot) Total() uint64 {
	var sum uint64
	for _, b := range s.Buckets {
		sum += b.Count
	}
	return sum
}

// Snapshot copies the window at the instant now, which is wall on the wall clock. It holds the window's mutex while it
// copies; adds to the newest bucket go on meanwhile.
func (w *Window) Snapshot(now Instant, wall time.Time) Snapshot {
	s := Snapshot{Taken: wall.Round(0), Timeframe: w.timeframe, Precision: w.Precision()}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turnLocked(w.epoch(now))
	s.Elapsed = time.Duration(w.elapsedLocked(now))
	s.Buckets = w.bucketsLocked(w.head.Load())
	return s
}

// bucketsLocked returns the buckets that are not empty, newest first, with their age at epoch e. Those that are newer
// than e, which others have begun meanwhile, become part of e.
func (w *Window) bucketsLocked(e uint64) []Bucket {
	var list []Bucket
	head := w.head.Load()
	count := countOf(w.live.Load())
	for i := range w.size {
		count += w.ring[(head-i)%w.size]
		if head-i > e || count == 0 {
			continue
		}
		if age := e - (head - i); age < w.size {
			list = append(list, Bucket{Age: int(age), Count: count})
		}
		count = 0
	}
	return list
}

// Restore returns a window that holds what s held, moved to the instant now, which is wall on the wall clock. The time
// from s.Taken to wall counts as time: what has left the window by then is dropped. If wall is before s.Taken, the wall
// clock was stepped back in between and nobody knows how much time has passed; Restore takes it that none has, so counts
// may stay longer than they should, by a timeframe at most, but never lie in the future.
//
// With the timeframe and precision of s, buckets keep their limits to the nanosecond. With others they are folded over:
// a bucket's requests are taken to have come at its end, so none leaves the window too early, and a count then differs
// from an exact log by at most one bucket of s and one of the new window.
//
// It returns an error that wraps [ErrConfig] if [New] would, and one that wraps [ErrDamaged] if s contradicts itself.
func Restore(timeframe, precision time.Duration, s Snapshot, now Instant, wall time.Time) (*Window, error) {
	size, err := buckets(timeframe, precision)
	if err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	m := moveTo(now, wall, s.Taken, timeframe+precision, s.Elapsed, s.Precision)
	w := newWindow(timeframe, precision, size, m.phase(precision))
	w.refill(m, now, s.Buckets)
	return w, nil
}

// A move says where the buckets of a snapshot lie in the time of this process: in nanoseconds like instants, but possibly
// below zero.
type move struct {
	taken     int64 // when the snapshot was taken
	newest    int64 // when its newest bucket began
	precision int64 // how long its buckets are
}

// moveTo places a snapshot taken at a wall time relative to now, which is wall on the wall clock. It bounds the time
// between them to a time by which all is over.
func moveTo(now Instant, wall, taken time.Time, over, elapsed, precision time.Duration) move {
	age := wall.Round(0).Sub(taken.Round(0)) // Round strips the monotonic readings
	age = min(max(age, 0), over)
	at := int64(max(now, 0)) - int64(age)
	return move{taken: at, newest: at - int64(elapsed), precision: int64(precision)}
}

// phase returns the phase that lets buckets of precision begin where the newest bucket did.
func (m move) phase(precision time.Duration) uint64 {
	p := int64(precision)
	return uint64((p - m.newest%p) % p)
}

// refill adds the buckets of a snapshot, or what of them is still in the window at the instant now.
func (w *Window) refill(m move, now Instant, list []Bucket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turnLocked(w.epoch(now))
	for _, b := range list {
		last := m.taken // of the moments in b
		if b.Age > 0 {
			last = m.newest - int64(b.Age-1)*m.precision - 1
		}
		if last < -int64(w.origin) {
			break
		}
		if e := (uint64(last) + w.origin) / w.precision; w.head.Load()-e < w.size {
			w.putLocked(e, b.Count)
		}
	}
}

// check reports whether a window could have made s. The zero Snapshot passes.
func (s *Snapshot) check() error {
	if s.Timeframe == 0 && s.Precision == 0 && s.Elapsed == 0 && len(s.Buckets) == 0 {
		return nil
	}
	size, err := checkFrame(s.Timeframe, s.Precision, s.Elapsed)
	if err != nil {
		return err
	}
	return checkBuckets(s.Buckets, size)
}

// checkFrame reports whether there are windows like this, and how many buckets they have.
func checkFrame(timeframe, precision, elapsed time.Duration) (size uint64, err error) {
	size, err = buckets(timeframe, precision)
	if err != nil {
		return 0, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	if elapsed < 0 || elapsed >= precision {
		return 0, fmt.Errorf("%w: %v of a bucket of %v have passed", ErrDamaged, elapsed, precision)
	}
	return size, nil
}

// checkBuckets reports whether list could be the buckets of one window of size.
func checkBuckets(list []Bucket, size uint64) error {
	var sum uint64
	next := 0 // the least age that may follow
	for _, b := range list {
		if b.Age < next || uint64(b.Age) >= size {
			return fmt.Errorf("%w: bucket of age %d out of place", ErrDamaged, b.Age)
		}
		if b.Count == 0 || b.Count > limit+maxLive-sum {
			return fmt.Errorf("%w: bucket of age %d counts %d", ErrDamaged, b.Age, b.Count)
		}
		sum += b.Count
		next = b.Age + 1
	}
	return nil
}
