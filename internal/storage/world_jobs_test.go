package storage_test

import (
	"crypto/sha256"
	"slices"
	"strconv"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/storage"
)

// post accepts a job, perhaps one that was accepted before under the same key.
func (w *world) post() {
	bucket, object := w.object()
	q := storage.Request{Blob: w.blob(), Size: w.size(), Bucket: bucket, Object: object, File: "f.png"}
	user := w.user()
	spec := jobs.Spec{Queue: storage.Queue, Tenant: user, Owner: user, Payload: q.Encode(), MaxAttempts: 2}
	spec.ID = jobs.ID(w.blob())
	again := w.keys > 0 && rapid.IntRange(0, 4).Draw(w.t, "again") == 0
	if !again {
		w.keys++
	}
	spec.Key = strconv.Itoa(w.keys)
	if err := spec.Complete(w.now); err != nil {
		w.t.Fatal(err)
	}
	left := w.left(user)
	r := w.jobs(jobs.EncodeEnqueue(&spec, w.now))
	over := q.Size > left
	switch {
	case r.Outcome == storage.OverQuota && over, r.Outcome == storage.Done && r.Jobs.Outcome == jobs.OK && !over:
	case again && r.Outcome == storage.Done && r.Jobs.Outcome == jobs.Existed:
	default:
		w.t.Fatalf("accepted %d of %d: %+v", q.Size, left, r)
	}
	if u := w.state.Quotas().Usage(user); r.Jobs.Outcome == jobs.OK && r.Outcome == storage.Done && u.Left() != left-q.Size {
		w.t.Fatalf("accepted %d of %d, and %d are left", q.Size, left, u.Left())
	}
}

func (w *world) claim() {
	r := w.jobs(jobs.EncodeClaim(w.session(), storage.Queue, 2, w.now))
	w.running = append(w.running, r.Jobs.Claimed...)
}

func (w *world) takeClaim() (c jobs.Claim, ok bool) {
	if len(w.running) == 0 {
		return c, false
	}
	i := rapid.IntRange(0, len(w.running)-1).Draw(w.t, "claim")
	c = w.running[i]
	w.running = slices.Delete(w.running, i, i+1)
	return c, true
}

// finish stores what a job asked for. The claim may have passed to another session, and the job may have been done there.
func (w *world) finish() {
	c, ok := w.takeClaim()
	if !ok {
		return
	}
	blob, held := w.state.BlobOf(c.ID)
	if !held {
		return
	}
	w.blobs[blob] = true
	hold, _ := w.state.Quotas().Reservation(blob)
	bucket, object := w.object()
	e := &storage.Entry{Bucket: bucket, Object: object, Size: hold.Bytes, Length: 100, SHA256: sha256.Sum256([]byte(object)), ContentType: "application/json"}
	stored := jobs.Stored{Head: storage.ResultOf(e)}
	if r := w.jobs(jobs.EncodeFinish(c.ID, c.Fence, &stored, w.now)); r.Jobs.Outcome == jobs.OK {
		entry, _ := w.state.Get(hold.User, bucket, object)
		w.objects[name{hold.User, bucket, object}] = entry
		if entry == nil || entry.Blob != blob || entry.Size != hold.Bytes {
			w.t.Fatalf("done, but stored is %+v", entry)
		}
	}
}

func (w *world) fail() {
	c, ok := w.takeClaim()
	if !ok {
		return
	}
	if rapid.Bool().Draw(w.t, "for good") {
		w.jobs(jobs.EncodeFail(c.ID, c.Fence, &jobs.Stored{Error: "no"}, w.now))
		return
	}
	w.jobs(jobs.EncodeRetryLater(c.ID, c.Fence, w.now.Add(time.Minute), &jobs.Stored{Error: "not now"}, w.now))
}

// retry queues a dead letter again, if there is room in the quota.
func (w *world) retry() {
	if len(w.dead) == 0 {
		return
	}
	id := w.dead[len(w.dead)-1]
	w.tick()
	v, found := w.state.Jobs().Get(id)
	size := w.size()
	if r := w.jobs(jobs.EncodeRetry(id, w.now)); found && v.State == jobs.Failed && r.Jobs.Outcome != jobs.Refused {
		w.t.Fatalf("retried without a reservation: %+v", r)
	}
	r := w.state.Apply(storage.EncodeRetry(w.blob(), size, jobs.EncodeRetry(id, w.now)))
	if found && v.State == jobs.Failed && (r.Outcome == storage.OverQuota) == (r.Jobs.Outcome == jobs.OK && r.Outcome == storage.Done) {
		w.t.Fatalf("retried with %d: %+v", size, r)
	}
	if r.Outcome == storage.Done && r.Jobs.Outcome == jobs.OK {
		w.dead = w.dead[:len(w.dead)-1]
	}
}
