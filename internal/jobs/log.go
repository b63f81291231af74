package jobs

import (
	"context"
	"fmt"

	"github.com/sluicegate/sluice/internal/journal"
)

// A Log puts commands of a State into an order that lasts. Its errors are those of [journal.Journal.Do] and [journal.Journal.Read].
type Log interface {
	// Do appends a command and returns what the state replied to it.
	Do(ctx context.Context, cmd []byte) (Reply, error)

	// Read calls f while nothing changes the state. f must not change it, or keep what it points to.
	Read(f func(*State)) error
}

// JournalLog is a journal of jobs alone.
type JournalLog struct {
	*journal.Journal[Reply]
	state    *State
	payloads *Payloads
}

var _ journal.Machine[Reply] = (*State)(nil)

// OpenLog restores the jobs from the journal that cfg names, and keeps payloads in files next to its snapshots. It returns what [journal.Open]
// returns. Close closes the journal and the files.
func OpenLog(ctx context.Context, broker *journal.Broker, cfg journal.Config) (*JournalLog, error) {
	p, err := OpenPayloads(cfg.Dir.Path("payloads-" + cfg.Name))
	if err != nil {
		return nil, fmt.Errorf("files for the payloads of jobs: %w", err)
	}
	l := &JournalLog{state: NewState(p), payloads: p}
	if l.Journal, err = journal.Open(ctx, broker, cfg, l.state); err != nil {
		p.Close()
		return nil, err
	}
	return l, nil
}

// Read implements Log.
func (l *JournalLog) Read(f func(*State)) error { return l.Journal.Read(func() { f(l.state) }) }

// Close answers what is under way and closes the journal and the files. The broker stays open.
func (l *JournalLog) Close() error {
	err := l.Journal.Close()
	if e := l.payloads.Close(); err == nil {
		err = e
	}
	return err
}
