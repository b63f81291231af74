package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// restore brings the machine to the newest snapshot that the log goes on from.
func (j *Journal[R]) restore(ctx context.Context, log extent) error {
	if err := j.restoreLocal(log); err != nil {
		return err
	}
	if j.Status().Sequence+1 >= log.first || log.last == 0 {
		return nil
	}
	if err := j.restoreShared(ctx, log.first); errors.Is(err, ErrDamaged) || errors.Is(err, errRestore) {
		return err
	} else if err != nil {
		j.log.Warn("the shared snapshot isn't there yet", "error", err) // the replay looks again
	}
	return nil
}

func (j *Journal[R]) restoreLocal(log extent) error {
	all, err := listSnapshots(j.dir)
	if err != nil {
		return err
	}
	for _, seq := range all {
		path := filepath.Join(j.dir, snapshotName(seq))
		err := j.restoreFile(path)
		switch {
		case errors.Is(err, ErrDamaged):
			j.log.Error("a snapshot is damaged: trying an older one", "error", err)
			continue
		case err != nil:
			return err
		case seq > log.last:
			return damaged("the log ends at sequence %d, and there is a snapshot of %d; %s", log.last, seq, adviceDamage)
		}
		return nil
	}
	return nil // from the beginning, if the log still has it
}

// restoreFile replaces the machine and what belongs to it.
func (j *Journal[R]) restoreFile(path string) error {
	j.applying.Lock()
	defer j.applying.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	s, err := readSnapshot(path, j.stream, j.machine.Restore)
	if err != nil {
		return err
	}
	if hash := mix(s.chain, j.machine.Hash()); hash != s.hash {
		return fmt.Errorf("%s: %w: its state is %016x, and was %016x; %s", path, errRestore, hash, s.hash, adviceFork)
	}
	j.state, j.recent = s, recent{}
	j.recent.add(s.point)
	j.answerSkippedLocked()
	return j.checkMarkLocked()
}

func (j *Journal[R]) bucket() string { return "SLUICE_" + j.cfg.Name + "_snapshots" }

// restoreShared takes a snapshot of another node, for a log that begins later than this node needs.
func (j *Journal[R]) restoreShared(ctx context.Context, first uint64) error {
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	store, shared, err := j.listShared(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		return err
	}
	if len(shared) == 0 || shared[0]+1 < first {
		return j.suspect("the log begins at sequence %d, this node is at %d, and there is no snapshot in between; %s",
			first, j.Status().Sequence, adviceDamage)
	}
	f, err := os.CreateTemp(j.dir, snapshotPrefix+"*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := download(ctx, store, snapshotName(shared[0]), f); err != nil {
		f.Close()
		return fmt.Errorf("reading the shared snapshot of sequence %d: %w", shared[0], err)
	}
	if err := j.restoreFile(f.Name()); err != nil {
		f.Close()
		return err
	}
	j.log.Info("took the snapshot that another node shares", "sequence", shared[0], "log", first)
	return publishSnapshot(f, j.dir, shared[0])
}

// answerSkippedLocked tells those whose commands are part of a snapshot that this node didn't see the replies.
func (j *Journal[R]) answerSkippedLocked() {
	if j.pending == nil || j.state.fresh(j.pending.identity) {
		return
	}
	for _, c := range j.pending.calls {
		c.err = fmt.Errorf("%w: %w: this node was behind", ErrUnavailable, ErrUnknown)
	}
	j.answerLocked()
}

func download(ctx context.Context, store jetstream.ObjectStore, name string, w io.Writer) error {
	object, err := store.Get(ctx, name)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, object)
	return errors.Join(err, object.Close())
}

// listShared returns the sequences of the snapshots that nodes share, the newest first.
func (j *Journal[R]) listShared(ctx context.Context) (jetstream.ObjectStore, []uint64, error) {
	store, err := j.broker.stream().ObjectStore(ctx, j.bucket())
	if err != nil {
		return nil, nil, err
	}
	objects, err := store.List(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil, nil, err
	}
	var all []uint64
	for _, o := range objects {
		if seq, ok := parseSnapshotName(o.Name); ok {
			all = append(all, seq)
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	return store, all, nil
}
