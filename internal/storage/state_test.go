package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/quota"
	"github.com/sluicegate/sluice/internal/storage"
)

// filled is a state with something of everything: objects, a reservation, a job, garbage, limits.
func filled(t testing.TB) *storage.State {
	t.Helper()
	s := storage.NewState(nil)
	session := s.Apply(storage.EncodeJobs(jobs.EncodeOpenSession([16]byte{1}, 1, start))).Jobs.Session
	for i := range byte(4) {
		blob := storage.BlobID{i}
		s.Apply(storage.EncodeReserve(start, quota.Reservation{ID: blob, User: "1", Bytes: 10, Session: session}))
		if i > 0 {
			e := &storage.Entry{Bucket: "bucket-1", Object: fmt.Sprint("o", i%2), Blob: blob, Size: 10, Length: 10, ContentType: "text/plain", FileName: "f"}
			s.Apply(storage.EncodePut(start, storage.Condition{}, e))
		}
	}
	s.Apply(storage.EncodeJobs(enqueue(t, 100)))
	s.Apply(storage.SetMany(start, "2", 77))
	if v := s.Stats(); v != (storage.Stats{Objects: 2, Size: 20, Length: 20, Garbage: 1, Users: 2, Reservations: 2}) {
		t.Fatalf("%+v", v)
	}
	return s
}

// enqueue is a command that accepts a job of user 1.
func enqueue(t testing.TB, size uint64) []byte {
	t.Helper()
	q := storage.Request{Blob: storage.BlobID{9}, Size: size, Bucket: "bucket-1", Object: "later", File: "f"}
	spec := jobs.Spec{ID: jobs.ID{5}, Queue: storage.Queue, Tenant: "1", Owner: "1", Payload: q.Encode()}
	if err := spec.Complete(start); err != nil {
		t.Fatal(err)
	}
	return jobs.EncodeEnqueue(&spec, start)
}

func TestDamagedSnapshots(t *testing.T) {
	s := filled(t)
	var buf bytes.Buffer
	if err := s.Snapshot(&buf); err != nil {
		t.Fatal(err)
	}
	whole := buf.Bytes()
	restored := storage.NewState(nil)
	if err := restored.Restore(bytes.NewReader(whole)); err != nil || restored.Hash() != s.Hash() || restored.Stats() != s.Stats() {
		t.Fatalf("%v: %+v, want %+v", err, restored.Stats(), s.Stats())
	}
	for i := range whole {
		for what, data := range map[string][]byte{"cut off": whole[:i], "longer": append(bytes.Clone(whole), 0)} {
			if err := storage.NewState(nil).Restore(bytes.NewReader(data)); !errors.Is(err, storage.ErrSnapshot) {
				t.Fatalf("%s at %d of %d: %v", what, i, len(whole), err)
			}
		}
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1
		restored := storage.NewState(nil)
		// What jobs carry is in no hash: the journal has a sum over the whole file.
		if err := restored.Restore(bytes.NewReader(flipped)); !errors.Is(err, storage.ErrSnapshot) && (err != nil || restored.Hash() != s.Hash()) {
			t.Fatalf("flipped at %d of %d: %v", i, len(whole), err)
		}
	}
}

// Bounds are kept, and what is over them says so.
func TestBounds(t *testing.T) {
	s := filled(t)
	s.Bound(4) // two objects, a reservation and a job
	session := s.Jobs().Sessions()[0].ID
	reserve := func(user string, bytes uint64) storage.Outcome {
		return s.Apply(storage.EncodeReserve(start, quota.Reservation{ID: storage.BlobID{30}, User: user, Bytes: bytes, Session: session})).Outcome
	}
	if o := reserve("1", 1); o != storage.Full {
		t.Errorf("a fifth object: %v", o)
	}
	s.Apply(storage.EncodeRemove(start, storage.Condition{}, "1", "bucket-1", "o1"))
	for user, want := range map[string]storage.Outcome{"2": storage.OverQuota, "": storage.Invalid} {
		if o := reserve(user, 78); o != want {
			t.Errorf("78 bytes for %q: %v, want %v", user, o, want)
		}
	}
	if o := reserve("2", 77); o != storage.Done {
		t.Errorf("77 bytes of 77: %v", o)
	}
}

// What would count more than was reserved for it is not stored, neither by an upload nor by a job.
func TestMoreThanReserved(t *testing.T) {
	s := filled(t)
	session := s.Jobs().Sessions()[0].ID
	e := &storage.Entry{Bucket: "bucket-1", Object: "more", Blob: storage.BlobID{0}, Size: 11, Length: 11, ContentType: "text/plain"} // for which filled reserved 10
	if r := s.Apply(storage.EncodePut(start, storage.Condition{}, e)); r.Outcome != storage.Invalid {
		t.Errorf("stored 11 bytes of 10: %+v", r)
	}
	claimed := s.Apply(storage.EncodeJobs(jobs.EncodeClaim(session, storage.Queue, 1, start))).Jobs.Claimed
	e = &storage.Entry{Bucket: "bucket-1", Object: "later", Size: 101, Length: 5, ContentType: "text/plain"} // of 100
	s.Apply(storage.EncodeJobs(jobs.EncodeFinish(claimed[0].ID, claimed[0].Fence, &jobs.Stored{Head: storage.ResultOf(e)}, start)))
	if v, u := s.Stats(), s.Quotas().Usage("1"); v.Objects != 2 || u.Used != 20 || u.Reserved != 10 {
		t.Errorf("%+v with %+v, want the two objects of 20 bytes and 10 reserved", v, u)
	}
}

// Pages of a list are what a look at all of it would give.
func TestPages(t *testing.T) {
	s := storage.NewState(nil)
	session := s.Apply(storage.EncodeJobs(jobs.EncodeOpenSession([16]byte{1}, 1, start))).Jobs.Session
	var names []string
	for i := range 3000 {
		name := fmt.Sprintf("%d/%d", i%7, i*7919%3000)
		names = append(names, name)
		blob := storage.BlobID{1, byte(i), byte(i >> 8)}
		s.Apply(storage.EncodeReserve(start, quota.Reservation{ID: blob, User: "1", Session: session}))
		e := &storage.Entry{Bucket: "bucket-1", Object: name, Blob: blob, ContentType: "text/plain"}
		if r := s.Apply(storage.EncodePut(start, storage.Condition{}, e)); r.Outcome != storage.Done {
			t.Fatalf("%+v", r)
		}
	}
	slices.Sort(names)
	for _, prefix := range []string{"", "3/", "3/1", "9"} {
		want := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return len(n) < len(prefix) || n[:len(prefix)] != prefix })
		var got []string
		for after := ""; ; after = got[len(got)-1] {
			page := s.List(nil, "1", "bucket-1", prefix, after, 100)
			for _, e := range page {
				got = append(got, e.Object)
			}
			if len(page) < 100 {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("with prefix %q there are %d, want %d", prefix, len(got), len(want))
		}
	}
}

// No bytes make Apply panic, exceed a quota, or leave a blob in two places; and what they make can be written and read.
func FuzzApply(f *testing.F) {
	e := &storage.Entry{Bucket: "bucket-1", Object: "o0", Blob: storage.BlobID{0}, Size: 10, Length: 10, ContentType: "text/plain"}
	for _, cmd := range [][]byte{
		storage.EncodeReserve(start, quota.Reservation{ID: storage.BlobID{8}, User: "1", Bytes: 10, Session: 1}),
		storage.EncodePut(start, storage.Condition{Kind: storage.OneOf, Sums: [][32]byte{{}}}, e),
		storage.EncodeRelease(start, storage.BlobID{0}),
		storage.EncodeRemove(start, storage.Condition{Kind: storage.Exists}, "1", "bucket-1", "o1"),
		storage.EncodeCollected([]storage.BlobID{{1}}),
		storage.SetMany(start, "1", 5),
		storage.EncodeJobs(enqueue(f, 5)),
		storage.EncodeJobs(jobs.EncodeClaim(1, storage.Queue, 1, start)),
		storage.EncodeJobs(jobs.EncodeFail(jobs.ID{5}, 1, &jobs.Stored{}, start)),
		storage.EncodeJobs(jobs.EncodeReap(1, 0, start)),
		storage.EncodeRetry(storage.BlobID{7}, 5, jobs.EncodeRetry(jobs.ID{5}, start.Add(time.Hour))),
	} {
		f.Add(cmd, cmd)
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		s := filled(t)
		for _, cmd := range [][]byte{a, b, a} {
			before := s.Quotas().Usage("1")
			s.Apply(cmd)
			after := s.Quotas().Usage("1")
			if after.Used+after.Reserved > before.Used+before.Reserved && after.Used+after.Reserved > after.Bytes {
				t.Fatalf("%+v, and then %+v", before, after)
			}
		}
		places := map[storage.BlobID]bool{}
		note := func(b storage.BlobID) {
			if places[b] {
				t.Fatalf("blob %x is in two places", b)
			}
			places[b] = true
		}
		for _, e := range s.Entries() {
			note(e.Blob)
		}
		for r := range s.Quotas().Reservations() {
			note(r.ID)
		}
		for _, b := range s.Garbage() {
			note(b)
		}
		var buf bytes.Buffer
		if err := errors.Join(s.Snapshot(&buf), storage.NewState(nil).Restore(&buf)); err != nil {
			t.Fatal(err)
		}
	})
}

// A node that was away takes the snapshot of another although it has a state already, which is nothing that counts then.
func TestRestoreReplaces(t *testing.T) {
	s := filled(t)
	var buf bytes.Buffer
	if err := s.Snapshot(&buf); err != nil {
		t.Fatal(err)
	}
	behind := filled(t) // as s was some time ago: with an object that is gone now
	session := behind.Jobs().Sessions()[0].ID
	blob := storage.BlobID{40}
	behind.Apply(storage.EncodeReserve(start, quota.Reservation{ID: blob, User: "1", Bytes: 5, Session: session}))
	e := &storage.Entry{Bucket: "bucket-1", Object: "gone", Blob: blob, Size: 5, Length: 5, ContentType: "text/plain"}
	if r := behind.Apply(storage.EncodePut(start, storage.Condition{}, e)); r.Outcome != storage.Done {
		t.Fatalf("%+v", r)
	}
	if err := behind.Restore(bytes.NewReader(buf.Bytes())); err != nil {
		t.Fatal(err)
	}
	if behind.Hash() != s.Hash() || behind.Stats() != s.Stats() || len(behind.Entries()) != len(s.Entries()) {
		t.Errorf("restored over another state: %+v with %d entries, want %+v with %d", behind.Stats(), len(behind.Entries()), s.Stats(), len(s.Entries()))
	}
}
