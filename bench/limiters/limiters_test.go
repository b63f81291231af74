package limiters

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	"golang.org/x/time/rate"

	"github.com/sluicegate/sluice/gcra"
)

const (
	keys      = 65_536
	perSecond = 1000
	burst     = 9
)

// A contender decides one request of a client.
type contender struct {
	name string
	new  func(tb testing.TB) (allow func(key string) bool)
}

var contenders = []contender{
	{"gcra", newGCRA},
	{"x-time-rate-in-sync.Map", newRate},
	{"sethvargo-go-limiter", newSethvargo},
	{"throttled-memstore", newThrottled},
}

func newGCRA(tb testing.TB) func(string) bool {
	l, err := gcra.New[string](gcra.Config{Limit: gcra.MustLimit(perSecond, time.Second, burst)})
	check(tb, err)
	return func(key string) bool {
		d, err := l.Allow(key)
		return err == nil && d.Allowed
	}
}

func newRate(testing.TB) func(string) bool {
	var m sync.Map
	return func(key string) bool {
		l, ok := m.Load(key)
		if !ok {
			l, _ = m.LoadOrStore(key, rate.NewLimiter(perSecond, burst+1))
		}
		return l.(*rate.Limiter).Allow()
	}
}

func newSethvargo(tb testing.TB) func(string) bool {
	s, err := memorystore.New(&memorystore.Config{Tokens: perSecond, Interval: time.Second, InitialAlloc: keys})
	check(tb, err)
	ctx := context.Background()
	tb.Cleanup(func() { check(tb, s.Close(ctx)) })
	return func(key string) bool {
		_, _, _, ok, err := s.Take(ctx, key)
		return err == nil && ok
	}
}

func newThrottled(tb testing.TB) func(string) bool {
	s, err := memstore.NewCtx(2 * keys)
	check(tb, err)
	l, err := throttled.NewGCRARateLimiterCtx(s, throttled.RateQuota{MaxRate: throttled.PerSec(perSecond), MaxBurst: burst})
	check(tb, err)
	ctx := context.Background()
	return func(key string) bool {
		limited, _, err := l.RateLimitCtx(ctx, key, 1)
		return err == nil && !limited
	}
}

func check(tb testing.TB, err error) {
	if err != nil {
		tb.Helper()
		tb.Error(err)
	}
}

// TestContendersLimit makes sure that what is compared does its job: a burst passes, an excess doesn't.
func TestContendersLimit(t *testing.T) {
	for _, c := range contenders {
		t.Run(c.name, func(t *testing.T) {
			allow := c.new(t)
			allowed := 0
			for range 100 * perSecond {
				if allow("a") {
					allowed++
				}
			}
			if allowed < burst+1 || allowed > 50*perSecond {
				t.Errorf("allowed %d of %d", allowed, 100*perSecond)
			}
		})
	}
}

func shuffledKeys() []string {
	names := make([]string, keys)
	for i := range names {
		names[i] = fmt.Sprintf("client-%08d", i*7919)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(keys, func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}

// BenchmarkManyKeys goes around 65,536 clients, all of them known, from as many goroutines as -cpu says.
func BenchmarkManyKeys(b *testing.B) {
	names := shuffledKeys()
	for _, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			allow := c.new(b)
			for _, k := range names {
				allow(k)
			}
			b.ReportAllocs()
			defer cpuTime(b)()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(keys); pb.Next(); i++ {
					allow(names[i%keys])
				}
			})
		})
	}
}

// BenchmarkOneKey has all goroutines ask for the same client.
func BenchmarkOneKey(b *testing.B) {
	for _, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			allow := c.new(b)
			allow("client-00000000")
			b.ReportAllocs()
			defer cpuTime(b)()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					allow("client-00000000")
				}
			})
		})
	}
}

// BenchmarkGoroutines is BenchmarkManyKeys and BenchmarkOneKey from a given number of goroutines.
func BenchmarkGoroutines(b *testing.B) {
	names := shuffledKeys()
	for _, c := range contenders {
		for _, n := range []int{1, 2, 4, 8, 16} {
			for _, clients := range []int{keys, 1} {
				b.Run(fmt.Sprintf("%s/clients=%d/goroutines=%d", c.name, clients, n), func(b *testing.B) {
					allow := c.new(b)
					for _, k := range names[:clients] {
						allow(k)
					}
					defer cpuTime(b)()
					b.ResetTimer()
					var wg sync.WaitGroup
					for g := range n {
						wg.Go(func() {
							first := g * keys / n
							for i := g; i < b.N; i += n {
								allow(names[(first+i)%clients])
							}
						})
					}
					wg.Wait()
				})
			}
		}
	}
}
