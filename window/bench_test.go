package window_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/window"
)

// A counter is what the designs compared here have in common.
type counter interface {
	Add(now window.Instant, n uint64)
	Count(now window.Instant) uint64
}

// The designs compared look back over 100 ms in buckets of 1 ms: short, so that benchmarks cross many buckets and the log
// of timestamps stays small enough to be kept.
const (
	benchTimeframe = 100 * time.Millisecond
	benchPrecision = time.Millisecond
)

// designs are the window and what else one might write.
var designs = []struct {
	name string
	make func(b *testing.B) counter
}{
	{"window", func(b *testing.B) counter { return mustNew(b, benchTimeframe, benchPrecision) }},
	{"log", func(*testing.B) counter { return &lockedLog{timeframe: window.Instant(benchTimeframe)} }},
	{"channel", newServed},
}

// A coarseClock stands for the caller's clock, at next to no cost: it reads the real one every 256 times.
type coarseClock struct {
	reads uint8
	now   window.Instant
}

func (c *coarseClock) read() window.Instant {
	if c.reads++; c.reads == 1 {
		c.now = window.Now()
	}
	return c.now
}

// BenchmarkAddCount is one request: an add and a count, with the clock passed in.
func BenchmarkAddCount(b *testing.B) {
	for _, d := range designs {
		b.Run(d.name, func(b *testing.B) {
			c := d.make(b)
			b.ReportAllocs()
			var clock coarseClock
			for b.Loop() {
				now := clock.read()
				c.Add(now, 1)
				c.Count(now)
			}
		})
	}
}

// BenchmarkAddCountParallel is the same from every core on one hot counter.
func BenchmarkAddCountParallel(b *testing.B) {
	for _, d := range designs {
		b.Run(d.name, func(b *testing.B) {
			c := d.make(b)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var clock coarseClock
				for pb.Next() {
					now := clock.read()
					c.Add(now, 1)
					c.Count(now)
				}
			})
		})
	}
}

func BenchmarkParallel(b *testing.B) {
	operations := []struct {
		name string
		do   func(w *window.Window, now window.Instant)
	}{
		{"Add", func(w *window.Window, now window.Instant) { w.Add(now, 1) }},
		{"Count", func(w *window.Window, now window.Instant) { w.Count(now) }},
		{"AddCountInOne", func(w *window.Window, now window.Instant) { w.AddCount(now, 1) }},
		{"AddCountWithClock", func(w *window.Window, _ window.Instant) { w.AddCount(window.Now(), 1) }},
	}
	for _, o := range operations {
		b.Run(o.name, func(b *testing.B) {
			w := mustNew(b, time.Minute, 100*time.Millisecond)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var clock coarseClock
				for pb.Next() {
					o.do(w, clock.read())
				}
			})
		})
	}
}

// BenchmarkStripes is why a window keeps one word and not one per core: it adds and counts as BenchmarkAddCountParallel does,
// without any of a window's buckets, on one word or on a word of its own for each goroutine.
func BenchmarkStripes(b *testing.B) {
	type stripe struct {
		n atomic.Uint64
		_ [120]byte
	}
	for _, n := range []int{1, 2, 8} {
		for _, count := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/count=%v", n, count), func(b *testing.B) {
				stripes := make([]stripe, n)
				var id atomic.Int64
				b.RunParallel(func(pb *testing.PB) {
					mine := &stripes[int(id.Add(1))%n]
					for pb.Next() {
						mine.n.Add(1)
						for i := range stripes {
							if count {
								stripes[i].n.Load()
							}
						}
					}
				})
			})
		}
	}
}

// BenchmarkTable adds and counts for keys that the table knows.
func BenchmarkTable(b *testing.B) {
	for _, keys := range []int{1, 10_000} {
		b.Run(fmt.Sprint(keys, "keys"), func(b *testing.B) {
			table, err := window.NewTable[string](time.Minute, time.Second, 10_000)
			if err != nil {
				b.Fatal(err)
			}
			names := make([]string, keys)
			for i := range names {
				names[i] = "client-" + strconv.Itoa(i)
				table.Add(names[i], 0, 1)
				table.Add(names[i], 0, 1)
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				var clock coarseClock
				for i := 0; pb.Next(); i++ {
					table.AddCount(names[i*7919%keys], clock.read(), 1)
				}
			})
		})
	}
}

// BenchmarkTableFlood adds to a new name each time, in a full table of busy keys.
func BenchmarkTableFlood(b *testing.B) {
	table, err := window.NewTable[int](time.Minute, time.Second, 10_000)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 10_000 {
		table.Add(i, 0, 2)
		table.Add(i, 0, 2)
	}
	b.ReportAllocs()
	for i := 10_000; b.Loop(); i++ {
		table.Add(i, 0, 1)
	}
}

// BenchmarkSave is what one sync of the counter command costs, the disk's part included.
func BenchmarkSave(b *testing.B) {
	w := mustNew(b, time.Minute, 100*time.Millisecond)
	for ms := int64(0); ms < 60_000; ms += 10 {
		w.Add(at(ms), 100)
	}
	path := b.TempDir() + "/state.bin"
	for b.Loop() {
		if err := window.Save(path, w.Snapshot(at(60_000), time.Now())); err != nil {
			b.Fatal(err)
		}
	}
}

// A lockedLog is the plain design: a mutex around a slice of timestamps.
type lockedLog struct {
	timeframe window.Instant
	mu        sync.Mutex
	log       []window.Instant
}

func (l *lockedLog) Add(now window.Instant, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		l.log = append(l.log, now)
	}
}

func (l *lockedLog) Count(now window.Instant) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := 0
	for old < len(l.log) && l.log[old] <= now-l.timeframe {
		old++
	}
	l.log = l.log[old:]
	return uint64(len(l.log))
}

// A served counter is owned by one goroutine, which everybody asks through a channel.
type served struct{ requests chan request }

type request struct {
	now   window.Instant
	n     uint64
	count chan uint64 // nil for an add
}

func newServed(b *testing.B) counter {
	s := served{make(chan request, 64)}
	w := mustNew(b, benchTimeframe, benchPrecision)
	var done sync.WaitGroup
	done.Go(func() {
		for r := range s.requests {
			if r.count == nil {
				w.Add(r.now, r.n)
			} else {
				r.count <- w.Count(r.now)
			}
		}
	})
	b.Cleanup(func() {
		close(s.requests)
		done.Wait()
	})
	return s
}

var replies = sync.Pool{New: func() any { return make(chan uint64, 1) }}

func (s served) Add(now window.Instant, n uint64) { s.requests <- request{now: now, n: n} }

func (s served) Count(now window.Instant) uint64 {
	reply := replies.Get().(chan uint64)
	defer replies.Put(reply)
	s.requests <- request{now: now, count: reply}
	return <-reply
}
