package gcra_test

import (
	"testing"
	"time"

	"github.com/sluicegate/sluice/gcra"
)

func TestAllOrNothing(t *testing.T) {
	client := newLimiter[string](t, gcra.Config{Limit: gcra.MustLimit(1, time.Second, 4)})
	global := newLimiter[string](t, gcra.Config{Limit: gcra.MustLimit(10, time.Second, 9)})
	ask := func(name string, n int64) (bool, gcra.Decision, gcra.Decision) {
		r := []gcra.Request[string]{{Limiter: global, Key: "", N: 1}, {Limiter: client, Key: name, N: n}}
		ok := gcra.All(0, r)
		return ok, r[0].Decision, r[1].Decision
	}
	if ok, g, c := ask("a", 5); !ok || g.Remaining != 9 || c.Remaining != 0 {
		t.Fatalf("first: %v %+v %+v", ok, g, c)
	}
	if ok, g, c := ask("a", 1); ok || g.Remaining != 9 || !g.Allowed || c.RetryAfter != time.Second {
		t.Errorf("refused by the client's limit: %v %+v %+v", ok, g, c)
	}
	global.ChargeAt("", 0, 9)
	if ok, g, c := ask("b", 2); ok || g.RetryAfter != 100*time.Millisecond || c.Remaining != 5 || !c.Allowed {
		t.Errorf("refused by the global limit: %v %+v %+v", ok, g, c)
	}
	if s := client.Stats(); s.Keys != 1 {
		t.Errorf("a refused client is remembered: %+v", s)
	}
}

// TestAllTakesBack has the same key twice: each fits, both don't, which shows only when the first was taken.
func TestAllTakesBack(t *testing.T) {
	l := newLimiter[string](t, gcra.Config{Limit: gcra.MustLimit(7, time.Second, 4)})
	l.AllowAt("a", 0)
	r := []gcra.Request[string]{{Limiter: l, Key: "other", N: 5}, {Limiter: l, Key: "a", N: 3}, {Limiter: l, Key: "a", N: 2}}
	if gcra.All(0, r) {
		t.Fatalf("allowed: %+v", r)
	}
	if r[2].Decision.Allowed || r[2].Decision.RetryAfter != 142_857_143 {
		t.Errorf("the one refused: %+v", r[2].Decision)
	}
	for key, want := range map[string]int64{"a": 4, "other": 5} {
		if d := l.PeekAt(key, 0, 1); d.Remaining != want {
			t.Errorf("%s has %d left, not %d", key, d.Remaining, want)
		}
	}
	r[2].N = 1
	if !gcra.All(0, r) {
		t.Errorf("refused: %+v", r)
	}
	if !gcra.All[string](0, nil) {
		t.Error("nothing was refused")
	}
}
