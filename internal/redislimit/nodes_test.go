package redislimit_test

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/redislimit"
	"github.com/sluicegate/sluice/test/redistest"
)

// A clock shows another time on each node: hours apart, and running.
func clock(offset time.Duration) func(*redislimit.Config) {
	start := time.Now()
	return func(c *redislimit.Config) {
		c.Clock = func() time.Duration { return offset + time.Since(start) }
	}
}

// redisTime returns what Redis's clock shows.
func redisTime(t *testing.T, c *redis.Client) time.Time {
	t.Helper()
	now, err := c.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// TestThreeNodesOneKey drives one key on three nodes, whose clocks are an hour apart, far above its limit: what they admit together is at
// most rate·time + burst+1, with the time told by Redis.
func TestThreeNodesOneKey(t *testing.T) {
	for mode, start := range map[string]func(*testing.T, *redislimit.Link) decider{
		"strict": func(_ *testing.T, l *redislimit.Link) decider { return redislimit.NewStrict(l) },
		"lease":  func(t *testing.T, l *redislimit.Link) decider { return newLease(t, l) },
	} {
		for _, limit := range []gcra.Limit{gcra.MustLimit(1000, time.Second, 200), gcra.MustLimit(700, 3*time.Second, 0), gcra.MustLimit(10_000, time.Second, 1000)} {
			t.Run(mode+" "+limit.String(), func(t *testing.T) {
				server := redistest.Start(t)
				client := redis.NewClient(&redis.Options{Addr: server.Addr})
				defer client.Close()
				var nodes []decider
				for i := range 3 {
					nodes = append(nodes, start(t, open(t, server, clock(time.Duration(i)*time.Hour))))
				}
				from := redisTime(t, client)
				admitted, asked := drive(t, nodes, limit, 1500*time.Millisecond)
				elapsed := redisTime(t, client).Sub(from)
				most := allowance(limit, elapsed)
				t.Logf("%d of %d in %v, at most %d: %.1f%% unspent", admitted, asked, elapsed, most, 100-100*float64(admitted)/float64(most))
				if admitted > most {
					t.Errorf("%d were admitted in %v, %d beyond the limit", admitted, elapsed, admitted-most)
				}
				if asked > most && admitted == asked {
					t.Errorf("all %d were admitted", asked)
				}
			})
		}
	}
}

// allowance is the most that a limit allows in d: burst+1, and one for each T.
func allowance(l gcra.Limit, d time.Duration) int64 {
	count, period := l.Rate()
	hi, lo := bits.Mul64(uint64(d), uint64(count))
	earned, _ := bits.Div64(hi, lo, uint64(period))
	return l.Burst() + 1 + int64(earned)
}

// drive asks on all nodes from several goroutines, for d.
func drive(t *testing.T, nodes []decider, limit gcra.Limit, d time.Duration) (admitted, asked int64) {
	var yes, all atomic.Int64
	var clients sync.WaitGroup
	end := time.Now().Add(d)
	for _, node := range nodes {
		for range 8 {
			clients.Go(func() {
				for time.Now().Before(end) {
					allowed, err := node.Decide(t.Context(), []redislimit.Request{request("hot", limit, 1)})
					if err != nil {
						t.Error(err)
						return
					}
					all.Add(1)
					if allowed {
						yes.Add(1)
						continue
					}
					time.Sleep(200 * time.Microsecond)
				}
			})
		}
	}
	clients.Wait()
	return yes.Load(), all.Load()
}

// TestModesShareAllowance spends one key strictly and by lease, in turn, until neither has any left.
func TestModesShareAllowance(t *testing.T) {
	server := redistest.Start(t)
	nodes := []decider{redislimit.NewStrict(open(t, server)), newLease(t, open(t, server))}
	spent, refused := 0, [2]bool{}
	for i := 0; !refused[0] || !refused[1]; i = 1 - i {
		allowed, _ := decide(t, nodes[i], request("both", hourly, 1))
		if refused[i] = !allowed; allowed {
			spent++
		}
	}
	if spent != 5 {
		t.Errorf("%d of 5 were spent", spent)
	}
}

// TestLeaseComesBack lets a node lease and go: what it didn't spend is there for another.
func TestLeaseComesBack(t *testing.T) {
	server := redistest.Start(t)
	limit := gcra.MustLimit(1, time.Hour, 999)
	leaver := redislimit.NewLease(open(t, server), 0)
	spent := int64(0)
	for leaver.Stats().Leased < 100 {
		if allowed, r := decide(t, leaver, request("k", limit, 1)); !allowed {
			t.Fatalf("%+v", r)
		}
		spent++
	}
	if err := leaver.Close(); err != nil {
		t.Fatal(err)
	}
	s := leaver.Stats()
	if s.Spent != spent || s.Leased != s.Spent+s.Returned || s.Returned == 0 || s.Expired != 0 || s.Unknown != 0 {
		t.Errorf("%d were spent: %+v", spent, s)
	}
	strict := redislimit.NewStrict(open(t, server))
	if allowed, r := decide(t, strict, request("k", limit, 1000-spent)); !allowed {
		t.Errorf("what was not spent didn't come back: %+v", r)
	}
}

// TestIdleLeaseComesBack is the same with a node that stays and isn't asked any more.
func TestIdleLeaseComesBack(t *testing.T) {
	server := redistest.Start(t)
	limit := gcra.MustLimit(1, time.Hour, 999)
	sleeper, strict := newLease(t, open(t, server)), redislimit.NewStrict(open(t, server))
	spent := int64(0)
	for sleeper.Stats().Leased < 100 {
		decide(t, sleeper, request("k", limit, 1))
		spent++
	}
	eventually(t, "the idle node gives back its tokens", func() bool {
		allowed, err := strict.Peek(t.Context(), []redislimit.Request{request("k", limit, 1000-spent)})
		return err == nil && allowed
	})
	eventually(t, "the idle node forgets the key", func() bool { return sleeper.Stats().Keys == 0 })
	if s := sleeper.Stats(); s.Leased != s.Spent+s.Returned || s.Spent != spent {
		t.Errorf("%d were spent: %+v", spent, s)
	}
}

// TestKeysExpire finds that Redis keeps a key until its debt is paid, and no longer than a second or so beyond.
func TestKeysExpire(t *testing.T) {
	server := redistest.Start(t)
	link := open(t, server)
	strict := redislimit.NewStrict(link)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	for _, limit := range append(limits, gcra.MustLimit(1, 70*365*24*time.Hour, 0)) {
		r := request(limit.String(), limit, limit.Burst()/2+1)
		_, decided := decide(t, strict, r)
		left, err := client.PTTL(t.Context(), link.Key(r)).Result()
		if err != nil {
			t.Fatal(err)
		}
		debt := decided[0].Decision.ResetAfter
		if left > debt+1002*time.Millisecond || left < debt-5*time.Second || left <= 0 {
			t.Errorf("%v: the key stays for %v, the debt for %v", limit, left, debt)
		}
	}
}
