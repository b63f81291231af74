package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/objects"
)

// An Order is an object whose record is to be stored. It counts as many bytes as it says.
type Order struct {
	User, Bucket, Object, FileName string
	Size                           uint64
	Key                            string // an idempotency key; "" none
}

// Accept reserves what an order says, and has a worker store the record soon: both or neither. existed says that the job is an earlier one with the
// same key. The error is a *RefusedError (OverQuota or Full), or one of [jobs.Service.Enqueue].
func (s *Storage) Accept(ctx context.Context, o *Order) (v jobs.View, existed bool, err error) {
	q := payload{blob: newBlob(), size: o.Size, bucket: o.Bucket, object: o.Object, file: o.FileName}
	return s.jobs.Enqueue(ctx, jobs.Spec{
		Queue: Queue, Tenant: o.User, Owner: o.User, Key: o.Key, Payload: q.encode(),
		Fingerprint: digest(digestText(o.Bucket), digestText(o.Object), digestText(o.FileName), o.Size),
	})
}

// A Record is what is stored of an order. It is the same whoever stores it, and however often.
type Record struct {
	ObjectID   string    `json:"objectId"`
	Size       uint64    `json:"sizeInByte"`
	BucketName string    `json:"bucketName"`
	FileName   string    `json:"fileName"`
	UserID     string    `json:"userId"`
	JobID      jobs.ID   `json:"jobId"`
	Accepted   jobs.Time `json:"accepted"`
}

// work stores the record of an order. Should the job pass to another node meanwhile, both write the same content under the same name.
func (s *Storage) work(ctx context.Context, c *jobs.Claim) jobs.Result {
	data, err := c.Payload()
	if err != nil {
		return jobs.Result{Error: err.Error()}
	}
	q, ok := parsePayload(data)
	var blob BlobID
	held := false
	if err := s.Read(func(st *State) { blob, held = st.BlobOf(c.ID) }); err != nil {
		return jobs.Result{Error: err.Error()}
	}
	if !ok || !held { // neither can be, for a job that was accepted
		return jobs.Result{Verdict: jobs.Fail, Error: fmt.Sprintf("the job is not what was accepted: a request %v, a reservation %v", ok, held)}
	}
	record := recordOf(c, &q)
	size := int64(len(record))
	info, err := s.store.Put(ctx, keyOf(blob), bytes.NewReader(record), size, size)
	if err != nil {
		return jobs.Result{Error: err.Error()}
	}
	s.metrics.received.Add(float64(info.Size))
	return jobs.Result{Verdict: jobs.Succeed, Status: 201, Head: appendEntry(nil, entryOf(&q, info)), Body: record}
}

func recordOf(c *jobs.Claim, q *payload) []byte {
	record, err := json.Marshal(Record{q.object, q.size, q.bucket, q.file, c.Owner, c.ID, c.Accepted})
	if err != nil {
		panic(err) // of text and numbers
	}
	return append(record, '\n')
}

func entryOf(q *payload, info objects.Info) *Entry {
	return &Entry{
		Bucket: q.bucket, Object: q.object, ContentType: jsonType, FileName: q.file, Size: q.size, Length: uint64(info.Size), SHA256: info.SHA256,
	}
}

// jobLog is the journal as the jobs see it.
type jobLog struct{ s *Storage }

// Do implements jobs.Log. What is refused for a quota is a *RefusedError.
func (l jobLog) Do(ctx context.Context, cmd []byte) (jobs.Reply, error) {
	whole, size := encodeJobs(cmd), uint64(0)
	if id, _, ok := jobs.PeekRetry(cmd); ok {
		whole, size = l.retry(id, cmd)
	} else if spec, _, ok := jobs.PeekEnqueue(cmd); ok {
		q, _ := parsePayload(spec.Payload)
		size = q.size
	}
	r, err := l.s.do(ctx, whole)
	switch {
	case err != nil:
		return jobs.Reply{}, err
	case r.Outcome == OverQuota || r.Outcome == Full:
		return jobs.Reply{}, &RefusedError{Outcome: r.Outcome, Asked: size, Usage: r.Usage}
	}
	return r.Jobs, nil
}

// retry is the command that retries a job, with what it takes to reserve again. A job that this node doesn't know has nothing to reserve: the
// log says what becomes of it.
func (l jobLog) retry(id jobs.ID, cmd []byte) ([]byte, uint64) {
	var data []byte
	err := l.s.Read(func(st *State) { data, _ = st.jobs.Payload(id) })
	q, ok := parsePayload(data)
	if err != nil || !ok {
		return encodeJobs(cmd), 0
	}
	return encodeRetry(newBlob(), q.size, cmd), q.size
}

// Read implements jobs.Log.
func (l jobLog) Read(f func(*jobs.State)) error { return l.s.Read(func(st *State) { f(st.jobs) }) }

// Job returns a user's job, and what its last attempt left; [jobs.ErrNotFound] if the user has none with this id.
func (s *Storage) Job(ctx context.Context, user string, id jobs.ID) (jobs.View, jobs.Stored, error) {
	v, err := s.jobs.Get(ctx, id)
	if err != nil {
		return v, jobs.Stored{}, err
	}
	if v.Owner != user || v.Queue != Queue {
		return jobs.View{}, jobs.Stored{}, jobs.ErrNotFound
	}
	stored, err := s.jobs.Result(ctx, id)
	return v, stored, err
}
