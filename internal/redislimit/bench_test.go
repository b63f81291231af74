package redislimit_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/redislimit"
	"github.com/sluicegate/sluice/test/redistest"
)

// BenchmarkDecide measures decisions about 1000 keys, or one, by so many clients at once: the time per decision, and the pipelines and scripts that
// one costs Redis.
func BenchmarkDecide(b *testing.B) {
	limit := gcra.MustLimit(1_000_000_000, time.Second, 1_000_000_000)
	for _, mode := range []string{"strict", "lease"} {
		for _, keys := range []int{1, 1000} {
			for _, clients := range []int{1, 8, 64, 256} {
				b.Run(fmt.Sprintf("%s/keys=%d/clients=%d", mode, keys, clients), func(b *testing.B) {
					link := open(b, redistest.Start(b))
					var d decider = redislimit.NewStrict(link)
					if mode == "lease" {
						d = newLease(b, link)
					}
					before := link.Stats()
					b.ReportAllocs()
					b.ResetTimer()
					load(b, d, limit, keys, clients)
					b.StopTimer()
					after := link.Stats()
					b.ReportMetric(float64(after.RoundTrips-before.RoundTrips)/float64(b.N), "pipelines/op")
					b.ReportMetric(float64(after.Calls-before.Calls)/float64(b.N), "scripts/op")
				})
			}
		}
	}
}

func load(b *testing.B, d decider, limit gcra.Limit, keys, clients int) {
	names := make([]string, keys)
	for i := range names {
		names[i] = fmt.Sprintf("client-%d", i)
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			requests := make([]redislimit.Request, 1)
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				requests[0] = request(names[i%int64(keys)], limit, 1)
				if allowed, err := d.Decide(b.Context(), requests); err != nil || !allowed {
					b.Errorf("%v, %v", allowed, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkPipelines compares how many pipelines are under way at once, with 64 clients.
func BenchmarkPipelines(b *testing.B) {
	for _, n := range []int{1, 2, 4, 8} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			link := open(b, redistest.Start(b), func(c *redislimit.Config) { c.Pipelines = n })
			b.ResetTimer()
			load(b, redislimit.NewStrict(link), gcra.MustLimit(1_000_000_000, time.Second, 1_000_000_000), 1000, 64)
			b.StopTimer()
			b.ReportMetric(float64(link.Stats().RoundTrips)/float64(b.N), "pipelines/op")
		})
	}
}
