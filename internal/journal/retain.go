package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// purgeTimeout bounds sharing a snapshot and purging the log.
const purgeTimeout = 5 * time.Minute

// takeSnapshots takes the snapshots that are due, one at a time.
func (j *Journal[R]) takeSnapshots() {
	for {
		select {
		case <-j.ctx.Done():
			return
		case <-j.due:
		}
		began := time.Now()
		seq, share, err := j.takeSnapshot()
		if err == nil {
			err = j.purge(seq, share)
		}
		if err != nil && j.ctx.Err() == nil { // what is not purged now is with the next
			j.log.Error("no snapshot was taken, or the log was not purged", "error", err)
			continue
		}
		j.log.Debug("snapshot", "sequence", seq, "took", time.Since(began))
	}
}

// takeSnapshot writes the state to a file. Records wait while the machine writes, and don't wait for the disk.
func (j *Journal[R]) takeSnapshot() (seq uint64, share bool, err error) {
	f, err := os.CreateTemp(j.dir, snapshotPrefix+"*.tmp")
	if err != nil {
		return 0, false, err
	}
	defer os.Remove(f.Name()) // it has another name if all went well
	if seq, share, err = j.writeState(f); err != nil {
		return 0, false, errors.Join(err, f.Close())
	}
	if err := errors.Join(publishSnapshot(f, j.dir, seq), j.mark.sync()); err != nil {
		return 0, false, err
	}
	return seq, share, pruneSnapshots(j.dir)
}

func (j *Journal[R]) writeState(f *os.File) (seq uint64, share bool, err error) {
	j.applying.Lock()
	defer j.applying.Unlock()
	share, j.share = j.share, false
	s := j.state
	s.authors = maps.Clone(s.authors)
	return s.seq, share, writeSnapshot(f, j.stream, &s, j.machine.Snapshot)
}

// purge removes what no start needs from the log.
func (j *Journal[R]) purge(seq uint64, share bool) error {
	ctx, cancel := context.WithTimeout(j.ctx, purgeTimeout)
	defer cancel()
	if j.broker.embedded() {
		all, err := listSnapshots(j.dir)
		if err != nil || len(all) < snapshotsKept {
			return err
		}
		return j.purgeUpTo(ctx, all[snapshotsKept-1])
	}
	if !share {
		return nil
	}
	all, err := j.shareSnapshot(ctx, seq)
	if err != nil {
		return fmt.Errorf("sharing the snapshot: %w", err)
	}
	if len(all) < snapshotsKept {
		return nil
	}
	return j.purgeUpTo(ctx, all[snapshotsKept-1])
}

func (j *Journal[R]) purgeUpTo(ctx context.Context, seq uint64) error {
	s, err := j.broker.stream().Stream(ctx, j.streamName())
	if err != nil {
		return err
	}
	return s.Purge(ctx, jetstream.WithPurgeSequence(seq+1))
}

// shareSnapshot gives a snapshot to nodes that are new or were away, and returns the sequences of those that are shared
// then.
func (j *Journal[R]) shareSnapshot(ctx context.Context, seq uint64) ([]uint64, error) {
	f, err := os.Open(filepath.Join(j.dir, snapshotName(seq)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	store, err := j.openBucket(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := store.Put(ctx, jetstream.ObjectMeta{Name: snapshotName(seq)}, f); err != nil {
		return nil, err
	}
	_, all, err := j.listShared(ctx)
	if err != nil {
		return nil, err
	}
	for _, old := range all[min(snapshotsKept, len(all)):] {
		if err := store.Delete(ctx, snapshotName(old)); err != nil {
			return nil, err
		}
	}
	return all[:min(snapshotsKept, len(all))], nil
}

func (j *Journal[R]) openBucket(ctx context.Context) (jetstream.ObjectStore, error) {
	replicas, err := j.replicas()
	if err != nil {
		return nil, err
	}
	store, err := j.broker.stream().CreateObjectStore(ctx, jetstream.ObjectStoreConfig{
		Bucket: j.bucket(), Storage: jetstream.FileStorage, Replicas: replicas,
	})
	if errors.Is(err, jetstream.ErrBucketExists) {
		return j.broker.stream().ObjectStore(ctx, j.bucket())
	}
	return store, err
}
