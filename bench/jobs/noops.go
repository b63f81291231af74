package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
	"github.com/sluicegate/sluice/work"
)

// noops measures the library: jobs that do nothing, submitted from as many goroutines as there are processors and run by as many workers.
func noops(o options) []harness.Verdict {
	const rounds = 7
	var rates, cpu []float64
	for range rounds {
		began, before := time.Now(), processorTime()
		jobs := submit(o.noops)
		rates = append(rates, jobs/time.Since(began).Seconds()/1e6)
		cpu = append(cpu, float64((processorTime()-before).Nanoseconds())/jobs)
	}
	what := fmt.Sprintf("no-op jobs of the library work, millions a second on %d processors", runtime.NumCPU())
	return []harness.Verdict{harness.AtLeast(what, harness.Summarize(rates), 2), harness.Told("processor time of such a job, ns", harness.Summarize(cpu))}
}

// submit has about so many jobs done, and returns how many.
func submit(jobs int) float64 {
	processors := runtime.NumCPU()
	pool := work.New(work.Options[int]{Run: func(context.Context, int) {}, Workers: processors, Queue: 65_536})
	ctx := context.Background()
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
	return float64(jobs / processors * processors)
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	harness.Fatal(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
