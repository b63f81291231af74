package journal_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/journal"
)

// tally is a machine that counts how often it was told each number, and replies with the count and the place in the
// order.
type tally struct {
	counts map[uint64]uint64
	total  uint64
	hash   uint64
}

type reply struct{ count, place uint64 }

func newTally() *tally { return &tally{counts: map[uint64]uint64{}} }

func (m *tally) Apply(cmd []byte) reply {
	if len(cmd) < 8 {
		return reply{}
	}
	key := binary.LittleEndian.Uint64(cmd)
	m.counts[key]++
	m.total++
	m.hash = (m.hash ^ key) * 0x100000001b3
	return reply{count: m.counts[key], place: m.total}
}

func (m *tally) Hash() uint64 { return m.hash }

func (m *tally) Snapshot(w io.Writer) error {
	if err := binary.Write(w, binary.LittleEndian, []uint64{m.total, m.hash, uint64(len(m.counts))}); err != nil {
		return err
	}
	for key, n := range m.counts {
		if err := binary.Write(w, binary.LittleEndian, []uint64{key, n}); err != nil {
			return err
		}
	}
	return nil
}

func (m *tally) Restore(r io.Reader) error {
	var head [3]uint64
	if err := binary.Read(r, binary.LittleEndian, &head); err != nil {
		return err
	}
	*m = tally{counts: map[uint64]uint64{}, total: head[0], hash: head[1]}
	for range head[2] {
		var row [2]uint64
		if err := binary.Read(r, binary.LittleEndian, &row); err != nil {
			return err
		}
		m.counts[row[0]] = row[1]
	}
	if _, err := bufio.NewReader(r).ReadByte(); err != io.EOF {
		return fmt.Errorf("after the last row: %v, want the end", err)
	}
	return nil
}

func key(k uint64) []byte { return binary.LittleEndian.AppendUint64(nil, k) }

// testLog shows what a journal logs when the test fails.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// A node is a journal with all that it stands on.
type node struct {
	*journal.Journal[reply]
	machine *tally
	dir     *datadir.Dir
	broker  *journal.Broker
	t       testing.TB
	once    sync.Once
}

// embedded opens a node on its own log below path, and closes it with the test.
func embedded(t testing.TB, path string, options ...func(*journal.Config)) *node {
	t.Helper()
	n, err := tryEmbedded(t, path, options...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func tryEmbedded(t testing.TB, path string, options ...func(*journal.Config)) (*node, error) {
	dir, err := datadir.Open(path)
	for errors.Is(err, datadir.ErrInUse) { // by what another test starts, between its fork and its exec
		dir, err = datadir.Open(path)
	}
	if err != nil {
		return nil, err
	}
	broker, err := journal.Embed(journal.EmbedConfig{Dir: dir, Log: testLog(t)})
	if err != nil {
		dir.Close()
		return nil, err
	}
	n, err := openNode(t, dir, broker, options...)
	if err != nil {
		broker.Close()
		dir.Close()
	}
	return n, err
}

func openNode(t testing.TB, dir *datadir.Dir, broker *journal.Broker, options ...func(*journal.Config)) (*node, error) {
	cfg := journal.Config{Name: "test", Dir: dir, Log: testLog(t)}
	for _, option := range options {
		option(&cfg)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	n := &node{machine: newTally(), dir: dir, broker: broker, t: t}
	var err error
	if n.Journal, err = journal.Open(ctx, broker, cfg, n.machine); err != nil {
		return nil, err
	}
	t.Cleanup(n.close)
	return n, nil
}

func (n *node) close() {
	n.once.Do(func() {
		if err := n.Close(); err != nil {
			n.t.Error(err)
		}
		n.broker.Close()
		n.dir.Close()
	})
}

func (n *node) must(k uint64) reply {
	n.t.Helper()
	r, err := n.Do(context.Background(), key(k))
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

// load tells the node numbers from so many goroutines, each its own, and fails if one is not counted once.
func (n *node) load(goroutines, each int, from uint64) {
	n.t.Helper()
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for i := range each {
				if r, err := n.Do(context.Background(), key(from+uint64(g*each+i))); err != nil || r.count != 1 {
					n.t.Errorf("Do = %+v, %v, want a count of 1", r, err)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestReplyAndRead(t *testing.T) {
	n := embedded(t, t.TempDir())
	for i := range uint64(5) {
		if got, want := n.must(7), (reply{i + 1, i + 1}); got != want {
			t.Fatalf("Do = %+v, want %+v", got, want)
		}
	}
	var counted uint64
	if err := n.Read(func() { counted = n.machine.counts[7] }); err != nil || counted != 5 {
		t.Errorf("Read saw %d, %v, want 5", counted, err)
	}
}

func TestRestart(t *testing.T) {
	path := t.TempDir()
	n := embedded(t, path)
	n.load(8, 50, 0)
	before := n.Status()
	n.close()
	n = embedded(t, path)
	if after := n.Status(); after != before {
		t.Errorf("Status = %+v after a restart, want %+v", after, before)
	}
	if got, want := n.must(0), (reply{2, 401}); got != want {
		t.Errorf("Do = %+v, want %+v", got, want)
	}
}

// Commands that arrive together share an append.
func TestPacking(t *testing.T) {
	n := embedded(t, t.TempDir())
	n.load(64, 50, 0)
	s := n.Status()
	if s.Commands != 3200 || s.Sequence > s.Commands/2 {
		t.Errorf("%d commands in %d records, want 3200 in at most half as many", s.Commands, s.Sequence)
	}
}
