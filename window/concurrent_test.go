package window_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/window"
)

// TestConcurrentCountIsExact has many goroutines add while time passes from bucket to bucket, each with a clock that may
// lag behind, and others read. Nothing leaves the window, so in the end every add must be there, in its own bucket.
func TestConcurrentCountIsExact(t *testing.T) {
	const workers, adds, precision = 8, 20_000, time.Millisecond
	w := mustNew(t, 10*time.Second, precision)
	var clock atomic.Int64 // virtual nanoseconds
	want := make([]atomic.Uint64, 10_000)

	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := range adds {
				// 20 µs per add: the clock enters a new bucket every 50 adds of all workers.
				now := window.Instant(clock.Add(20_000))
				if i%7 == worker%7 {
					now = max(now.Add(-time.Duration(i%50)*precision), 0) // a goroutine that was held up
				}
				before := w.Count(now)
				if after := w.AddCount(now, 3); after < before+3 {
					t.Errorf("AddCount(3) returned %d after a count of %d", after, before)
					return
				}
				want[int64(now)/int64(precision)].Add(3)
			}
		})
	}
	group.Wait()

	now := window.Instant(clock.Load())
	if got := w.Count(now); got != 3*workers*adds {
		t.Errorf("count %d, want %d", got, 3*workers*adds)
	}
	list := w.AppendBuckets(nil, now)
	newest := int(w.BucketStart(now).Sub(0) / precision)
	for i := range newest + 1 {
		if got, want := list[len(list)-1-newest+i], want[i].Load(); got != want {
			t.Fatalf("bucket %d holds %d, want %d", i, got, want)
		}
	}
}

// TestConcurrentTurns turns the ring every few adds, so that adds and counts often meet a ring that is being turned. Nothing
// leaves the window: no goroutine may ever see the count fall or miss what it has added itself.
func TestConcurrentTurns(t *testing.T) {
	const workers, adds, tick, precision = 4, 500_000, 200, time.Microsecond
	w := mustNew(t, workers*adds*tick+precision, precision)
	var clock atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for last := uint64(0); last < workers*adds; {
				now := window.Instant(clock.Add(tick))
				if now > workers*adds*tick {
					return
				}
				added := w.AddCount(now, 1)
				counted := w.Count(now)
				if added < last+1 || counted < added {
					t.Errorf("count %d, then %d after adding 1, then %d", last, added, counted)
					return
				}
				last = counted
			}
		})
	}
	group.Wait()
	if got := w.Count(workers * adds * tick); got != workers*adds {
		t.Errorf("count %d, want %d", got, workers*adds)
	}
}

// TestConcurrentExpiry lets buckets leave the window while goroutines add to it. The running sum must follow the ring
// exactly: an add that was lost or doubled on the way in or out would stay in the sum for ever.
func TestConcurrentExpiry(t *testing.T) {
	const workers, adds, precision = 8, 20_000, time.Millisecond
	w := mustNew(t, 10*precision, precision)
	var clock atomic.Int64
	sent := make([]atomic.Uint64, workers*adds*20_000/int64(precision)+1)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := range adds {
				now := max(window.Instant(clock.Add(20_000)).Add(-time.Duration(i%3)*precision), 0)
				sent[int64(now)/int64(precision)].Add(1)
				w.Add(now, 1)
				if got := w.Count(now); got > workers*adds {
					t.Errorf("count %d exceeds what was ever added", got)
					return
				}
			}
		})
	}
	group.Wait()

	now := window.Instant(clock.Load())
	list := w.AppendBuckets(nil, now)
	var sum uint64
	for i, n := range list {
		sum += n
		// Less than was sent is right: a goroutine may be held up for longer than the window is long.
		if sent := sent[int64(now)/int64(precision)-int64(len(list)-1-i)].Load(); n > sent {
			t.Errorf("bucket %d holds %d, of %d sent", i, n, sent)
		}
	}
	if got := w.Count(now); got != sum {
		t.Errorf("count %d, the buckets hold %d", got, sum)
	}
	if got := w.AddCount(now, 1000); got != sum+1000 {
		t.Errorf("count %d after adding 1000 to %d", got, sum)
	}
	if got := w.Count(now.Add(10 * precision)); got != 0 {
		t.Errorf("count %d after everything left", got)
	}
}

// TestConcurrentReaders reads in every way beside adds, for the race detector, and checks that totals only grow while
// nothing leaves.
func TestConcurrentReaders(t *testing.T) {
	const adds = 50_000
	w := mustNew(t, time.Hour, time.Second)
	var clock atomic.Int64
	var done atomic.Bool
	var group sync.WaitGroup
	readers := map[string]func(window.Instant) uint64{
		"Count":     w.Count,
		"CountLast": func(now window.Instant) uint64 { return w.CountLast(now, time.Hour) },
		"Snapshot": func(now window.Instant) uint64 {
			s := w.Snapshot(now, time.Now())
			return s.Total()
		},
		"AppendBuckets": func(now window.Instant) (sum uint64) {
			for _, n := range w.AppendBuckets(nil, now) {
				sum += n
			}
			return sum
		},
	}
	for name, read := range readers {
		group.Go(func() {
			for last := uint64(0); !done.Load(); {
				got := read(window.Instant(clock.Load()))
				if got < last {
					t.Errorf("%s went from %d to %d", name, last, got)
					return
				}
				last = got
			}
		})
	}
	var adders sync.WaitGroup
	for range 2 {
		adders.Go(func() {
			for range adds {
				w.Add(window.Instant(clock.Add(int64(time.Millisecond))), 1)
			}
		})
	}
	adders.Wait()
	done.Store(true)
	group.Wait()
	for name, read := range readers {
		if got := read(window.Instant(clock.Load())); got != 2*adds {
			t.Errorf("%s: %d, want %d", name, got, 2*adds)
		}
	}
}

// TestConcurrentTable adds to more keys than fit from many goroutines: what the table holds and what it reports as dropped
// together are what was added, no more than adds that raced with a drop were done twice.
func TestConcurrentTable(t *testing.T) {
	const workers, adds, keys = 8, 20_000, 64
	table, err := window.NewTable[string](time.Hour, time.Minute, keys)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := range adds {
				table.Add(fmt.Sprint("steady", i%8), 0, 1)
				if i%4 == 0 {
					table.Add(fmt.Sprint("flood", worker, "-", i), 0, 1)
				}
				if n := table.Len(); n > keys {
					t.Errorf("%d keys, the bound is %d", n, keys)
					return
				}
			}
		})
	}
	group.Wait()

	for i := range 8 {
		if got := table.Count(fmt.Sprint("steady", i), 0); got != workers*adds/8 {
			t.Errorf("steady%d counts %d, want %d", i, got, workers*adds/8)
		}
	}
	var held uint64
	for _, w := range table.All() {
		held += w.Count(0)
	}
	d := table.Dropped()
	if got, want := held+d.Count, uint64(workers*adds+workers*adds/4); got != want {
		t.Errorf("%d held and %d dropped, want %d together", held, d.Count, want)
	}
	if d.Idle != 0 || d.Active != workers*adds/4-(keys-8) {
		t.Errorf("dropped %+v, want %d active keys", d, workers*adds/4-(keys-8))
	}
}

// TestConcurrentDrops has more keys in use than fit, so that keys are dropped while others add to them: each add is held, or
// reported as dropped, or both if it met a key on its way out; it is never lost.
func TestConcurrentDrops(t *testing.T) {
	const workers, adds, keys = 4, 100_000, 3
	table, err := window.NewTable[int](time.Hour, time.Minute, keys)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := range adds {
				table.Add((worker+i)%(keys+1), 0, 1)
			}
		})
	}
	group.Wait()

	var held uint64
	for _, w := range table.All() {
		held += w.Count(0)
	}
	if d := table.Dropped(); held > workers*adds || held+d.Count < workers*adds {
		t.Errorf("%d held, %+v dropped, of %d added", held, d, workers*adds)
	}
}
