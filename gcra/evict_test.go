package gcra_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicegate/sluice/gcra"
)

// TestEvictionOrder fills a limiter to its bound and adds new clients one by one: out go those that are idle, longest first, then those that
// owe least. One shard and many must agree.
func TestEvictionOrder(t *testing.T) {
	for _, maxKeys := range []int{10, 30_000} {
		t.Run(fmt.Sprint(maxKeys), func(t *testing.T) { evictInOrder(t, maxKeys) })
	}
}

func evictInOrder(t *testing.T, maxKeys int) {
	const now = 5 * time.Second
	l := newLimiter[int](t, gcra.Config{Limit: gcra.MustLimit(int64(maxKeys), 10*time.Second, int64(2*maxKeys)), MaxKeys: maxKeys})
	// Client i owes i+1 tokens, so at now the lower half is idle. They are charged in no order, some of it later.
	order := rand.New(rand.NewPCG(1, 1)).Perm(maxKeys)
	for _, i := range order {
		l.ChargeAt(i, 0, int64(i+1)/2+1)
	}
	for _, i := range order {
		l.ChargeAt(i, 0, int64(i+1)-int64(i+1)/2-1)
	}
	known := func(i int) bool { return l.PeekAt(i, 0, 0).ResetAfter > 0 }
	half := maxKeys / 2
	for n := range maxKeys {
		// So deep in debt that it is the last to go.
		l.ChargeAt(maxKeys+n, now, int64(3*maxKeys))
		s := l.Stats()
		if want := uint64(min(n+1, half)); s.Expired != want || s.Evicted != uint64(n+1)-want || s.Keys != maxKeys {
			t.Fatalf("after %d new clients: %+v", n+1, s)
		}
		if n+1 < maxKeys && !known(n+1) {
			t.Fatalf("after %d new clients, client %d is not known any more", n+1, n+1)
		}
	}
	// Forgotten while in debt were the clients from half on, 1, 2, ... intervals after now.
	interval := 10 * time.Second / time.Duration(maxKeys)
	lost := time.Duration(maxKeys-half) * time.Duration(maxKeys-half+1) / 2
	if s := l.Stats(); interval*time.Duration(maxKeys) == 10*time.Second && s.LostDebt != lost*interval {
		t.Errorf("%+v, want LostDebt %v", s, lost*interval)
	}
}

// TestFloodSparesTheIndebted has a million new clients come by while a few are deep in debt.
func TestFloodSparesTheIndebted(t *testing.T) {
	const maxKeys, culprits = 20_000, 100
	flood := 1_000_000
	if testing.Short() {
		flood = 100_000
	}
	l := newLimiter[string](t, gcra.Config{Limit: gcra.MustLimit(10, time.Second, 9), MaxKeys: maxKeys})
	for i := range culprits {
		l.ChargeAt(fmt.Sprint("culprit ", i), 0, 10_000)
	}
	for i := range flood {
		now := time.Duration(i) * time.Microsecond
		if !l.AllowAt(fmt.Sprint("new ", i), now).Allowed {
			t.Fatalf("new client %d refused", i)
		}
		if s := l.Stats(); s.Keys > maxKeys {
			t.Fatalf("%+v", s)
		}
	}
	for i := range culprits {
		if l.AllowAt(fmt.Sprint("culprit ", i), time.Second).Allowed {
			t.Errorf("culprit %d was forgotten", i)
		}
	}
	if s := l.Stats(); s.Keys != maxKeys || s.Evicted == 0 || s.LostDebt == 0 {
		t.Errorf("%+v", s)
	}
}

// TestForgettingIdleClientsGrantsNothing goes back in time after an idle client was forgotten: it must not be taken for a new one.
func TestForgettingIdleClientsGrantsNothing(t *testing.T) {
	l := newLimiter[string](t, gcra.Config{Limit: gcra.MustLimit(1, time.Second, 4), MaxKeys: 1})
	l.AllowNAt("a", 0, 5)
	for _, forget := range []func(){
		func() { l.Sweep(5*time.Second, 10) },
		func() { l.AllowAt("b", 5*time.Second) },
	} {
		forget()
		if d := l.PeekAt("a", time.Second, 2); d.Allowed || d.Remaining != 1 {
			t.Errorf("%+v", d)
		}
	}
	if d := l.AllowNAt("a", 6*time.Second, 5); !d.Allowed {
		t.Errorf("%+v", d)
	}
}

func TestSweepSparesTheLatelyIdle(t *testing.T) {
	l := newLimiter[int](t, gcra.Config{Limit: gcra.MustLimit(1, time.Second, 9)})
	for i := range 10 {
		l.ChargeAt(i, 0, int64(i+1))
	}
	for _, c := range []struct {
		before    time.Duration
		budget    int
		forgotten int
		more      bool
	}{{-time.Hour, 100, 0, false}, {0, 100, 0, false}, {3 * time.Second, 2, 2, true}, {3 * time.Second, 2, 1, false}, {3 * time.Second, 0, 0, false}, {time.Hour, 100, 7, false}} {
		if n, more := l.Sweep(c.before, c.budget); n != c.forgotten || more != c.more {
			t.Errorf("Sweep(%v, %d) = %d, %v", c.before, c.budget, n, more)
		}
	}
}

// TestLostDebtSaturates forgets more debt than fits the counter.
func TestLostDebtSaturates(t *testing.T) {
	l := newLimiter[int](t, gcra.Config{Limit: gcra.MustLimit(1, time.Second, 0), MaxKeys: 1})
	for i := range 4 {
		l.ChargeAt(i, 0, 1<<62)
	}
	if s := l.Stats(); s.Evicted != 3 || s.LostDebt != 1<<63-1 {
		t.Errorf("%+v", s)
	}
}
