package e2e_test

import (
	"fmt"
	"os"
	"reflect"
	"syscall"
	"testing"
	"time"
)

// A marketCluster is nodes of one market on one NATS cluster.
type marketCluster struct {
	t      *testing.T
	nats   *natsCluster
	dirs   []string
	nodes  []*market
	places *places
	began  time.Time
}

func startMarketCluster(t *testing.T, n int) *marketCluster {
	t.Helper()
	c := &marketCluster{t: t, nats: startNATS(t, 3), nodes: make([]*market, n), places: newPlaces(n), began: time.Now()}
	for i := range n {
		c.dirs = append(c.dirs, t.TempDir())
		c.start(i)
	}
	return c
}

func (c *marketCluster) start(i int) {
	c.t.Helper()
	c.nodes[i] = startMarket(c.t, c.dirs[i], "--nats", c.nats.url(), "--snapshot-every", "1000")
	c.places.set(i, c.nodes[i].url)
}

func (c *marketCluster) kill(i int) {
	c.t.Helper()
	c.nodes[i].signal(syscall.SIGKILL)
	c.nodes[i].endedBy(syscall.SIGKILL)
	c.places.set(i, "")
}

// say notes what happens, for whom the test fails.
func (c *marketCluster) say(format string, args ...any) {
	c.t.Logf("%6.1fs %s", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

// settle waits until all nodes at rest have applied the same. Then they have applied all: each has what it answered itself.
func (c *marketCluster) settle() {
	c.t.Helper()
	totals := func(i int) (s marketTotals) {
		fetch(c.t, c.nodes[i].url+"/stats", &s)
		return s
	}
	await(c.t, "the same sequence on all nodes", func() bool {
		for i := range c.nodes {
			if totals(i).Sequence != totals(0).Sequence {
				return false
			}
		}
		return true
	})
}

// agree waits until all nodes at rest have applied the same, and compares all that can be read of them.
func (c *marketCluster) agree() marketBooks {
	c.t.Helper()
	c.settle()
	first := readBooks(c.t, c.nodes[0].url)
	for i := range c.nodes {
		if b := readBooks(c.t, c.nodes[i].url); !reflect.DeepEqual(b, first) {
			c.t.Errorf("node %d is at %v with %+v, and node 0 at %v with %+v", i, b.totals, b, first.totals, first)
		}
	}
	return first
}

// Orders that three nodes take at once are those of one plain book.
func TestMarketClusterLinearizable(t *testing.T) {
	t.Parallel()
	c := startMarketCluster(t, 3)
	f := newFloor(t, c.nodes[0].url, c.nodes[1].url, c.nodes[2].url)
	f.settle = c.settle
	f.checkAll(histories() / 5)
}

// Nodes and NATS servers are killed and frozen in turn, under orders at every node: all nodes agree afterwards, and what was answered is there.
func TestMarketCluster(t *testing.T) {
	t.Parallel()
	c := startMarketCluster(t, 3)
	c.say("started")
	b := startBourse(t, 9, c.places)
	l, hush := listen(t, c.places)
	rounds := 1
	if os.Getenv("SLUICE_SOAK") == "1" {
		rounds = 20
	}
	for range rounds {
		c.trouble(b)
		if t.Failed() {
			return
		}
	}
	trades := b.finish()
	books := c.agree()
	await(t, "all fills", func() bool { return l.last.Load() == books.totals.Fills })
	hush()
	ledger := newLedger(t, trades, l.fills)
	ledger.check(books)
	for i := range c.nodes {
		checkAgain(t, c.nodes[i].url, sample(trades, 300))
	}
	c.say("%d answers, %d fills", len(trades), len(l.fills))
	c.join()
	ledger.check(c.agree())
}

// join starts a node that has never been there.
func (c *marketCluster) join() {
	c.t.Helper()
	c.dirs, c.nodes, c.places = append(c.dirs, c.t.TempDir()), append(c.nodes, nil), newPlaces(len(c.nodes)+1)
	c.start(len(c.nodes) - 1)
}

// few is how many orders are answered while something is amiss, and after it.
const few = 200

// trouble makes each node and each server fail in turn, and then all.
func (c *marketCluster) trouble(b *bourse) {
	c.t.Helper()
	for i := range c.nodes {
		b.progress(few)
		c.say("kill node %d", i)
		c.kill(i)
		b.progress(few)
		c.start(i)
	}
	for i := range c.nats.servers {
		b.progress(few)
		c.say("kill server %d", i)
		c.nats.kill(i)
		b.progress(few)
		c.nats.start(i)
	}
	b.progress(few)
	c.say("freeze node 0")
	c.places.set(0, "")
	c.freeze(c.nodes[0].process, b)
	c.places.set(0, c.nodes[0].url)
	b.progress(few)
	for i := range c.nats.servers {
		c.say("freeze server %d", i)
		c.freeze(c.nats.servers[i], b)
		b.progress(few)
	}
	c.say("kill all servers, then all nodes")
	for i := range c.nats.servers {
		c.nats.kill(i)
	}
	for i := range c.nats.servers {
		c.nats.start(i)
	}
	b.progress(few)
	for i := range c.nodes {
		c.kill(i)
	}
	for i := range c.nodes {
		c.start(i)
	}
	b.progress(few)
}

// freeze cuts a process off from all others for a while: it doesn't run, and its connections stay.
func (c *marketCluster) freeze(p *process, b *bourse) {
	c.t.Helper()
	p.signal(syscall.SIGSTOP)
	b.progress(few)
	p.signal(syscall.SIGCONT)
}
