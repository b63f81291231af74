package gcra_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/sluicegate/sluice/gcra"
)

// heapInUse returns the bytes of live objects.
func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// bytesPerKey fills a limiter and returns what it takes for each key, beside the key itself (for a string, its header and its bytes, which
// are here before the limiter is).
func bytesPerKey(t testing.TB, n int, maxKeys int) float64 {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("client-%07d", i)
	}
	const header = 16
	before := heapInUse()
	l := newLimiter[string](t, gcra.Config{Limit: gcra.MustLimit(1, time.Minute, 9), MaxKeys: maxKeys})
	for _, k := range keys {
		l.AllowAt(k, 0)
	}
	after := heapInUse()
	if s := l.Stats(); s.Keys != n {
		t.Fatalf("%+v", s)
	}
	runtime.KeepAlive(keys)
	return float64(after-before)/float64(n) - header
}

func TestMemoryPerKey(t *testing.T) {
	for _, c := range []struct{ keys, maxKeys int }{{1_000_000, 1_000_000}, {1_000_000, 4_000_000}, {100_000, 0}, {10_000, 10_000}} {
		if testing.Short() && c.keys > 100_000 {
			continue
		}
		got := bytesPerKey(t, c.keys, c.maxKeys)
		t.Logf("%d keys of at most %d: %.1f bytes per key beside the key", c.keys, c.maxKeys, got)
		if got > 64 {
			t.Errorf("more than 64")
		}
	}
}

func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(bytesPerKey(b, 1_000_000, 0), "bytes/key")
	}
}

// TestSweepGivesMemoryBack fills a limiter and sweeps it empty, a slice at a time.
func TestSweepGivesMemoryBack(t *testing.T) {
	const keys = 100_000
	l := newLimiter[uint64](t, gcra.Config{Limit: gcra.MustLimit(1, time.Second, 0)})
	before := heapInUse()
	for i := range uint64(keys) {
		l.AllowAt(i, 0)
	}
	full := heapInUse() - before
	slices := 0
	for more := true; more; slices++ {
		var n int
		if n, more = l.Sweep(time.Second, 1000); n > 1000 {
			t.Fatalf("a budget of 1000 let go of %d", n)
		}
	}
	after := heapInUse()
	runtime.KeepAlive(l)
	if left := int64(after) - int64(before); left > int64(full)/10 {
		t.Errorf("%d of %d bytes are left", left, full)
	}
	if slices < keys/1000 {
		t.Errorf("took %d slices", slices)
	}
}
