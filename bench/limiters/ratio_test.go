package limiters

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkRatio lets the contenders take turns, so that all of them meet the same noise of a busy machine. In each turn a contender goes around
// its 65,536 clients twice, from as many goroutines as there are cores: once to warm up, once timed in slices of a fraction of a
// millisecond. It reports the median and the shortest slice of each in ns per request, and both as a ratio of gcra to the fastest peer.
// On a busy machine the shortest are those that nobody interrupted.
func BenchmarkRatio(b *testing.B) {
	const slice = keys / 16
	names := shuffledKeys()
	allow := make([]func(string) bool, len(contenders))
	times := make([][]float64, len(contenders))
	for i, c := range contenders {
		allow[i] = c.new(b)
	}
	for b.Loop() {
		for i := range contenders {
			request(allow[i], names, 0, keys)
			for first := 0; first < keys; first += slice {
				times[i] = append(times[i], float64(request(allow[i], names, first, slice))/slice)
			}
		}
	}
	median, shortest := math.Inf(1), math.Inf(1)
	for i, c := range contenders {
		slices.Sort(times[i])
		b.ReportMetric(times[i][len(times[i])/2], c.name+"-ns")
		b.ReportMetric(times[i][0], c.name+"-min-ns")
		if i > 0 {
			median, shortest = min(median, times[i][len(times[i])/2]), min(shortest, times[i][0])
		}
	}
	b.ReportMetric(times[0][len(times[0])/2]/median, "ratio")
	b.ReportMetric(times[0][0]/shortest, "min-ratio")
	b.ReportMetric(0, "ns/op")
}

// request makes n requests from all cores, beginning with client first, and returns the time it took.
func request(allow func(string) bool, names []string, first, n int) time.Duration {
	var wg sync.WaitGroup
	cores := runtime.GOMAXPROCS(0)
	start := time.Now()
	for g := range cores {
		wg.Go(func() {
			for i := range n / cores {
				allow(names[(first+g*n/cores+i)%keys])
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}
