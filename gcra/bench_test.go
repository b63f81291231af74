package gcra_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/gcra"
)

const manyKeys = 65_536 // a power of two

func keysOf(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("client-%08d", i*7919)
	}
	return keys
}

// each runs f for a limit with an interval of whole nanoseconds and for one without, and with clients that are allowed and that are refused.
func each(b *testing.B, f func(b *testing.B, l *gcra.Limiter[string], step time.Duration, debt int64)) {
	for _, count := range []int64{1000, 7} {
		for _, allow := range []bool{true, false} {
			b.Run(fmt.Sprintf("rate=%d/allow=%v", count, allow), func(b *testing.B) {
				b.ReportAllocs()
				l := newLimiter[string](b, gcra.Config{Limit: gcra.MustLimit(count, time.Second, 9)})
				if allow {
					f(b, l, time.Second, 0)
				} else {
					f(b, l, 0, 1<<40)
				}
			})
		}
	}
}

func BenchmarkAllowAtOneKey(b *testing.B) {
	each(b, func(b *testing.B, l *gcra.Limiter[string], step time.Duration, debt int64) {
		l.ChargeAt("client-00000001", 0, debt)
		now := time.Duration(0)
		for b.Loop() {
			now += step
			l.AllowAt("client-00000001", now)
		}
	})
}

func BenchmarkAllowAt65536Keys(b *testing.B) {
	each(b, func(b *testing.B, l *gcra.Limiter[string], step time.Duration, debt int64) {
		keys := keysOf(manyKeys)
		for _, k := range keys {
			l.ChargeAt(k, 0, debt)
			l.AllowAt(k, 0)
		}
		now, i := time.Duration(0), 0
		for b.Loop() {
			now += step / manyKeys
			i = (i + 40_503) % manyKeys
			l.AllowAt(keys[i], now)
		}
	})
}

func BenchmarkAllow65536Keys(b *testing.B) {
	l := newLimiter[string](b, gcra.Config{Limit: gcra.MustLimit(1000, time.Second, 9)})
	keys := keysOf(manyKeys)
	i := 0
	for b.Loop() {
		i = (i + 40_503) % manyKeys
		if _, err := l.Allow(keys[i]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGoroutines shows how decisions scale: each goroutine with clients of its own, or all with the same one. ns/op is wall time by all
// decisions: half of it with twice the cores is perfect.
func BenchmarkGoroutines(b *testing.B) {
	for _, who := range []string{"different", "same"} {
		for _, goroutines := range []int{1, 2, 4, 8, 16} {
			b.Run(fmt.Sprintf("%s/%d", who, goroutines), func(b *testing.B) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(min(goroutines, runtime.NumCPU())))
				inParallel(b, goroutines, who == "same")
			})
		}
	}
}

func inParallel(b *testing.B, goroutines int, same bool) {
	l := newLimiter[string](b, gcra.Config{Limit: gcra.MustLimit(1000, time.Second, 9)})
	keys := keysOf(manyKeys)
	for _, k := range keys {
		l.AllowAt(k, 0)
	}
	const batch = 1000
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for g := range goroutines {
		wg.Go(func() {
			i, now := g*manyKeys/goroutines, time.Duration(0)
			for left.Add(-batch) > -batch {
				for range batch {
					now += 20 * time.Microsecond
					if !same {
						i = (i + 40_503) % manyKeys
					}
					l.AllowAt(keys[i%manyKeys*btoi(!same)], now)
				}
			}
		})
	}
	wg.Wait()
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// BenchmarkFlood adds a new client with every request to a limiter that is full, so that another has to go.
func BenchmarkFlood(b *testing.B) {
	b.ReportAllocs()
	l := newLimiter[uint64](b, gcra.Config{Limit: gcra.MustLimit(1, time.Second, 9), MaxKeys: 100_000})
	for i := range uint64(100_000) {
		l.AllowAt(i, 0)
	}
	i := uint64(100_000)
	for b.Loop() {
		i++
		l.AllowAt(i, time.Duration(i)*time.Microsecond)
	}
}

// BenchmarkSweep forgets one idle client per op.
func BenchmarkSweep(b *testing.B) {
	l := newLimiter[uint64](b, gcra.Config{Limit: gcra.MustLimit(1000, time.Second, 9)})
	n := uint64(0)
	for b.Loop() {
		if l.Stats().Keys == 0 {
			b.StopTimer()
			for range 1_000_000 {
				l.AllowAt(n, 0)
				n++
			}
			b.StartTimer()
		}
		l.Sweep(time.Second, 1)
	}
}

func BenchmarkAll(b *testing.B) {
	b.ReportAllocs()
	l := newLimiter[string](b, gcra.Config{Limit: gcra.MustLimit(1_000_000, time.Second, 9)})
	r := []gcra.Request[string]{{Limiter: l, Key: "global", N: 1}, {Limiter: l, Key: "route", N: 1}, {Limiter: l, Key: "client", N: 1}}
	now := time.Duration(0)
	for b.Loop() {
		now += time.Microsecond
		gcra.All(now, r)
	}
}

// BenchmarkDecide is the pure decision.
func BenchmarkDecide(b *testing.B) {
	for _, count := range []int64{1000, 7} {
		b.Run(fmt.Sprintf("rate=%d", count), func(b *testing.B) {
			limit := gcra.MustLimit(count, time.Second, 9)
			var s gcra.State
			now := time.Duration(0)
			for b.Loop() {
				now += 300 * time.Microsecond
				s, _ = limit.Decide(s, now, 1)
			}
		})
	}
}
