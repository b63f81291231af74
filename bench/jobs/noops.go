package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
	"github.com/sluicegate/sluice/work"
)

// noops measures the library: jobs that do nothing, submitted from as many goroutines as there are processors and run by as many workers.
func noops(o options) []harness.Verdict {
	const rounds = 7
	var rates []float64
	for range rounds {
		rates = append(rates, noopsPerSecond(o.noops)/1e6)
	}
	what := fmt.Sprintf("no-op jobs of the library work, millions a second on %d processors", runtime.NumCPU())
	return []harness.Verdict{harness.AtLeast(what, harness.Summarize(rates), 2)}
}

func noopsPerSecond(jobs int) float64 {
	processors := runtime.NumCPU()
	pool := work.New(work.Options[int]{Run: func(context.Context, int) {}, Workers: processors, Queue: 65_536})
	ctx := context.Background()
	began := time.Now()
	var all sync.WaitGroup
	for range processors {
		all.Go(func() {
			for i := range jobs / processors {
				harness.Fatal(pool.Submit(ctx, "tenant", i))
			}
		})
	}
	all.Wait()
	harness.Fatal(pool.Close(ctx)) // when all have been run
	return float64(jobs/processors*processors) / time.Since(began).Seconds()
}
