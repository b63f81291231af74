package storage

import (
	"context"
	"sync"
	"time"

	"github.com/sluicegate/sluice/internal/objects"
)

// doubts are reservations of this node that a command was to end of which it isn't known whether it did. Safe for concurrent use.
type doubts struct {
	mu    sync.Mutex
	blobs []BlobID
}

// maxDoubts bounds the doubts: past it, a reservation ends with the node's session.
const maxDoubts = 100_000

func (d *doubts) add(b BlobID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.blobs) < maxDoubts {
		d.blobs = append(d.blobs, b)
	}
}

func (d *doubts) take() []BlobID {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.blobs
	d.blobs = nil
	return all
}

// resolve releases what may be reserved in vain. A command of this node that was given up before can't be applied any more once a later one was:
// either the reservation became an entry, or it is released now, or it never was.
func (s *Storage) resolve() {
	all := s.doubts.take()
	for i, b := range all {
		if _, err := s.do(s.ctx, encodeRelease(s.opts.Now(), b)); err != nil {
			for _, b := range all[i:] {
				s.doubts.add(b)
			}
			return
		}
	}
}

func (s *Storage) wakeCollector() {
	select {
	case s.garbage <- struct{}{}:
	default: // it is awake
	}
}

// collect deletes garbage until the storage closes: what this node made at once, and what another has left after it had time for that itself.
func (s *Storage) collect() {
	tick := time.NewTicker(s.opts.CollectEvery)
	defer tick.Stop()
	var seen []BlobID
	for {
		var some []BlobID
		select {
		case <-s.ctx.Done():
			return
		case <-s.garbage:
			some = s.firstGarbage()
		case <-tick.C:
			s.resolve()
			some = both(seen, s.firstGarbage())
		}
		if s.collectSome(some) == maxCollected {
			s.wakeCollector() // there is more
		}
		seen = s.firstGarbage()
	}
}

// firstGarbage is what has been garbage for longest, as much as a command can say is collected.
func (s *Storage) firstGarbage() (some []BlobID) {
	s.Read(func(st *State) { // a storage that has stopped has nothing to collect
		for b := range st.garbage.all() {
			if some = append(some, b); len(some) == maxCollected {
				break
			}
		}
	})
	return some
}

// both returns what is in a and b.
func both(a, b []BlobID) (in []BlobID) {
	first := make(map[BlobID]bool, len(a))
	for _, v := range a {
		first[v] = true
	}
	for _, v := range b {
		if first[v] {
			in = append(in, v)
		}
	}
	return in
}

// deleters is how many blobs are deleted at once.
const deleters = 8

// collectSome deletes blobs, says which it has deleted, and returns how many.
func (s *Storage) collectSome(some []BlobID) int {
	if len(some) == 0 {
		return 0
	}
	errs := make([]error, len(some))
	var workers sync.WaitGroup
	for w := range min(deleters, len(some)) {
		workers.Go(func() {
			for i := w; i < len(some); i += deleters {
				errs[i] = s.store.Delete(s.ctx, keyOf(some[i]))
			}
		})
	}
	workers.Wait()
	var deleted []BlobID
	var failed error
	for i, err := range errs {
		if err == nil {
			deleted = append(deleted, some[i])
		} else {
			failed = err
		}
	}
	if failed != nil && s.ctx.Err() == nil {
		s.log.Warn("garbage can't be deleted now", "blobs", len(some)-len(deleted), "error", failed)
	}
	if len(deleted) == 0 {
		return 0
	}
	if _, err := s.do(s.ctx, encodeCollected(deleted)); err != nil {
		return 0 // it is deleted again, which does nothing
	}
	s.metrics.collected.Add(float64(len(deleted)))
	return len(deleted)
}

// unfinished is how long an upload stands still before what it left in the store is removed: longer than the server waits for one.
const unfinished = time.Hour

// sweep looks for blobs that nobody knows of, at the start and from time to time.
func (s *Storage) sweep() {
	for {
		switch n, err := s.sweepOnce(s.ctx); {
		case s.ctx.Err() != nil:
			return
		case err != nil:
			s.log.Warn("the store can't be swept now", "deleted", n, "error", err)
		case n > 0:
			s.log.Info("swept blobs that nobody knew of", "deleted", n)
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(s.opts.SweepEvery):
		}
	}
}

// sweepOnce deletes the blobs that are in the store and nowhere in the state, and what uploads have left in pieces.
func (s *Storage) sweepOnce(ctx context.Context) (deleted int, err error) {
	deleted, err = s.store.Sweep(ctx, unfinished)
	if err != nil {
		return deleted, err
	}
	after := ""
	for {
		entries, err := s.store.List(ctx, "", after, objects.MaxList)
		if err != nil || len(entries) == 0 {
			return deleted, err
		}
		n, err := s.sweepSome(ctx, entries)
		if deleted += n; err != nil {
			return deleted, err
		}
		after = entries[len(entries)-1].Key
	}
}

// sweepSome deletes those of the blobs, listed before, that nobody knows of now. Whoever writes a blob has reserved it before, and no id is
// drawn twice: what nobody knows of at a moment after it was listed, nobody will know of.
func (s *Storage) sweepSome(ctx context.Context, listed []objects.Entry) (deleted int, err error) {
	if err := s.catchUp(ctx); err != nil {
		return 0, err
	}
	suspects := make(map[BlobID]bool, len(listed))
	for _, e := range listed {
		if b, ours := blobOf(e.Key); ours {
			suspects[b] = true
		}
	}
	if err := s.clear(suspects); err != nil {
		return 0, err
	}
	for b := range suspects {
		if err := s.store.Delete(ctx, keyOf(b)); err != nil {
			return deleted, err
		}
		deleted++
	}
	return deleted, nil
}

// clear takes out of suspects what the state knows. It looks at reservations and garbage first, and at the catalogue a page at a time: what was a
// reservation then may be an entry on a page that was read already, but an entry stays where it is.
func (s *Storage) clear(suspects map[BlobID]bool) error {
	err := s.Read(func(st *State) {
		for r := range st.quota.Reservations() {
			delete(suspects, r.ID)
		}
		for b := range st.garbage.all() {
			delete(suspects, b)
		}
	})
	const page = 10_000
	for at := ""; err == nil && len(suspects) > 0; {
		n := 0
		err = s.Read(func(st *State) {
			for k, e := range st.objects.From(at) {
				delete(suspects, e.Blob)
				if n++; n == page {
					at = k + "\x00"
					break
				}
			}
		})
		if n < page {
			break
		}
	}
	return err
}
