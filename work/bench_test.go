package work_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/sluicegate/sluice/work"
)

func noop(context.Context, int) {}

// BenchmarkNoop submits tasks that do nothing, from as many goroutines as there are processors, and waits until all have been run. With a short queue
// those who submit have to wait for places most of the time.
func BenchmarkNoop(b *testing.B) {
	for _, tenants := range []int{1, 1000} {
		for _, workers := range []int{2, 64} {
			for _, queue := range []int{64, 65_536} {
				b.Run(fmt.Sprintf("tenants=%d/workers=%d/queue=%d", tenants, workers, queue), func(b *testing.B) {
					runAll(b, tenants, options{Run: noop, Workers: workers, Queue: queue})
				})
			}
		}
	}
}

// runAll submits b.N tasks to a pool and waits until all have been run, or refused.
func runAll(b *testing.B, tenants int, opt options) {
	names := tenantNames(tenants)
	p := work.New(opt)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if err := p.Submit(b.Context(), names[i%tenants], i); err != nil && opt.Full == work.Block {
				b.Error(err)
			}
		}
	})
	if err := p.Close(context.Background()); err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

func tenantNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("tenant-", i)
	}
	return names
}

// BenchmarkDepth runs tasks while so many others wait in the queue. Tenants take turns, so that each task has to be found.
func BenchmarkDepth(b *testing.B) {
	for _, depth := range []int{1000, 1_000_000} {
		for _, tenants := range []int{1, 1000} {
			b.Run(fmt.Sprintf("depth=%d/tenants=%d", depth, tenants), func(b *testing.B) {
				names := tenantNames(tenants)
				left := make(chan struct{}, 1)
				p := paused(options{Queue: depth + 1, Run: func(ctx context.Context, _ int) {
					select {
					case left <- struct{}{}:
					case <-ctx.Done():
					}
				}})
				defer closeNow(b, p)
				submitAll(b, p, names, depth)
				p.Resize(1)
				<-left
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ { // one in, one out
					submitAll(b, p, names[i%tenants:i%tenants+1], 1)
					<-left
				}
			})
		}
	}
}

func submitAll(b *testing.B, p *pool, names []string, n int) {
	for i := range n {
		if err := p.Submit(b.Context(), names[i%len(names)], i); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkShed submits to a full queue for a tenant without tasks, which takes the place of somebody else's.
func BenchmarkShed(b *testing.B) {
	for _, tenants := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) {
			names := tenantNames(tenants)
			p := paused(options{Full: work.Shed, Queue: 100_000, Run: noop})
			defer closeNow(b, p)
			submitAll(b, p, names, 100_000)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := p.Submit(b.Context(), strconv.Itoa(i%50_000), i); err != nil && i < 1000 {
					b.Fatal(err)
				}
			}
		})
	}
}
