package coalesce_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/coalesce"
)

// at1 serves at once, like a policy that has decided so.
type at1 struct{}

func (at1) Decide(coalesce.State) coalesce.Decision { return coalesce.Decision{Serve: true} }

func instant(context.Context, *call) (string, error) { return "v", nil }

// BenchmarkLone is a request that nobody shares: what it costs more than the fetch alone. It includes the goroutine of the fetch.
func BenchmarkLone(b *testing.B) {
	for name, opt := range map[string]*options{
		"no policy": {Fetch: instant},
		"policy":    {Policy: at1{}, Hold: 50 * time.Millisecond, Fetch: instant},
		"relaxed":   {Policy: at1{}, Hold: 50 * time.Millisecond, Relaxed: true, Fetch: instant},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			g := coalesce.New[int, string](coalesce.Config{})
			ctx := context.Background()
			for b.Loop() {
				if _, _, err := g.Do(ctx, "key", 1, opt); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkKeys is many goroutines, each with keys of its own.
func BenchmarkKeys(b *testing.B) {
	b.ReportAllocs()
	g := coalesce.New[int, string](coalesce.Config{})
	opt := &options{Fetch: instant}
	keys := make([]string, 4096)
	for i := range keys {
		keys[i] = fmt.Sprint("key-", i)
	}
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i = (i + 1709) % len(keys) {
			if _, _, err := g.Do(context.Background(), keys[i], 1, opt); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkBatch is a batch of n requests that share a call, from the first that arrives to the last that is answered; ns/op is for each request.
// It includes their goroutines.
func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{8, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			g := coalesce.New[int, string](coalesce.Config{})
			opt := &options{Policy: wait{}, Hold: time.Minute, MaxBatch: n, Fetch: instant}
			for done := 0; done < b.N; done += n {
				var wg sync.WaitGroup
				for range n {
					wg.Go(func() {
						if _, _, err := g.Do(context.Background(), "key", 1, opt); err != nil {
							b.Error(err)
						}
					})
				}
				wg.Wait()
			}
		})
	}
}

// BenchmarkPublished is a request that joins a call whose answer is there already.
func BenchmarkPublished(b *testing.B) {
	b.ReportAllocs()
	g := coalesce.New[int, string](coalesce.Config{})
	end := make(chan struct{})
	opt := &options{Relaxed: true, Fetch: func(_ context.Context, c *call) (string, error) {
		c.Publish("v")
		<-end
		return "", nil
	}}
	for b.Loop() {
		if _, _, err := g.Do(context.Background(), "key", 1, opt); err != nil {
			b.Fatal(err)
		}
	}
	close(end)
	if err := g.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}
