package cache_test

import (
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/cache"
)

// BenchmarkHit is what a request costs that is answered from the store, but for its head and its answer on the wire.
func BenchmarkHit(b *testing.B) {
	for name, vary := range map[string]string{"plain": "", "varied": "Accept-Encoding"} {
		b.Run(name, func(b *testing.B) {
			c := open(b, anHour)
			now := start.Add(time.Second)
			fields := []string{"Host: example.com", "User-Agent: bench", "Accept: */*", "Accept-Encoding: gzip, deflate, br", "Accept-Language: en", "X-Forwarded-For: 10.0.0.1"}
			keep(b, c, request("GET /api/resource?page=1", fields...), response(b, "200 OK", hour, "Vary: "+vary), "body", start)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				req := request("GET /api/resource?page=1", fields...)
				var p cache.Plan
				for pb.Next() {
					c.Plan(&p, req, false, now)
					e, state := c.Lookup(&p, now)
					if state != cache.Fresh || e.Reply(req, &p) != (cache.Reply{}) {
						b.Fatal(state)
					}
				}
			})
		})
	}
}
