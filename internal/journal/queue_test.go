package journal_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/journal"
)

// gated is a machine whose Apply says that it was called, and waits.
type gated struct {
	tally
	entered, gate chan struct{}
}

func (m *gated) Apply(cmd []byte) reply {
	m.entered <- struct{}{}
	<-m.gate
	return m.tally.Apply(cmd)
}

// startGated opens a journal with room for one waiting command.
func startGated(t *testing.T) (*journal.Journal[reply], *gated) {
	dir, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	broker, err := journal.Embed(journal.EmbedConfig{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	m := &gated{*newTally(), make(chan struct{}, 8), make(chan struct{})}
	cfg := journal.Config{Name: "test", Dir: dir, Queue: 1, MaxPack: 1, AppendTimeout: 200 * time.Millisecond, MaxCommand: 100}
	j, err := journal.Open(t.Context(), broker, cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		j.Close()
		broker.Close()
		dir.Close()
	})
	return j, m
}

func TestQueueAndCancel(t *testing.T) {
	t.Parallel()
	j, m := startGated(t)
	reason := errors.New("the client left")
	ctx, cancel := context.WithCancelCause(t.Context())
	results := make(chan error)
	do := func(k uint64) {
		_, err := j.Do(ctx, key(k))
		results <- err
	}
	go do(1)
	<-m.entered // number 1 is being applied: one of the others finds room in the queue, and the other doesn't
	go do(2)
	go do(3)
	if err := <-results; !errors.Is(err, journal.ErrUnavailable) || errors.Is(err, journal.ErrUnknown) {
		t.Errorf("with a full queue: %v, want ErrUnavailable and certainty", err)
	}
	cancel(reason)
	unknown := 0
	for range 2 {
		err := <-results
		if !errors.Is(err, reason) {
			t.Errorf("canceled: %v, want %v", err, reason)
		}
		if errors.Is(err, journal.ErrUnknown) {
			unknown++
		}
	}
	if unknown != 1 {
		t.Errorf("%d outcomes are unknown, want 1: that of the command that was under way", unknown)
	}
	close(m.gate)
	if r, err := j.Do(t.Context(), key(1)); err != nil || r != (reply{2, 2}) {
		t.Errorf("Do = %+v, %v: want number 1 counted before, and nothing else", r, err)
	}
}

// Close answers what waits, and nothing after.
func TestClose(t *testing.T) {
	t.Parallel()
	j, m := startGated(t)
	results := make(chan error)
	for k := range uint64(2) {
		go func() {
			_, err := j.Do(t.Context(), key(k))
			results <- err
		}()
	}
	<-m.entered
	closed := make(chan error)
	go func() { closed <- j.Close() }()
	close(m.gate)
	for range 2 {
		if err := <-results; err != nil && !errors.Is(err, journal.ErrStopped) {
			t.Errorf("Do: %v, want nil or ErrStopped", err)
		}
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := j.Do(t.Context(), key(9)); !errors.Is(err, journal.ErrStopped) {
		t.Errorf("Do after Close: %v, want ErrStopped", err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	j, m := startGated(t)
	close(m.gate)
	if _, err := j.Do(t.Context(), make([]byte, 101)); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("Do: %v, want ErrTooLarge", err)
	}
	if _, err := j.Do(t.Context(), make([]byte, 100)); err != nil {
		t.Error(err)
	}
}

// Commands that don't fit into one append follow in the next, in any mixture of sizes.
func TestPackBounds(t *testing.T) {
	t.Parallel()
	n := embedded(t, t.TempDir(), func(c *journal.Config) { c.MaxPackBytes, c.MaxPack, c.MaxCommand = 300, 5, 1000 })
	results := make(chan error)
	for k := range uint64(200) {
		go func() {
			r, err := n.Do(t.Context(), append(key(k), make([]byte, k*5%900)...))
			if err == nil && r.count != 1 {
				err = errors.New("it counts more than once")
			}
			results <- err
		}()
	}
	for range 200 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if s := n.Status(); s.Commands != 200 || s.Sequence < 40 {
		t.Errorf("%d commands in %d records, want 200 in at least 40", s.Commands, s.Sequence)
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]journal.Config{
		`name "": want letters`:    {},
		`name "a.b": want letters`: {Name: "a.b"},
		"commands of 600000":       {Name: "a", MaxCommand: 600_000},
		"appends of 1000000 bytes": {Name: "a", MaxPackBytes: 1_000_000},
	} {
		if _, err := journal.Open(t.Context(), nil, cfg, newTally()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open: %v, want %s", err, want)
		}
	}
}
