package window

import "time"

// CountLast returns the number counted in the last d up to now: the sum of the newest ⌈d/precision⌉ buckets, the
// unfinished one included. Its error bound is that of Count. A d of zero or less counts nothing, and one beyond the
// timeframe counts the timeframe. It takes time in proportion to the buckets it reads, under the window's mutex.
func (w *Window) CountLast(now Instant, d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turnLocked(w.epoch(now))
	return w.newestLocked((uint64(d)-1)/w.precision + 1)
}

// Rate returns how many per second were counted in the last d up to now. It reads just so many buckets that they cover d,
// and divides by the time that they cover up to now; a d beyond the timeframe covers the timeframe. It costs what
// CountLast costs.
func (w *Window) Rate(now Instant, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turnLocked(w.epoch(now))
	// k whole buckets and the unfinished one: together at least d.
	k := min((uint64(d)-1)/w.precision+1, w.size-1)
	covered := k*w.precision + w.elapsedLocked(now)
	return float64(w.newestLocked(k+1)) / time.Duration(max(covered, w.precision)).Seconds()
}

// AppendBuckets appends the count of every bucket to dst, oldest first, and returns it: ⌈timeframe/precision⌉ values,
// the last one of the bucket that holds now and is not finished. Their sum is what Count returns. It holds the window's
// mutex while it copies.
func (w *Window) AppendBuckets(dst []uint64, now Instant) []uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turnLocked(w.epoch(now))
	head := w.head.Load()
	for e := head - w.size + 1; e <= head; e++ {
		dst = append(dst, w.ring[e%w.size])
	}
	dst[len(dst)-1] += countOf(w.live.Load())
	return dst
}

// BucketStart returns when the bucket that holds now began, or the newest one if now is older: the time of the last value
// of AppendBuckets, the others being one precision apart. It can lie before instant 0, as buckets of a restored window do.
func (w *Window) BucketStart(now Instant) Instant {
	e := max(w.epoch(now), w.head.Load())
	return Instant(e*w.precision - w.origin)
}

// newestLocked sums the newest k buckets.
func (w *Window) newestLocked(k uint64) uint64 {
	if k >= w.size {
		return w.countLocked()
	}
	sum := countOf(w.live.Load())
	for head, i := w.head.Load(), uint64(0); i < k; i++ {
		sum += w.ring[(head-i)%w.size]
	}
	return sum
}

// elapsedLocked returns how much of the newest bucket has passed, which is nothing if now lies before it.
func (w *Window) elapsedLocked(now Instant) uint64 {
	if w.epoch(now) < w.head.Load() {
		return 0
	}
	return w.offset(now) % w.precision
}
