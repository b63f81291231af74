package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/objects"
	"github.com/sluicegate/sluice/internal/storage"
)

// A faulty store fails as it is told to.
type faulty struct {
	objects.Store
	mu       sync.Mutex
	put, del error
	stored   func() // is called behind what was put; nil: nothing
}

func (f *faulty) fail(put, del error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put, f.del = put, del
}

func (f *faulty) Put(ctx context.Context, key string, r io.Reader, size, most int64) (objects.Info, error) {
	f.mu.Lock()
	err, stored := f.put, f.stored
	f.mu.Unlock()
	if err != nil {
		return objects.Info{}, err
	}
	info, err := f.Store.Put(ctx, key, r, size, most)
	if stored != nil {
		stored()
	}
	return info, err
}

func (f *faulty) Delete(ctx context.Context, key string) error {
	f.mu.Lock()
	err := f.del
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.Store.Delete(ctx, key)
}

func serveFaulty(t *testing.T) (*node, *faulty) {
	f := new(faulty)
	n := serve(t, t.TempDir(), func(o *storage.Options) { f.Store, o.Objects = o.Objects, f })
	return n, f
}

var errBroken = errors.New("broken")

// A store that takes nothing costs nobody a byte; garbage that can't be deleted is deleted later.
func TestBrokenStore(t *testing.T) {
	n, f := serveFaulty(t)
	n.put("kept", "kept").is(t, 201)
	f.fail(objects.ErrFull, nil)
	n.put("o", "x").problem(t, 507, "storage-full")
	f.fail(errBroken, nil)
	n.put("o", "x").problem(t, 503, "storage-unavailable")
	n.used("1", 4)
	f.fail(nil, errBroken)
	n.put("kept", "other").is(t, 200)
	n.ask("DELETE", "/object-storage/bucket-1/kept?userId=1", "").is(t, 204)
	n.used("1", 0)
	if blobs := n.blobs(); len(blobs) != 2 {
		t.Errorf("%q are there, want two that can't be deleted", blobs)
	}
	f.fail(nil, nil)
	n.tidy()
}

// A job that can't be done is a dead letter, and its bytes are free. Retried, it reserves them again, or is over quota.
func TestDeadLetter(t *testing.T) {
	n, f := serveFaulty(t)
	f.fail(errBroken, nil)
	a := n.ask("POST", "/object-storage?userId=1", strings.Replace(pngOrder, "1000000", "30000000", 1)).is(t, 202)
	if u := n.usage("1"); u.Reserved != 30_000_000 {
		t.Errorf("%+v, want what was accepted reserved", u)
	}
	n.ask("POST", "/object-storage?userId=1", strings.Replace(pngOrder, "1000000", "20000001", 1)).problem(t, 403, "storage-quota-exceeded")
	var v jobs.View
	await(t, "the dead letter", func() bool {
		n.get(a.head.Get("Location")).is(t, 200).json(t, &v)
		n.storage.Jobs().Retry(ctxOf(t), v.ID) // the next attempt at once, if there is one to come
		return v.State == jobs.Failed
	})
	f.fail(nil, nil)
	v = n.awaitDone(v.ID, func() { n.storage.Jobs().Retry(ctxOf(t), v.ID) })
	n.used("1", 30_000_000)
	n.get("/object-storage/bucket-1/1cbs5?userId=1").is(t, 200, `"sizeInByte":30000000`)
	if _, err := n.storage.Jobs().Retry(ctxOf(t), v.ID); !errors.Is(err, jobs.ErrRefused) {
		t.Errorf("what is done was retried: %v", err)
	}
	n.tidy()
}

func (n *node) awaitDone(id jobs.ID, push func()) (v jobs.View) {
	n.t.Helper()
	await(n.t, "the job is done", func() bool {
		var err error
		if v, err = n.storage.Jobs().Get(ctxOf(n.t), id); err != nil {
			n.t.Fatal(err)
		}
		if v.State != jobs.Done {
			push()
		}
		return v.State == jobs.Done
	})
	return v
}

// A dead letter is not retried while its user has no room for it.
func TestRetryOverQuota(t *testing.T) {
	n, f := serveFaulty(t)
	f.fail(errBroken, nil)
	a := n.ask("POST", "/object-storage?userId=1", pngOrder).is(t, 202)
	var v jobs.View
	n.get(a.head.Get("Location")).json(t, &v)
	await(t, "the dead letter", func() bool {
		n.storage.Jobs().Retry(ctxOf(t), v.ID)
		n.get(a.head.Get("Location")).is(t, 200).json(t, &v)
		return v.State == jobs.Failed && n.usage("1").Reserved == 0
	})
	f.fail(nil, nil)
	n.order("1", strings.NewReplacer("1000000", "49000001", "1cbs5", "other").Replace(pngOrder)).is(t, 202)
	var refused *storage.RefusedError
	if _, err := n.storage.Jobs().Retry(ctxOf(t), v.ID); !errors.As(err, &refused) || refused.Outcome != storage.OverQuota || refused.Asked != 1_000_000 {
		t.Fatalf("retried over quota: %v", err)
	}
	n.used("1", 49_000_001)
	n.ask("DELETE", "/object-storage/bucket-1/other?userId=1", "").is(t, 204)
	n.awaitDone(v.ID, func() { n.storage.Jobs().Retry(ctxOf(t), v.ID) })
	n.used("1", 1_000_000)
	n.tidy()
}

// An upload whose commit was given up counts if it took effect after all. Else its bytes are free soon, without an end of the session.
func TestCommitGivenUp(t *testing.T) {
	n, f := serveFaulty(t)
	for i := range 20 {
		ctx, cancel := context.WithCancel(ctxOf(t))
		f.stored = cancel // nothing else is put meanwhile
		u := &storage.Upload{User: "1", Bucket: "bucket-1", Object: fmt.Sprint(i), ContentType: "text/plain", Length: 4}
		if _, err := n.storage.Put(ctx, u, strings.NewReader("what")); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	f.stored = nil
	await(t, "what is reserved in vain is free", func() bool { return n.usage("1").Reserved == 0 })
	var want uint64
	n.storage.Read(func(s *storage.State) {
		for _, e := range s.Entries() {
			want += e.Size
		}
	})
	n.used("1", want)
	n.tidy()
}

// Blobs that nobody knows of are swept, also those of an upload whose node died between the blob and the commit; what isn't ours stays.
func TestSweep(t *testing.T) {
	path := t.TempDir()
	n := serve(t, path)
	n.put("o", "x").is(t, 201)
	n.stop()
	kept := n.blobs()
	for _, name := range []string{storage.KeyOf(storage.BlobID{1}), storage.KeyOf(storage.BlobID{1, 2}), strings.Repeat("f", 64)} {
		dir := filepath.Join(n.content, name[:2])
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	n = serve(t, path, func(o *storage.Options) { o.SweepEvery = 10 * time.Millisecond })
	await(t, "the sweep", func() bool { return len(n.blobs()) == len(kept)+1 })
	if got := n.blobs(); !strings.Contains(strings.Join(got, " "), kept[0]) || !strings.Contains(strings.Join(got, " "), strings.Repeat("f", 64)) {
		t.Errorf("left are %q, want %q and what isn't ours", got, kept)
	}
	n.get("/object-storage/bucket-1/o?userId=1").is(t, 200, "x")
}

// A sweep leaves what is in the store already and not committed yet.
func TestSweepBeforeTheCommit(t *testing.T) {
	n, f := serveFaulty(t)
	f.stored = func() {
		if deleted, err := storage.SweepOnce(n.storage, ctxOf(t)); deleted != 0 || err != nil {
			t.Errorf("swept %d blobs: %v", deleted, err)
		}
	}
	u := &storage.Upload{User: "1", Bucket: "bucket-1", Object: "o", ContentType: "text/plain", Length: 4}
	if _, err := n.storage.Put(ctxOf(t), u, strings.NewReader("kept")); err != nil {
		t.Fatal(err)
	}
	n.get("/object-storage/bucket-1/o?userId=1").is(t, 200, "kept")
}

// A body calls something when it is first read.
type body struct {
	io.Reader
	first func()
}

func (b *body) Read(p []byte) (int, error) {
	if b.first != nil {
		b.first()
		b.first = nil
	}
	return b.Reader.Read(p)
}

// A node that was taken for dead while it uploads loses the reservation, and deletes what it wrote; then it goes on with a new session.
func TestTakenForDead(t *testing.T) {
	n := serve(t, t.TempDir(), func(o *storage.Options) { o.BeatEvery = 10 * time.Millisecond })
	reap := func() {
		await(t, "the session ends", func() bool {
			session := n.storage.Jobs().Session()
			var beats uint64
			n.storage.Read(func(s *storage.State) {
				for _, v := range s.Jobs().Sessions() {
					if v.ID == session {
						beats = v.Beats
					}
				}
			})
			r, err := n.storage.Do(ctxOf(t), jobs.EncodeReap(session, beats, time.Now()))
			return err == nil && r.Jobs.Outcome == jobs.OK
		})
	}
	u := &storage.Upload{User: "1", Bucket: "bucket-1", Object: "o", ContentType: "text/plain", Length: 4}
	if _, err := n.storage.Put(ctxOf(t), u, &body{strings.NewReader("lost"), reap}); !errors.Is(err, storage.ErrLost) {
		t.Errorf("stored without a reservation: %v", err)
	}
	n.used("1", 0)
	await(t, "a new session", func() bool {
		_, err := n.storage.Put(ctxOf(t), u, strings.NewReader("kept"))
		return err == nil
	})
	n.used("1", 4)
	n.tidy()
}
