package redislimit_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/lease"
	"github.com/sluicegate/sluice/internal/redislimit"
	"github.com/sluicegate/sluice/test/redistest"
)

// open returns a link to the server that waits as long for it as a busy machine may need, and ends with the test.
func open(t testing.TB, s *redistest.Server, change ...func(*redislimit.Config)) *redislimit.Link {
	t.Helper()
	c := redislimit.Config{Options: redis.UniversalOptions{Addrs: []string{s.Addr}}, Timeout: 5 * time.Second}
	for _, f := range change {
		f(&c)
	}
	l := redislimit.Open(c)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

var limits = []gcra.Limit{
	gcra.MustLimit(1, time.Second, 4),
	gcra.MustLimit(10_000, time.Second, 300),
	gcra.MustLimit(7, time.Second, 3),
	gcra.MustLimit(1_000_000_000, time.Second, 1_000_000),
	gcra.MustLimit(999_999_999, time.Second, 1_000_000),
	gcra.MustLimit(999_999_937, 24*time.Hour, 10_000),
	gcra.MustLimit(1, 24*time.Hour, 100),
	gcra.MustLimit(300_007, time.Minute, 1000),
	gcra.MustLimit(1, 365*24*time.Hour, 20),
}

// A client of the story, and what the model holds about it.
type client struct {
	entry  lease.Entry
	slot   int64
	leased int64
	limit  gcra.Limit
}

// TestLuaIsTheLedger walks the scripts and lease.Entry through the same random story, each step at the time that Redis says it was: every reply is
// the same, to the last fraction of a microsecond. It takes five seconds of Redis's time, of which each client has one in three, so that leases
// are met in their slot, in the next, and after their end.
func TestLuaIsTheLedger(t *testing.T) {
	link := open(t, redistest.Start(t))
	rnd := rand.New(rand.NewPCG(4, 4))
	clients := make([]client, 30)
	first, last := int64(0), int64(0)
	var gaps [3]int
	for step := 0; last < first+5*lease.Slot; step++ {
		id := rnd.IntN(len(clients)/3)*3 + int(last/lease.Slot)%3
		c := &clients[id]
		// A client's limit changes now and then; its fraction is over another denominator then. Not between leases, though: Redis may forget a key
		// whose debt under the old limit is paid.
		if c.limit == (gcra.Limit{}) || c.entry.Slot == last/lease.Slot && rnd.IntN(200) == 0 {
			c.limit = limits[rnd.IntN(len(limits))]
		}
		if before, out := c.entry.Slot, c.entry.Cur > 0; out && before > 0 {
			gaps[min(2, last/lease.Slot-before)]++
		}
		if last = walk(t, link, rnd, c, redislimit.Request{Rule: "story", Key: string(rune('A' + id)), Limit: c.limit}); first == 0 {
			first = last
		}
	}
	if gaps[0] == 0 || gaps[2] == 0 {
		t.Errorf("leases were met so many slots later: %v", gaps)
	}
}

// walk makes one step and returns Redis's time.
func walk(t *testing.T, link *redislimit.Link, rnd *rand.Rand, c *client, r redislimit.Request) int64 {
	t.Helper()
	i, err := lease.NewInterval(r.Limit)
	if err != nil {
		t.Fatal(err)
	}
	if rnd.IntN(2) == 0 {
		r.N = rnd.Int64N(i.Size+2) >> rnd.IntN(20)
		reply, err := link.DecideRaw(r)
		if err != nil {
			t.Fatal(err)
		}
		cost := []lease.Cost{{Entry: &c.entry, Interval: i, N: r.N}}
		allowed := lease.Decide(reply[0], cost)
		if allowed != (reply[1] == 1) || cost[0].Refused != (reply[2] == 1) || cost[0].Debt != (lease.Span{Whole: reply[3], Rest: reply[4]}) {
			t.Fatalf("%v, cost %d: Lua says %v, lease %v %+v", r.Limit, r.N, reply, allowed, cost[0])
		}
		return reply[0]
	}
	x := lease.Exchange{
		Slot: c.slot - int64(rnd.IntN(40)/39), Settle: min(c.leased, rnd.Int64N(c.leased+2)), Back: rnd.Int64N(i.Size+1) >> rnd.IntN(30),
		Need: rnd.Int64N(i.Size+1) >> rnd.IntN(20), Want: rnd.Int64N(i.Size+1) >> rnd.IntN(20),
	}
	x.Carry = rnd.Int64N(x.Settle + 1)
	if rnd.IntN(10) == 0 {
		x = lease.Exchange{Slot: lease.Refund, Back: x.Back}
	}
	reply, err := link.Exchange(link.Key(r), i, x)
	if err != nil {
		t.Fatal(err)
	}
	g := c.entry.Exchange(i, reply[6], x)
	got := lease.Grant{Granted: reply[0], Carried: reply[1], Debt: lease.Span{Whole: reply[2], Rest: reply[3]}, Slot: reply[4], Lifetime: time.Duration(reply[5]) * time.Microsecond}
	if got != g {
		t.Fatalf("%v, %+v:\n Lua says %+v\nlease says %+v", r.Limit, x, got, g)
	}
	c.slot, c.leased = g.Slot, g.Carried+g.Granted-min(x.Need, g.Granted)
	return reply[6]
}
