// Package window counts what happened in the last minute, or in any other moving timeframe: requests, bytes, failures.
//
// A [Window] is made of a timeframe (how far back it looks) and a precision (how finely it looks):
//
//	w, err := window.New(60*time.Second, 100*time.Millisecond)
//	...
//	w.Add(window.Now(), 1)           // one request, now
//	n := w.Count(window.Now())       // requests in the last 60 seconds
//	n = w.AddCount(window.Now(), 1)  // both in one step: n includes the request just added
//
// # The algorithm
//
// Time is cut into buckets of one precision each, and the window keeps the newest ⌈timeframe/precision⌉ of them in a
// ring: 600 for the window above, 4.8 kB, however many requests come. Beside the ring it keeps the sum of all buckets,
// so that counting reads two numbers and adds them. When time enters a new bucket, whoever notices first takes the
// bucket that has just left the window out of the sum and gives its place in the ring to the new one. That is the only
// work that grows with time, it is done once per bucket, and it is never more than one pass over the ring however long
// the window was idle.
//
// Adding to the current bucket is one compare-and-swap on one word, which holds the bucket's number beside its count:
// an add can therefore never slip into a bucket that time has already left. Adds that come late (a goroutine that read
// the clock and was then held up) find their own bucket under a mutex, as do those that turn the ring. The word is not
// striped over cores. A count that must include every earlier add has to hear from every core that added, so with
// stripes each count pays one cache miss per stripe where one word costs a single miss; the benchmarks hold both.
//
// # The error bound
//
// Let b be the bucket that holds the instant one timeframe ago. Everything newer than b is counted and everything older
// is not; of b itself, all is counted or nothing. So a count differs from an exact log of timestamps by at most the
// requests of one bucket. When the precision divides the timeframe b is never counted: a request is counted for at
// least timeframe−precision, and never once it is older than the timeframe.
//
// # Time
//
// All methods take the time as an [Instant], which is monotonic: stepping the wall clock by an hour changes nothing.
// [Now] reads the clock, and [At] converts a [time.Time] that was read already. A window's time only moves forward: an
// older instant reads the window as of the newest it has seen, and an add with an older instant is put into the bucket
// of its own time, or ignored if that bucket has left the window.
//
// # Many windows
//
// A [Table] holds one window per key, at most so many, and drops idle ones first.
//
// # Across restarts
//
// A [Snapshot] holds the counts by age, and the wall time it was taken at, the only place where wall time matters.
// [Save] writes one to a file so that a crash leaves either the old file or the new one; [Load] reads it back, and sets
// a file that it cannot trust aside instead of guessing. [Restore] makes a window of it: the time in between has
// passed for the counts too.
//
//	err := window.Save("state.bin", w.Snapshot(window.Now(), time.Now()))
//	...
//	var s window.Snapshot
//	err = window.Load("state.bin", &s)
//	w, err := window.Restore(60*time.Second, 100*time.Millisecond, s, window.Now(), time.Now())
package window
