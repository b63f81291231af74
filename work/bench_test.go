package work_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/sluicegate/sluice/work"
)

// BenchmarkNoop submits tasks that do nothing, from as many goroutines as there are processors, and waits until all have been run.
func BenchmarkNoop(b *testing.B) {
	for _, tenants := range []int{1, 1000} {
		for _, workers := range []int{2, 64} {
			b.Run(fmt.Sprintf("tenants=%d/workers=%d", tenants, workers), func(b *testing.B) { noop(b, tenants, workers, 1<<16) })
		}
	}
	b.Run("queue=64", func(b *testing.B) { noop(b, 1, 2, 64) })
}

func noop(b *testing.B, tenants, workers, queue int) {
	names := make([]string, tenants)
	for i := range names {
		names[i] = fmt.Sprint("tenant-", i)
	}
	p := work.New(work.Options[int]{Run: func(context.Context, int) {}, Workers: workers, Queue: queue})
	ctx := context.Background()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if err := p.Submit(ctx, names[i%tenants], i); err != nil {
				b.Error(err)
			}
		}
	})
	if err := p.Close(ctx); err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}
