package limiters

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkRatio lets the contenders take turns, many times and for a millisecond or so each, so that all of them meet the same noise of a busy
// machine, and reports the median and the shortest turn of each in ns per request, and both as a ratio of gcra to the fastest peer. Clients
// are 65,536, requests come from as many goroutines as there are cores.
func BenchmarkRatio(b *testing.B) {
	const perTurn = keys / 4
	names := shuffledKeys()
	allow := make([]func(string) bool, len(contenders))
	turns := make([][]float64, len(contenders))
	for i, c := range contenders {
		allow[i] = c.new(b)
		turn(allow[i], names, 0, 2*keys)
	}
	runtime.GC()
	for first := 0; b.Loop(); first += perTurn {
		for i := range contenders {
			turns[i] = append(turns[i], float64(turn(allow[i], names, first, perTurn))/perTurn)
		}
	}
	best, fastest := math.Inf(1), math.Inf(1)
	for i, c := range contenders {
		slices.Sort(turns[i])
		median, lowest := turns[i][len(turns[i])/2], turns[i][0]
		b.ReportMetric(median, c.name+"-ns")
		b.ReportMetric(lowest, c.name+"-min-ns")
		if i > 0 {
			best, fastest = min(best, median), min(fastest, lowest)
		}
	}
	b.ReportMetric(turns[0][len(turns[0])/2]/best, "ratio")
	b.ReportMetric(turns[0][0]/fastest, "min-ratio")
	b.ReportMetric(0, "ns/op")
}

// turn makes n requests from all cores, beginning with client first, and returns the time it took.
func turn(allow func(string) bool, names []string, first, n int) time.Duration {
	var wg sync.WaitGroup
	cores := runtime.GOMAXPROCS(0)
	start := time.Now()
	for g := range cores {
		wg.Go(func() {
			for i := range n / cores {
				allow(names[(first+g*keys/cores+i)%keys])
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}
