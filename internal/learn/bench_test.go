package learn_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/learn"
)

const ms = time.Millisecond

// BenchmarkSim plays an episode of a million arrivals. An event is an arrival, a question at a re-check, or the end of a call.
func BenchmarkSim(b *testing.B) {
	for _, relaxed := range []bool{false, true} {
		for _, p := range []coalesce.Policy{flush.Immediate{}, flush.Balance{CallCost: 25 * ms}, flush.Threshold{CallCost: 25 * ms}} {
			for _, rate := range []float64{50, 5000} {
				b.Run(fmt.Sprintf("relaxed=%v/%T/%g", relaxed, p, rate), func(b *testing.B) {
					cfg := learn.Config{
						Arrivals: learn.Poisson{Rate: rate}, Latency: learn.Latency{Median: 20 * ms}, CallCost: 25 * ms, Hold: 50 * ms,
						MaxBatch: 128, Relaxed: relaxed, Requests: 200_000,
					}
					traffic := cfg.Draw(1)
					sim := learn.New(cfg)
					events := 0
					for b.Loop() {
						sim.Play(traffic)
						o := sim.Finish(p)
						events += o.Requests + o.Calls
					}
					b.ReportMetric(float64(events)/b.Elapsed().Seconds()/1e6, "Mevents/s")
				})
			}
		}
	}
}

func BenchmarkFeatures(b *testing.B) {
	s := coalesce.State{Size: 7, Waiting: 30 * ms, Age: 10 * ms, SinceArrival: 2 * ms, Rates: [3]float64{500, 400, 300}, Hold: 50 * ms, MaxBatch: 128}
	var out [flush.NumFeatures]float32
	for b.Loop() {
		flush.Features(&s, 25*ms, &out)
	}
}
