package gcra_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/gcra"
)

// together runs n copies of f at once and waits for them.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

// TestEveryRoundAdmitsTheBurst is about decisions that get lost. In each round many goroutines ask for the same client, which was idle,
// while others sweep idle clients away or push them out with new ones. Whoever evicts the client between another's look-up and its
// decision must not make that decision forgotten: each round admits burst+1, not one more or less.
func TestEveryRoundAdmitsTheBurst(t *testing.T) {
	for _, limit := range []gcra.Limit{gcra.MustLimit(10, time.Second, 4), gcra.MustLimit(7, time.Second, 4)} {
		t.Run(limit.String(), func(t *testing.T) { everyRound(t, limit) })
	}
}

func everyRound(t *testing.T, limit gcra.Limit) {
	const askers, others, maxKeys = 4, 2, 64
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	l := newLimiter[string](t, gcra.Config{Limit: limit, MaxKeys: maxKeys})
	now := time.Duration(0)
	for round := range rounds {
		now += limit.Window()
		var admitted atomic.Int64
		together(askers+others, func(i int) {
			switch {
			case i == 0:
				l.Sweep(now, 1000)
			case i == 1:
				for k := range maxKeys/2 - 1 { // with the hot one half of all: only idle ones have to go
					l.AllowAt(fmt.Sprint(round, "/", k), now)
				}
			default:
				for range 3 {
					if l.AllowAt("hot", now).Allowed {
						admitted.Add(1)
					}
				}
			}
		})
		if got := admitted.Load(); got != limit.Burst()+1 {
			t.Fatalf("round %d admitted %d", round, got)
		}
	}
	if s := l.Stats(); s.Evicted != 0 || s.Expired == 0 {
		t.Errorf("%+v", s)
	}
}

// TestSumNeverExceedsTheLimit drives a few clients much too hard on a virtual clock that all goroutines push forward, so that many come late
// with an old time, with sweeps going on. All but one pause now and then. Whatever happens, no client gets more than
// time/T + burst + 1, exactly, with what it was refunded taken off.
func TestSumNeverExceedsTheLimit(t *testing.T) {
	for _, c := range []struct {
		count  int64
		period time.Duration
		burst  int64
	}{{1000, time.Second, 10}, {999_999_999, time.Second, 50}, {7, time.Millisecond, 0}, {3_000_001, time.Second, 3}} {
		limit := gcra.MustLimit(c.count, c.period, c.burst)
		t.Run(limit.String(), func(t *testing.T) { sumUp(t, limit, newReference(c.count, c.period, c.burst)) })
	}
}

func sumUp(t *testing.T, limit gcra.Limit, ref *reference) {
	const workers, clients = 8, 5
	requests := 20_000
	if testing.Short() {
		requests = 4000
	}
	l := newLimiter[int](t, gcra.Config{Limit: limit})
	var clock atomic.Int64
	var net [clients]atomic.Int64
	interval := int64(limit.Window()) / (limit.Burst() + 1)
	together(workers, func(w int) {
		rnd := rand.New(rand.NewPCG(uint64(w), 0))
		for i := range requests {
			now := time.Duration(clock.Add(interval / 16))
			if interval < 16 {
				now = time.Duration(clock.Add(rnd.Int64N(2)))
			}
			k := rnd.IntN(clients)
			if k > 0 && now/limit.Window()/4%2 == 1 {
				k = 0 // all but client 0 pause
			}
			n := 1 + rnd.Int64N(limit.Burst()+1)
			if k == 0 {
				n = 1
			}
			switch i % 16 {
			case 1:
				l.Sweep(now, 10)
			case 2:
				n = 0
			}
			if !l.AllowNAt(k, now, n).Allowed {
				continue
			}
			net[k].Add(n)
			if k > 0 && rnd.IntN(4) == 0 {
				l.RefundAt(k, now, n)
				net[k].Add(-n)
			}
		}
	})
	now := clock.Load()
	for k := range net {
		// The most that GCRA admits from 0 to now: n tokens with (n-burst-1)*T <= now.
		n := net[k].Load() - limit.Burst() - 1
		if n <= 0 {
			t.Errorf("client %d got only %d", k, net[k].Load())
		} else if ref.cost(n).Cmp(rat(now)) > 0 {
			t.Errorf("client %d got %d in %d ns", k, n+limit.Burst()+1, now)
		}
	}
}

// TestHotClient has everybody ask for one client at one time: it gets exactly its burst.
func TestHotClient(t *testing.T) {
	const workers, each = 16, 2000
	for _, limit := range []gcra.Limit{gcra.MustLimit(1, time.Hour, 9999), gcra.MustLimit(7, time.Hour, 9999)} {
		l := newLimiter[string](t, gcra.Config{Limit: limit, MaxKeys: 1})
		var admitted atomic.Int64
		together(workers, func(int) {
			for range each {
				if d, err := l.Allow("a"); err != nil {
					t.Error(err)
				} else if d.Allowed {
					admitted.Add(1)
				}
			}
		})
		// Less than an hour goes by in between: no token comes back for the first, up to 7 for the other.
		if got := admitted.Load(); got < 10_000 || got > 10_007 {
			t.Errorf("%v: admitted %d", limit, got)
		}
	}
}

// TestAllNeverAdmitsMore races requests for a common limit and one of two limits of their own. In the end every token of the common limit
// that is gone was spent by a request that was allowed.
func TestAllNeverAdmitsMore(t *testing.T) {
	const common, own, workers, each = 2500, 1500, 8, 1500
	limit := gcra.MustLimit(7, time.Hour, common-1)
	l := newLimiter[string](t, gcra.Config{Limit: limit})
	mine := l.WithLimit(gcra.MustLimit(7, time.Hour, own-1))
	var admitted [2]atomic.Int64
	together(workers, func(w int) {
		name := fmt.Sprint("client ", w%2)
		r := []gcra.Request[string]{{Limiter: l, Key: "common", N: 1}, {Limiter: mine, Key: name, N: 1}}
		for i := range each {
			if gcra.All(0, r) {
				admitted[w%2].Add(1)
			}
			if i%64 == 0 {
				runtime.Gosched()
			}
		}
	})
	sum := int64(0)
	for i := range admitted {
		n := admitted[i].Load()
		sum += n
		if left := mine.PeekAt(fmt.Sprint("client ", i), 0, 1).Remaining; left != own-n {
			t.Errorf("client %d: admitted %d, %d left", i, n, left)
		}
	}
	if left := l.PeekAt("common", 0, 1).Remaining; left != common-sum || sum == 0 {
		t.Errorf("admitted %d of %d, %d left", sum, common, left)
	}
}

// TestAddingAndForgettingInParallel has all shards grow, shrink and overflow at once under the race detector.
func TestAddingAndForgettingInParallel(t *testing.T) {
	const workers, maxKeys = 8, 1000
	each := 20_000
	if testing.Short() {
		each = 3000
	}
	l := newLimiter[uint64](t, gcra.Config{Limit: gcra.MustLimit(1000, time.Second, 3), MaxKeys: maxKeys})
	together(workers, func(w int) {
		rnd := rand.New(rand.NewPCG(uint64(w), 3))
		for i := range each {
			now := time.Duration(i) * time.Microsecond
			l.AllowAt(rnd.Uint64N(4*maxKeys), now)
			if i%100 == 0 {
				l.Sweep(now, 100)
			}
			if s := l.Stats(); s.Keys > maxKeys {
				t.Errorf("%+v", s)
				return
			}
		}
	})
	s := l.Stats()
	if s.Added != s.Expired+s.Evicted+uint64(s.Keys) {
		t.Errorf("%+v doesn't add up", s)
	}
	for more := true; more; {
		_, more = l.Sweep(time.Hour, 100)
	}
	if s := l.Stats(); s.Keys != 0 {
		t.Errorf("%+v", s)
	}
}

// TestLockstep narrows the same down to two goroutines that set out at the same moment, again and again: one asks for the whole burst of
// an idle client, the other sweeps it away and asks too. One of them gets it.
func TestLockstep(t *testing.T) {
	rounds := int64(100_000)
	if testing.Short() {
		rounds = 5000
	}
	for _, limit := range []gcra.Limit{gcra.MustLimit(10, time.Second, 4), gcra.MustLimit(7, time.Second, 4)} {
		l := newLimiter[string](t, gcra.Config{Limit: limit, MaxKeys: 10})
		var ready, admitted atomic.Int64
		meet := func(n int64) {
			for ready.Add(1); ready.Load() < n; {
				runtime.Gosched()
			}
		}
		together(2, func(who int) {
			for round := range rounds {
				now := time.Duration(round) * limit.Window()
				meet(4*round + 2)
				for range 3 * who {
					l.Sweep(now, 10)
				}
				if l.AllowNAt("hot", now, limit.Burst()+1).Allowed {
					admitted.Add(1)
				}
				meet(4*round + 4)
				if got := admitted.Load(); got != round+1 {
					t.Errorf("%v: after round %d %d were admitted", limit, round, got)
					break
				}
			}
			ready.Add(1 << 40) // lets the other go on if this one gave up
		})
	}
}

// TestNewClient has many goroutines ask at once for a client that nobody knows, in a table with room for one.
func TestNewClient(t *testing.T) {
	for _, limit := range []gcra.Limit{gcra.MustLimit(1, time.Hour, 9), gcra.MustLimit(7, time.Hour, 9)} {
		for round := range 300 {
			l := newLimiter[string](t, gcra.Config{Limit: limit, MaxKeys: 1})
			var admitted atomic.Int64
			together(8, func(int) {
				for range 5 {
					if l.AllowAt("a", 0).Allowed {
						admitted.Add(1)
					}
				}
			})
			if got := admitted.Load(); got != 10 {
				t.Fatalf("%v, round %d: admitted %d", limit, round, got)
			}
		}
	}
}
