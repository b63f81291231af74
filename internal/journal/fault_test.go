package journal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/journal"
)

// stops waits for a node to stop, and checks why.
func (n *node) stops(reasons ...string) {
	n.t.Helper()
	select {
	case <-n.Stopped():
	case <-time.After(time.Minute):
		n.t.Fatal("it doesn't stop")
	}
	for _, reason := range append(reasons, "the journal is stopped", "the journal is damaged") {
		if !strings.Contains(n.Err().Error(), reason) {
			n.t.Errorf("it stopped with %q, want it to say %q", n.Err(), reason)
		}
	}
	if _, err := n.Do(context.Background(), key(1)); !errors.Is(err, journal.ErrStopped) {
		n.t.Errorf("Do: %v, want ErrStopped", err)
	}
	if err := n.Read(func() { n.t.Error("it still reads") }); !errors.Is(err, journal.ErrStopped) {
		n.t.Errorf("Read: %v, want ErrStopped", err)
	}
}

// shout publishes on the journal's subject as nobody should.
func shout(t *testing.T, c *cluster, data []byte) {
	t.Helper()
	conn, err := nats.Connect(c.url())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Request("sluice.journal.test", data, 10*time.Second); err != nil {
		t.Fatal(err)
	}
}

func TestForeignMessage(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	n := dialed(t, t.TempDir(), c.url())
	n.must(1)
	shout(t, c, []byte(strings.Repeat("x", 100)))
	n.stops("sequence 2 of the log", "checksum")
}

// wrong is a machine that makes something else of the commands, as a version with a bug would.
type wrong struct{ tally }

func (m *wrong) Apply(cmd []byte) reply {
	r := m.tally.Apply(cmd)
	if binary.LittleEndian.Uint64(cmd) == 13 {
		m.hash++
	}
	return r
}

func TestDisagreement(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	n := dialed(t, t.TempDir(), c.url())
	dir, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	broker, err := journal.Dial(journal.DialConfig{URL: c.url()})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	other, err := journal.Open(t.Context(), broker, journal.Config{Name: "test", Dir: dir}, &wrong{*newTally()})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for k := range uint64(20) {
		n.must(k)
	}
	// Sequence 14 is number 13. The next record of n says what it made of 14.
	<-other.Stopped()
	if err := other.Err(); !errors.Is(err, journal.ErrDamaged) || !strings.Contains(err.Error(), "sequence 15 of the log") ||
		!strings.Contains(err.Error(), "at sequence 14") {
		t.Errorf("it stopped with %v, want it to name sequences 14 and 15", err)
	}
	n.must(20) // the other one never wrote
}

// A log that begins after what a node has, without a snapshot to bridge that, is refused.
func TestGap(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	path := t.TempDir()
	n := dialed(t, path, c.url())
	n.load(1, 20, 0)
	n.close()
	conn, err := nats.Connect(c.url())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Request("$JS.API.STREAM.PURGE.SLUICE_test", []byte(`{"seq":5}`), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	dir, err := datadir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	broker, err := journal.Dial(journal.DialConfig{URL: c.url()})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	_, err = openNode(t, dir, broker, func(c *journal.Config) { c.AppendTimeout = 100 * time.Millisecond })
	if !errors.Is(err, journal.ErrDamaged) || !strings.Contains(err.Error(), "begins at sequence 5, this node is at 0") {
		t.Errorf("Open: %v, want it to name the gap", err)
	}
}

// A full disk refuses commands, loses none, and the node works on when there is room again.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	disk := mount(t, "-t", "tmpfs", "-o", "size=8m", "tmpfs")
	path := filepath.Join(disk, "data")
	n := embedded(t, path, func(c *journal.Config) { c.AppendTimeout = time.Second })
	p := startPress(n, 8, 0)
	p.progress(t, 100)
	ballast := fill(t, disk)
	eventually(t, func() bool { return p.failures.Load() > 10 })
	ballast()
	p.progress(t, 100)
	answered := p.finish()
	n.checkAnswered(answered)
	before := n.Status()
	n.close()
	n = embedded(t, path)
	if after := n.Status(); after != before {
		t.Errorf("Status = %+v after a restart, want %+v", after, before)
	}
	n.checkAnswered(answered)
}
