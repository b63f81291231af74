package gcra_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/sluicegate/sluice/gcra"
)

func newLimiter[K comparable](t testing.TB, c gcra.Config) *gcra.Limiter[K] {
	t.Helper()
	l, err := gcra.New[K](c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLimiterEqualsReference plays random requests of many clients, with idle ones swept away all the time, against one reference for each.
// Time goes forward only: a client that was forgotten is not known to have been ahead of a time before.
func TestLimiterEqualsReference(t *testing.T) {
	for _, c := range limits {
		limit := gcra.MustLimit(c.count, c.period, c.burst)
		l := newLimiter[string](t, gcra.Config{Limit: limit})
		refs := map[string]*reference{}
		rnd := rand.New(rand.NewPCG(uint64(c.count), 1))
		now := time.Duration(0)
		interval := int64(limit.Window()) / (c.burst + 1)
		for i := range 4000 {
			key := fmt.Sprint(rnd.IntN(20))
			ref := refs[key]
			if ref == nil {
				ref = newReference(c.count, c.period, c.burst)
				refs[key] = ref
			}
			now = min(now+time.Duration(rnd.Int64N(interval/4+2)), endOfTime)
			n := rnd.Int64N(min(c.burst+1, 10)+1) + rnd.Int64N(2)
			var got, want gcra.Decision
			switch rnd.IntN(8) {
			case 0:
				got, want = l.ChargeAt(key, now, n), ref.charge(now, n)
			case 1:
				got, want = l.RefundAt(key, now, n), ref.refund(now, n)
			case 2:
				got, want = l.PeekAt(key, now, n), ref.peek(now, n)
			case 3:
				l.Sweep(now, 3)
				continue
			default:
				got, want = l.AllowNAt(key, now, n), ref.allow(now, n)
			}
			if got != want {
				t.Fatalf("%v, request %d at %d, cost %d:\n got %+v\nwant %+v", limit, i, now, n, got, want)
			}
		}
		if l.Stats().Evicted != 0 {
			t.Errorf("%v: evicted without need: %+v", limit, l.Stats())
		}
	}
}

func TestKeysOfAnyKind(t *testing.T) {
	type name string
	type route struct {
		client name
		method int
	}
	testKeys(t, func(i int) int { return i })
	testKeys(t, func(i int) string { return fmt.Sprint(i) })
	testKeys(t, func(i int) name { return name(fmt.Sprint(i)) })
	testKeys(t, func(i int) route { return route{name(fmt.Sprint(i / 7)), i % 7} })
	testKeys(t, func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) })
	testKeys(t, func(i int) any { return i })
}

// testKeys gives every key its only token, adding, forgetting and adding again enough of them to grow and shrink every shard.
func testKeys[K comparable](t *testing.T, key func(int) K) {
	t.Helper()
	const n = 20_000
	l := newLimiter[K](t, gcra.Config{Limit: gcra.MustLimit(1, time.Hour, 0)})
	for round := range 3 {
		now := time.Duration(round) * time.Hour
		for i := range n {
			if !l.AllowAt(key(i), now).Allowed {
				t.Fatalf("%T: first request of key %d refused", key(i), i)
			}
		}
		for i := range n {
			if l.AllowAt(key(i), now).Allowed {
				t.Fatalf("%T: second request of key %d allowed", key(i), i)
			}
		}
		if s := l.Stats(); s.Keys != n {
			t.Fatalf("%T: %+v", key(0), s)
		}
		if forgotten, more := l.Sweep(now+time.Hour, 10*n); round == 1 && (forgotten != n || more) {
			t.Fatalf("%T: Sweep = %d, %v", key(0), forgotten, more)
		}
	}
}

func TestNewRefusesNegativeMaxKeys(t *testing.T) {
	if _, err := gcra.New[int](gcra.Config{MaxKeys: -1}); !errors.Is(err, gcra.ErrMaxKeys) {
		t.Errorf("New = %v", err)
	}
}

// TestCloneKeys uses one buffer for all keys, as a server does: each client must find itself again, and nobody else.
func TestCloneKeys(t *testing.T) {
	type name string
	l := newLimiter[name](t, gcra.Config{Limit: gcra.MustLimit(1, time.Hour, 0), CloneKeys: true})
	buffer := make([]byte, 8)
	view := func(i int) name { return name(unsafe.String(&buffer[0], copy(buffer, fmt.Sprintf("%08d", i)))) }
	const n = 1000
	for _, first := range []bool{true, false} {
		for i := range n {
			if got := l.AllowAt(view(i), 0); got.Allowed != first {
				t.Fatalf("key %d: %+v, want allowed: %v", i, got, first)
			}
		}
	}
	if s := l.Stats(); s.Keys != n {
		t.Errorf("%+v", s)
	}
	view(0)
	if allocs := testing.AllocsPerRun(100, func() { l.AllowAt(name(unsafe.String(&buffer[0], len(buffer))), time.Hour) }); allocs != 0 {
		t.Errorf("%v allocations for a known client", allocs)
	}
	if _, err := gcra.New[int](gcra.Config{CloneKeys: true}); !errors.Is(err, gcra.ErrCloneKeys) {
		t.Errorf("New = %v", err)
	}
}

func TestOnlySpendersAreRemembered(t *testing.T) {
	l := newLimiter[string](t, gcra.Config{Limit: gcra.MustLimit(1, time.Second, 4)})
	l.PeekAt("peeks", 0, 1)
	l.AllowNAt("asks for nothing", 0, 0)
	l.AllowNAt("asks for too much", 0, 6)
	l.AllowNAt("asks for less than nothing", 0, -1)
	l.RefundAt("wants money back", 0, 1)
	l.ChargeAt("is charged nothing", 0, 0)
	if s := l.Stats(); s.Keys != 0 {
		t.Errorf("%+v", s)
	}
	l.AllowAt("spends", 0)
	l.ChargeAt("is charged", 0, 100)
	if s := l.Stats(); s.Keys != 2 || s.Added != 2 {
		t.Errorf("%+v", s)
	}
}

func TestWithLimitKeepsEveryTAT(t *testing.T) {
	old := newLimiter[string](t, gcra.Config{Limit: gcra.MustLimit(10, time.Second, 9)})
	if d := old.AllowNAt("a", 0, 10); !d.Allowed {
		t.Fatalf("%+v", d)
	}
	tight := old.WithLimit(gcra.MustLimit(1, time.Second, 0))
	if d := tight.AllowAt("a", 0); d.Allowed || d.RetryAfter != time.Second {
		t.Errorf("with the new limit: %+v", d)
	}
	vip := old.WithLimit(gcra.MustLimit(1000, time.Second, 1999))
	if d := vip.AllowNAt("a", 0, 1000); !d.Allowed || d.Remaining != 0 {
		t.Errorf("with a limit of its own: %+v", d)
	}
	if d := old.PeekAt("a", 0, 1); d.ResetAfter != 2*time.Second {
		t.Errorf("with the old limit: %+v", d)
	}
}

func TestFractionsAreCarried(t *testing.T) {
	l := newLimiter[string](t, gcra.Config{Limit: gcra.MustLimit(7, time.Second, 6)})
	ref := newReference(7, time.Second, 6)
	for i := range 10_000 {
		now := time.Duration(i) * 13_333_333
		if got, want := l.AllowAt("a", now), ref.allow(now, 1); got != want {
			t.Fatalf("request %d: got %+v, want %+v", i, got, want)
		}
	}
}

// A brokenClock shows what it is told to.
type brokenClock struct {
	now time.Duration
	err error
}

func (c *brokenClock) Now() (time.Duration, error) { return c.now, c.err }

func TestClockThatCannotBeTrusted(t *testing.T) {
	clock := &brokenClock{now: time.Hour}
	l := newLimiter[string](t, gcra.Config{Limit: gcra.MustLimit(1, time.Second, 1), Clock: clock})
	expect := func(what string, allowed bool, wantErr error) {
		t.Helper()
		d, err := l.Allow("a")
		if d.Allowed != allowed || !errors.Is(err, wantErr) {
			t.Errorf("%s: %+v, %v", what, d, err)
		}
	}
	expect("first", true, nil)
	expect("second", true, nil)
	expect("third", false, nil)

	clock.now = 0
	expect("an hour back", false, gcra.ErrClockBackward)
	if d, err := l.Peek("new", 2); !d.Allowed || !errors.Is(err, gcra.ErrClockBackward) {
		t.Errorf("a new client, an hour back: %+v, %v", d, err)
	}
	if now, err := l.Now(); now != time.Hour || !errors.Is(err, gcra.ErrClockBackward) {
		t.Errorf("Now = %v, %v", now, err)
	}

	clock.now, clock.err = 5*time.Hour, errors.New("out of order")
	expect("failing", false, clock.err)
	if d, err := l.Charge("a", 1); d.RetryAfter != time.Second || !errors.Is(err, clock.err) {
		t.Errorf("Charge while failing: %+v, %v", d, err)
	}
	if d, err := l.Refund("a", 1); d.ResetAfter != 2*time.Second || !errors.Is(err, clock.err) {
		t.Errorf("Refund while failing: %+v, %v", d, err)
	}

	clock.now, clock.err = time.Hour+time.Second, nil
	expect("in order again", true, nil)
	expect("and used up", false, nil)
}

func TestDefaultClock(t *testing.T) {
	l := newLimiter[string](t, gcra.Config{Limit: gcra.MustLimit(1, 24*time.Hour, 0)})
	if d, err := l.Allow("a"); !d.Allowed || err != nil {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := l.Allow("a"); d.Allowed || err != nil || d.RetryAfter > 24*time.Hour || d.RetryAfter < 23*time.Hour {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestNothingIsAllocatedForKnownClients(t *testing.T) {
	whole := newLimiter[string](t, gcra.Config{Limit: gcra.MustLimit(10, time.Second, 1)})
	odd := whole.WithLimit(gcra.MustLimit(7, time.Second, 1))
	structs := newLimiter[netip.Addr](t, gcra.Config{Limit: whole.Limit()})
	addr := netip.MustParseAddr("2001:db8::1")
	all := []gcra.Request[string]{{Limiter: whole, Key: "a", N: 1}, {Limiter: odd, Key: "b", N: 1}}
	now := time.Duration(0)
	if n := testing.AllocsPerRun(1000, func() {
		now += 50 * time.Millisecond
		whole.AllowAt("a", now)
		odd.AllowAt("b", now)
		whole.ChargeAt("a", now, 1)
		whole.RefundAt("a", now, 1)
		structs.AllowAt(addr, now)
		gcra.All(now, all)
		if _, err := whole.Allow("a"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
