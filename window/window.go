package window

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// MaxBuckets bounds the buckets of one window, timeframe/precision rounded up: 128 MiB.
	MaxBuckets = 1 << 24

	// MaxTimeframe bounds the timeframe, about 36 years, so that no sum of times overflows.
	MaxTimeframe time.Duration = 1 << 60
)

// ErrConfig is wrapped by the errors of constructors whose arguments make no window.
var ErrConfig = errors.New("bad window")

// A Window counts in a moving timeframe. All methods are safe for use by many goroutines at once. [New] and [Restore]
// make windows; the zero Window is none.
//
// A count includes every Add that returned before Count was called, and no Add that began after Count returned; one that
// runs at the same time may be counted or not.
//
// A window's sum stops growing at 1<<62.
type Window struct {
	// These change once per bucket at most, and lie on another cache line than live, which every add changes.
	origin    uint64 // added to an instant before it is divided into epochs; at least one timeframe
	precision uint64 // nanoseconds
	size      uint64 // buckets in the ring
	timeframe time.Duration
	head      atomic.Uint64 // epoch of the newest bucket; written under mu
	sum       atomic.Uint64 // what ring holds; written under mu

	_ [64]byte
	// live is the newest bucket's count, but for what ring holds of it: the low half of the epoch in the high 32 bits, the
	// count in the low 32 bits.
	live atomic.Uint64
	_    [64]byte

	mu   sync.Mutex
	ring []uint64 // counts by epoch modulo size, without live; guarded by mu
}

// limit bounds the sum of a window.
const limit = 1 << 62

// New returns an empty window that looks back over timeframe in buckets of precision. Both must be positive, precision
// at most timeframe, timeframe at most [MaxTimeframe], and timeframe/precision at most [MaxBuckets]. Its memory is
// 8 bytes per bucket, allocated here.
func New(timeframe, precision time.Duration) (*Window, error) {
	size, err := buckets(timeframe, precision)
	if err != nil {
		return nil, err
	}
	return newWindow(timeframe, precision, size, 0), nil
}

// newWindow makes an empty window of checked arguments whose buckets begin phase nanoseconds before those of New.
func newWindow(timeframe, precision time.Duration, size, phase uint64) *Window {
	w := &Window{
		origin:    size*uint64(precision) + phase, // epochs restored from before instant 0 stay positive
		precision: uint64(precision),
		size:      size,
		timeframe: timeframe,
		ring:      make([]uint64, size),
	}
	e := w.epoch(0)
	w.head.Store(e)
	w.live.Store(pack(e, 0))
	return w
}

// buckets returns how many buckets a window of these arguments has.
func buckets(timeframe, precision time.Duration) (uint64, error) {
	switch {
	case timeframe <= 0:
		return 0, fmt.Errorf("%w: timeframe %v must be positive", ErrConfig, timeframe)
	case precision <= 0:
		return 0, fmt.Errorf("%w: precision %v must be positive", ErrConfig, precision)
	case precision > timeframe:
		return 0, fmt.Errorf("%w: precision %v must not exceed the timeframe %v", ErrConfig, precision, timeframe)
	case timeframe > MaxTimeframe:
		return 0, fmt.Errorf("%w: timeframe %v exceeds %v", ErrConfig, timeframe, MaxTimeframe)
	}
	size := uint64((timeframe-1)/precision + 1)
	if size > MaxBuckets {
		return 0, fmt.Errorf("%w: timeframe %v in buckets of %v needs %d buckets, more than %d",
			ErrConfig, timeframe, precision, size, MaxBuckets)
	}
	return size, nil
}

// Timeframe returns how far back the window looks.
func (w *Window) Timeframe() time.Duration { return w.timeframe }

// Precision returns how long each bucket is.
func (w *Window) Precision() time.Duration { return time.Duration(w.precision) }

// Add counts n at the instant now. It does not allocate, and takes the window's mutex only for an instant outside the
// newest bucket or an n that does not fit into 32 bits together with the rest of that bucket.
func (w *Window) Add(now Instant, n uint64) {
	e := w.epoch(now)
	if _, ok := w.addLive(e, n); !ok {
		w.addSlow(e, n)
	}
}

// AddCount is Add and Count in one step: n is part of the count it returns.
func (w *Window) AddCount(now Instant, n uint64) uint64 {
	e := w.epoch(now)
	if count, ok := w.addLive(e, n); ok {
		return count
	}
	return w.addSlow(e, n)
}

// Count returns the number counted in the timeframe up to now. It does not allocate, and takes the window's mutex only
// when it is the first to enter a new bucket, or meets one who is.
func (w *Window) Count(now Instant) uint64 {
	e := w.epoch(now)
	h := w.head.Load()
	if e > h {
		return w.countSlow(e)
	}
	// The ring turns in the order live, sum, head. If live is still of epoch h after sum was read, and head was of epoch h
	// before, then sum belongs to epoch h as well.
	sum, live := w.sum.Load(), w.live.Load()
	if !isOf(live, h) {
		return w.countSlow(e)
	}
	return sum + countOf(live)
}

// addLive adds n to the newest bucket if that is of epoch e, and returns the window's count. It returns false, having
// done nothing, if the bucket is another one or has no room for n.
func (w *Window) addLive(e, n uint64) (uint64, bool) {
	if w.head.Load() != e {
		return 0, false
	}
	sum := w.sum.Load()
	for {
		v := w.live.Load()
		if !isOf(v, e) || n > maxLive-countOf(v) {
			return 0, false
		}
		// Epoch and count share the word: if the ring turns between the load and the swap, the swap fails.
		if w.live.CompareAndSwap(v, v+n) {
			return sum + countOf(v) + n, true
		}
	}
}

// addSlow adds n to the bucket of epoch e wherever that is, and returns the window's count. Turning the ring first if e
// is new, it puts n into the ring even if e is the newest bucket.
func (w *Window) addSlow(e, n uint64) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turnLocked(e)
	if w.head.Load()-e < w.size {
		w.putLocked(e, n)
	}
	return w.countLocked()
}

func (w *Window) countSlow(e uint64) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turnLocked(e)
	return w.countLocked()
}

// turnLocked makes e the newest bucket if it is newer than the one that is.
func (w *Window) turnLocked(e uint64) {
	h := w.head.Load()
	if e <= h {
		return
	}
	live := w.live.Swap(pack(e, 0)) // from here on no add reaches bucket h without mu
	w.putLocked(h, countOf(live))
	sum := w.sum.Load()
	if e-h >= w.size {
		clear(w.ring)
		sum = 0
	} else {
		for i := h + 1; i <= e; i++ { // bucket i takes the place of i-size
			slot := &w.ring[i%w.size]
			sum -= *slot
			*slot = 0
		}
	}
	w.sum.Store(sum)
	w.head.Store(e)
}

// putLocked adds n to the bucket of epoch e, which must be in the ring.
func (w *Window) putLocked(e, n uint64) {
	n = min(n, limit-w.sum.Load())
	w.ring[e%w.size] += n
	w.sum.Add(n)
}

func (w *Window) countLocked() uint64 { return w.sum.Load() + countOf(w.live.Load()) }

// epoch returns the number of the bucket that holds now.
func (w *Window) epoch(now Instant) uint64 { return w.offset(now) / w.precision }

// offset returns the nanoseconds from the beginning of epoch 0 to now.
func (w *Window) offset(now Instant) uint64 { return uint64(max(now, 0)) + w.origin }

// maxLive is the most that live can count.
const maxLive = 1<<32 - 1

func pack(e, count uint64) uint64  { return e<<32 | count }
func countOf(live uint64) uint64   { return live & maxLive }
func isOf(live, epoch uint64) bool { return live>>32 == epoch&maxLive }
