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
	dir, h, early := t.TempDir(), newHarm(t), 0
	for i := range kills {
		if i%10 == 9 { // before it listens, or just then
			m := launchMarket(t, dir, snapshots...)
			time.Sleep(rand.N(80 * time.Millisecond)) // any moment will do
			h.kill(m)
			early++
		} else {
			m := h.start(dir)
			h.bourse.progress(rand.Int64N(120))
			h.kill(m)
		}
		if t.Failed() {
			return
		}
	}
	h.check(dir)
	t.Logf("%d kills, %d of them before the node listened", kills, early)
}

// snapshots makes a node take snapshots often, so that kills hit them too.
var snapshots = []string{"--snapshot-every", "1000"}

// A harm is what is done to one node, under load.
type harm struct {
	t      *testing.T
	place  *places
	bourse *bourse
	fills  *listener
	hush   func()
}

func newHarm(t *testing.T) *harm {
	h := &harm{t: t, place: newPlaces(1)}
	h.bourse = startBourse(t, 12, h.place)
	h.fills, h.hush = listen(t, h.place)
	return h
}

// start starts the node on a directory, and sends the traders there.
func (h *harm) start(dir string) *market {
	h.t.Helper()
	m := startMarket(h.t, dir, snapshots...)
	h.place.set(0, m.url)
	return m
}

func (h *harm) kill(m *market) {
	h.t.Helper()
	m.signal(syscall.SIGKILL)
	m.endedBy(syscall.SIGKILL)
	h.place.set(0, "")
}

// check starts the node for the last time: when all is answered, it has all that was answered, once.
func (h *harm) check(dir string) {
	h.t.Helper()
	m := h.start(dir)
	trades := h.bourse.finish()
	b := readBooks(h.t, m.url)
	await(h.t, "all fills", func() bool { return h.fills.last.Load() == b.totals.Fills })
	h.hush()
	ledger := newLedger(h.t, trades, h.fills.fills)
	ledger.check(b)
	checkAgain(h.t, m.url, sample(trades, 3000))
	ledger.check(readBooks(h.t, m.url))
	h.t.Logf("%d answers, %d fills", len(trades), len(h.fills.fills))
}
