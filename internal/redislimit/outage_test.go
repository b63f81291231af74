package redislimit_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/redislimit"
	"github.com/sluicegate/sluice/test/redistest"
)

var fast = gcra.MustLimit(1_000_000, time.Second, 1_000_000)

// prompt makes a link wait as short as in production.
func prompt(c *redislimit.Config) { c.Timeout = 0 }

// TestOutage takes Redis away under both modes, in two ways, and gives it back: while it is away there are errors that say so and nothing
// waits for it, and when it is back there are decisions again.
func TestOutage(t *testing.T) {
	for mode, start := range map[string]func(*testing.T, *redislimit.Link) decider{
		"strict": func(_ *testing.T, l *redislimit.Link) decider { return redislimit.NewStrict(l) },
		"lease": func(t *testing.T, l *redislimit.Link) decider {
			leased := redislimit.NewLease(l, 0)
			t.Cleanup(func() { _ = leased.Close() }) // what it can't return is lost
			return leased
		},
	} {
		for way, outage := range map[string]struct{ begin, end func(*redistest.Server) }{
			"dead":    {(*redistest.Server).Kill, (*redistest.Server).Restart},
			"hanging": {(*redistest.Server).Pause, (*redistest.Server).Resume},
		} {
			t.Run(mode+" "+way, func(t *testing.T) {
				server := redistest.Start(t)
				link := open(t, server, prompt)
				d := start(t, link)
				ask := func() (bool, error) { return d.Decide(t.Context(), []redislimit.Request{request("k", fast, 1)}) }
				eventually(t, "the first decision", func() bool { allowed, err := ask(); return allowed && err == nil })

				outage.begin(server)
				eventually(t, "the breaker opens", func() bool {
					_, err := ask()
					if err != nil && !errors.Is(err, redislimit.ErrUnavailable) {
						t.Fatal(err)
					}
					return !link.Available()
				})
				eventually(t, "no lease is left", func() bool { _, err := ask(); return err != nil })
				t.Logf("while it is away a decision takes %v", percentile(t, ask))
				outage.end(server)
				back := time.Now()
				eventually(t, "decisions again", func() bool { allowed, err := ask(); return allowed && err == nil })
				t.Logf("decisions again %v after its return; %v", time.Since(back), link.Stats())
				if s := link.Stats(); s.Opened == 0 || s.Errors["open"] == 0 {
					t.Errorf("the outage doesn't show in the counters: %+v", s)
				}
			})
		}
	}
}

// percentile asks a thousand times without Redis and returns the 99th percentile of how long it took; every time must be an error.
func percentile(t *testing.T, ask func() (bool, error)) time.Duration {
	var took []time.Duration
	for range 1000 {
		started := time.Now()
		if allowed, err := ask(); allowed || !errors.Is(err, redislimit.ErrUnavailable) {
			t.Fatalf("without Redis: %v, %v", allowed, err)
		}
		took = append(took, time.Since(started))
	}
	slices.Sort(took)
	return took[990]
}

func TestScriptFlush(t *testing.T) {
	server := redistest.Start(t)
	link := open(t, server)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	strict, leased := redislimit.NewStrict(link), newLease(t, link)
	for i := range 5 {
		if err := client.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if allowed, r := decide(t, strict, request("strict", hourly, 1)); !allowed || r[0].Decision.Remaining != int64(4-i) {
			t.Fatalf("strict, %d: %+v", i, r)
		}
		if allowed, r := decide(t, leased, request("lease", hourly, 1)); !allowed || r[0].Decision.Remaining != int64(4-i) {
			t.Fatalf("lease, %d: %+v", i, r)
		}
	}
	if link.Stats().Reloads < 5 {
		t.Errorf("scripts were sent again %d times", link.Stats().Reloads)
	}
}

// TestRestart kills the server: with its memory on disk nothing is forgotten, and without, one allowance is given anew.
func TestRestart(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		left int64
	}{
		"kept":      {[]string{"--appendonly", "yes", "--appendfsync", "always"}, 2},
		"forgotten": {nil, 5},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, c.args...)
			strict := redislimit.NewStrict(open(t, server))
			if allowed, r := decide(t, strict, request("k", hourly, 3)); !allowed {
				t.Fatalf("%+v", r)
			}
			server.Kill()
			server.Restart()
			requests := []redislimit.Request{request("k", hourly, 0)}
			eventually(t, "decisions again", func() bool { _, err := strict.Decide(t.Context(), requests); return err == nil })
			if got := requests[0].Decision.Remaining; got != c.left {
				t.Errorf("%d are left, not %d", got, c.left)
			}
		})
	}
}

// TestHoldsWithoutRedis spends a lease while Redis is away.
func TestHoldsWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	link := open(t, server)
	leased := redislimit.NewLease(link, 0)
	defer leased.Close()
	limit := gcra.MustLimit(1, time.Hour, 99_999)
	for leased.Stats().Leased-leased.Stats().Spent < 500 {
		if allowed, r := decide(t, leased, request("k", limit, 1)); !allowed {
			t.Fatalf("%+v", r)
		}
	}
	server.Kill()
	if allowed, err := leased.Decide(t.Context(), []redislimit.Request{request("k", limit, 1)}); !allowed || err != nil {
		t.Errorf("with tokens on loan: %v, %v", allowed, err)
	}
}

// TestWrongValue is an error of one key, which says nothing about Redis.
func TestWrongValue(t *testing.T) {
	server := redistest.Start(t)
	link := open(t, server)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	r := request("k", hourly, 1)
	if err := client.HSet(t.Context(), link.Key(r), "a", "b").Err(); err != nil {
		t.Fatal(err)
	}
	strict, leased := redislimit.NewStrict(link), newLease(t, link)
	for range 10 {
		for _, d := range []decider{strict, leased} {
			if _, err := d.Decide(t.Context(), []redislimit.Request{r}); err == nil || errors.Is(err, redislimit.ErrUnavailable) {
				t.Fatalf("%T: %v", d, err)
			}
		}
	}
	if !link.Available() {
		t.Error("one bad key opened the breaker")
	}
}
