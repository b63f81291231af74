package lease_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/lease"
)

// An adversary has a few nodes share one key and does the worst it can think of: it lets them lease, waits, and spends everything at once;
// messages arrive late, in any order, or not at all, and nothing is ever given back by itself.
type adversary struct {
	t        *testing.T
	rnd      *rand.Rand
	limit    gcra.Limit
	interval lease.Interval
	now      time.Duration // whole microseconds
	entry    lease.Entry
	nodes    []*adversaryNode
	flying   []*message
	spent    gcra.State
	total    int64
	over     int64
}

type adversaryNode struct {
	lease.Account
	offset  time.Duration
	call    *message
	waiting int64 // cost of the request that waits; 0: none
	prepaid int64 // booked as spent when the ledger granted it
}

type message struct {
	node  *adversaryNode
	x     lease.Exchange
	reply *lease.Grant // nil until the ledger has answered
}

func newAdversary(t *testing.T, seed uint64, limit gcra.Limit) *adversary {
	interval, err := lease.NewInterval(limit)
	if err != nil {
		t.Fatal(err)
	}
	a := &adversary{t: t, rnd: rand.New(rand.NewPCG(seed, 7)), limit: limit, interval: interval, now: 1000 * time.Hour}
	for range 1 + a.rnd.IntN(4) {
		a.nodes = append(a.nodes, &adversaryNode{Account: lease.Account{Interval: interval}, offset: time.Duration(a.rnd.Int64N(int64(time.Hour)))})
	}
	return a
}

// book counts n tokens as spent now.
func (a *adversary) book(n int64) {
	var d gcra.Decision
	if a.spent, d = a.limit.Decide(a.spent, a.now, n); !d.Allowed {
		a.over += n
	}
	a.total += n
}

func (a *adversary) ask(n *adversaryNode, cost int64) (taken bool) {
	v := n.Take(a.now+n.offset, cost)
	if v.Taken {
		before := min(cost, n.prepaid)
		n.prepaid -= before
		a.book(cost - before)
	}
	if v.Wait && n.waiting == 0 {
		n.waiting = cost
	}
	if v.Call {
		need := int64(0)
		if v.Wait {
			need = cost
		}
		n.call = &message{node: n, x: n.Send(a.now+n.offset, need)}
		a.flying = append(a.flying, n.call)
	}
	return v.Taken
}

// deliver brings a message one step further: to the ledger, or its answer to the node.
func (a *adversary) deliver(k int) {
	m := a.flying[k]
	if m.reply == nil {
		g := a.entry.Exchange(a.interval, int64(a.now/time.Microsecond), m.x)
		m.reply = &g
		a.book(min(m.x.Need, g.Granted))
		return
	}
	a.drop(k)
	if n := m.node; n.call == m {
		n.call = nil
		n.Receive(a.now+n.offset, *m.reply)
		n.prepaid = min(m.x.Need, m.reply.Granted)
		cost := n.waiting
		if n.waiting = 0; cost > 0 && n.Check(a.now+n.offset, cost).Taken {
			a.ask(n, cost)
		}
		n.Settle()
		n.prepaid = 0
	}
}

func (a *adversary) drop(k int) {
	a.flying[k] = a.flying[len(a.flying)-1]
	a.flying = a.flying[:len(a.flying)-1]
}

func (a *adversary) step() {
	n := a.nodes[a.rnd.IntN(len(a.nodes))]
	switch a.rnd.IntN(12) {
	case 0, 1: // traffic, which makes the node lease ahead
		for range 50 {
			a.ask(n, 1)
			for len(a.flying) > 0 && a.rnd.IntN(3) > 0 {
				a.deliver(a.rnd.IntN(len(a.flying)))
			}
			a.now += time.Duration(a.rnd.IntN(300)) * time.Microsecond
		}
	case 2, 3: // everybody spends all there is
		for _, n := range a.nodes {
			for n.Holds(a.now+n.offset) > 0 && a.ask(n, 1) {
			}
		}
	case 4:
		a.ask(n, 1+a.rnd.Int64N(a.interval.Size))
	case 5: // a call gets no answer, though it may still arrive
		if n.call != nil {
			n.call, n.waiting = nil, 0
			n.Lose(a.now + n.offset)
		}
	case 6:
		if len(a.flying) > 0 && a.rnd.IntN(3) == 0 {
			if m := a.flying[0]; m.node.call != m { // nobody waits for it
				a.drop(0)
			}
		}
	case 7:
		if a.rnd.IntN(10) == 0 { // a node shuts down, and goes on all the same
			a.flying = append(a.flying, &message{node: n, x: n.Close()})
		}
		if x, send, _ := n.Due(a.now + n.offset); send && a.rnd.IntN(2) == 0 {
			a.flying = append(a.flying, &message{node: n, x: x})
		}
	case 8:
		a.now += time.Duration(a.rnd.Int64N(1_200_000)) * time.Microsecond
	case 9:
		a.now += time.Duration(a.rnd.Int64N(30_000)) * time.Microsecond
	default:
		if len(a.flying) > 0 {
			a.deliver(a.rnd.IntN(len(a.flying)))
		}
	}
}

// TestAdversary finds that no window of time sees more than the limit, and that a message that is late, lost or in the wrong order doesn't change that.
func TestAdversary(t *testing.T) {
	rounds := uint64(20000)
	if testing.Short() {
		rounds = 300
	}
	limits := []gcra.Limit{gcra.MustLimit(1000, time.Second, 200), gcra.MustLimit(100, time.Second, 50), gcra.MustLimit(300, time.Second, 999), gcra.MustLimit(70, 3*time.Second, 9)}
	total := int64(0)
	for seed := range rounds {
		a := newAdversary(t, seed, limits[seed%uint64(len(limits))])
		for range 150 {
			a.step()
		}
		if a.over > 0 {
			t.Fatalf("seed %d, %v: %d of %d tokens were spent beyond the limit", seed, a.limit, a.over, a.total)
		}
		for _, n := range a.nodes {
			held := n.Holds(a.now + n.offset)
			if c := n.Counters; c.Leased != c.Spent+c.Returned+c.Expired+held || min(c.Expired, c.Returned, held) < 0 {
				t.Fatalf("seed %d: the counters don't add up: %+v, held %d", seed, c, held)
			}
		}
		total += a.total
	}
	if total == 0 {
		t.Error("nothing was spent")
	}
}
