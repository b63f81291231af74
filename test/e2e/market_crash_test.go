package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"
)

// campaigns is how often the crash test starts with an empty directory, and how often each is killed.
func campaigns() (n, kills int) {
	switch {
	case os.Getenv("SLUICE_SOAK") == "1":
		return 25, 200
	case raceEnabled:
		return 1, 40
	default:
		return 1, 200
	}
}

// A market is killed under load, at any moment from its start: what was answered is there, once, with the same answer to the same key.
func TestMarketKilled(t *testing.T) {
	t.Parallel()
	n, kills := campaigns()
	for i := range n {
		t.Run(fmt.Sprint(i), func(t *testing.T) { killAgainAndAgain(t, kills) })
		if t.Failed() {
			return
		}
	}
}

func killAgainAndAgain(t *testing.T, kills int) {
	dir, nodes := t.TempDir(), newPlaces(1)
	c := startBourse(t, 12, nodes)
	l, hush := listen(t, nodes)
	early := 0
	for i := range kills {
		m := launchMarket(t, dir, "--snapshot-every", "1000")
		if i%10 == 9 { // before it listens, or just then
			time.Sleep(rand.N(80 * time.Millisecond)) // any moment will do
			early++
		} else {
			m.awaitListening()
			nodes.set(0, m.url)
			c.progress(rand.Int64N(120))
		}
		m.signal(syscall.SIGKILL)
		m.endedBy(syscall.SIGKILL)
		nodes.set(0, "")
		if t.Failed() {
			return
		}
	}
	m := startMarket(t, dir)
	nodes.set(0, m.url)
	trades := c.finish()
	b := readBooks(t, m.url)
	await(t, "all fills", func() bool { return l.last.Load() == b.totals.Fills })
	hush()
	ledger := newLedger(t, trades, l.fills)
	ledger.check(b)
	checkAgain(t, m.url, sample(trades, 3000))
	ledger.check(readBooks(t, m.url))
	t.Logf("%d answers over %d kills, %d of them before the node listened; %d fills", len(trades), kills, early, len(l.fills))
}
