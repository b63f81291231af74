package redislimit_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/redislimit"
	"github.com/sluicegate/sluice/test/redistest"
)

func newOverride(t *testing.T, client, rule, rate string, burst int64) *redislimit.Override {
	t.Helper()
	o, err := redislimit.NewOverride(client, rule, rate, burst)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func follow(t *testing.T, link *redislimit.Link) *redislimit.Overrides {
	o := redislimit.NewOverrides(link)
	t.Cleanup(o.Close)
	return o
}

// TestOverridesReachEveryNode sets and unsets on one node and finds it on another.
func TestOverridesReachEveryNode(t *testing.T) {
	server := redistest.Start(t)
	one, other := open(t, server), open(t, server)
	known := follow(t, other)
	for _, client := range []string{"alice", "with space", "ü/%&=:{}", "\x00\n"} {
		set := newOverride(t, client, "per client", "120/min", 7)
		if err := one.SetOverride(t.Context(), set); err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		eventually(t, "the override arrives", func() bool { return known.Lookup(client, "per client") != nil })
		t.Logf("arrived in %v", time.Since(started))
		got := known.Lookup(client, "per client")
		if got.Client != client || got.Rule != "per client" || got.Rate != "120/min" || got.Burst != 7 || got.Limit(hourly) != gcra.MustLimit(2, time.Second, 7) {
			t.Errorf("%q became %+v", client, got)
		}
		if stored, err := other.GetOverride(t.Context(), client, "per client"); err != nil || stored == nil || stored.Rate != "120/min" {
			t.Errorf("%q: Get = %+v, %v", client, stored, err)
		}
	}
	if all, err := one.ListOverrides(t.Context()); err != nil || len(all) != 4 || known.Len() != 4 {
		t.Errorf("List = %v, %v", all, err)
	}
	if was, err := one.UnsetOverride(t.Context(), "alice", "per client"); !was || err != nil {
		t.Errorf("Unset = %v, %v", was, err)
	}
	eventually(t, "the override goes", func() bool { return known.Lookup("alice", "per client") == nil })
	if was, err := one.UnsetOverride(t.Context(), "alice", "per client"); was || err != nil {
		t.Errorf("Unset of nothing = %v, %v", was, err)
	}
	if none, err := one.GetOverride(t.Context(), "alice", "per client"); none != nil || err != nil {
		t.Errorf("Get of nothing = %v, %v", none, err)
	}
}

// TestLostMessage changes overrides behind the nodes' back, as when the message is lost: the heartbeat tells.
func TestLostMessage(t *testing.T) {
	server := redistest.Start(t)
	known := follow(t, open(t, server))
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	client.HSet(t.Context(), "sluice:{limits}:overrides", "rule bob", "3/10s -1", "rule", "nonsense", "rule eve", "0/s 1")
	client.Incr(t.Context(), "sluice:{limits}:overrides:version")
	eventually(t, "the override arrives", func() bool { return known.Lookup("bob", "rule") != nil })
	if got := known.Lookup("bob", "rule").Limit(hourly); got != gcra.MustLimit(3, 10*time.Second, 4) {
		t.Errorf("with the rule's burst: %v", got)
	}
	if known.Len() != 1 {
		t.Errorf("%d overrides, of which one can be understood", known.Len())
	}
}

// TestOverridesSurviveOutage keeps what is known while Redis is away, and follows it again when it is back.
func TestOverridesSurviveOutage(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	link := open(t, server, prompt)
	known := follow(t, link)
	eventually(t, "set", func() bool { return link.SetOverride(t.Context(), newOverride(t, "bob", "rule", "5/h", 0)) == nil })
	eventually(t, "the override arrives", func() bool { return known.Lookup("bob", "rule") != nil })
	server.Kill()
	if err := link.SetOverride(t.Context(), newOverride(t, "eve", "rule", "5/h", 0)); !errors.Is(err, redislimit.ErrUnavailable) {
		t.Errorf("Set without Redis: %v", err)
	}
	if known.Lookup("bob", "rule") == nil {
		t.Error("the override is forgotten while Redis is away")
	}
	server.Restart()
	eventually(t, "set again", func() bool { return link.SetOverride(t.Context(), newOverride(t, "eve", "rule", "5/h", 0)) == nil })
	eventually(t, "both are known", func() bool { return known.Len() == 2 })
}

func TestBadOverrides(t *testing.T) {
	for _, c := range []struct {
		client, rule, rate string
		burst              int64
	}{
		{"", "r", "1/s", 0}, {"c", "", "1/s", 0}, {"c", "r", "", 0}, {"c", "r", "1", 0}, {"c", "r", "1/", 0}, {"c", "r", "0/s", 0}, {"c", "r", "-1/s", 0},
		{"c", "r", "x/s", 0}, {"c", "r", "1/fortnight", 0}, {"c", "r", "1/-1s", 0}, {"c", "r", "2000000000/s", 0}, {"c", "r", "1/day", 1 << 50}, {"c", "r", "1/d", 0},
	} {
		if o, err := redislimit.NewOverride(c.client, c.rule, c.rate, c.burst); !errors.Is(err, redislimit.ErrOverride) || o != nil {
			t.Errorf("%+v: %+v, %v", c, o, err)
		}
	}
}

// TestShare counts the nodes that Redis knows and decides by this one's part.
func TestShare(t *testing.T) {
	server := redistest.Start(t)
	one, other := open(t, server), open(t, server)
	eventually(t, "both know of two", func() bool { return one.Nodes() == 2 && other.Nodes() == 2 })
	share, err := redislimit.NewShare(one, 0)
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	limit := gcra.MustLimit(10, time.Second, 9)
	requests := []redislimit.Request{request("k", limit, 1)}
	for _, step := range []struct {
		at      time.Duration
		allowed int
	}{{0, 5}, {199 * time.Millisecond, 0}, {200 * time.Millisecond, 1}, {time.Second, 4}, {time.Minute, 5}} {
		allowed := 0
		for range 20 {
			ok, err := share.Decide(step.at, requests)
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				allowed++
			}
		}
		if allowed != step.allowed {
			t.Errorf("at %v: %d, not %d: %+v", step.at, allowed, step.allowed, requests[0].Decision)
		}
	}
	if err := share.Refund(time.Minute, requests); err != nil {
		t.Fatal(err)
	}
	if ok, _ := share.Decide(time.Minute, requests); !ok {
		t.Error("what was refunded can't be spent")
	}
}

func TestPart(t *testing.T) {
	ten := gcra.MustLimit(10, time.Second, 9)
	for _, c := range []struct {
		limit gcra.Limit
		nodes int
		want  gcra.Limit
	}{
		{ten, 1, ten},
		{ten, 0, ten},
		{ten, 3, gcra.MustLimit(10, 3*time.Second, 2)},
		{gcra.MustLimit(7, time.Second, 0), 3, gcra.MustLimit(7, 3*time.Second, 0)},
		{gcra.Limit{}, 3, gcra.Limit{}},
	} {
		if got, err := redislimit.Part(c.limit, c.nodes); err != nil || got != c.want {
			t.Errorf("%v for %d: %v, %v", c.limit, c.nodes, got, err)
		}
	}
	if _, err := redislimit.Part(gcra.MustLimit(1, 1<<61, 0), 3); !errors.Is(err, gcra.ErrLimit) {
		t.Errorf("a part slower than any limit: %v", err)
	}
}
