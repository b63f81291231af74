package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/journal"
	"github.com/sluicegate/sluice/internal/problem"
)

// Jobs is where requests are kept that are accepted now and sent later.
type Jobs struct {
	Service *jobs.Service
	Blobs   jobs.Blobs // of bodies that are too large for the service's log

	MaxResult int64 // bytes of an upstream's answer that are kept; 0: 16 MiB
}

// accept keeps a request to be sent later, and answers with the job that it is then. Nothing is accepted before all of the body is here.
func (g *Gateway) accept(r *request) {
	key, reason := r.idempotencyKey()
	switch {
	case reason != "":
		r.refund()
		r.refuseField("Idempotency-Key", reason)
		return
	case r.route.maxBody > 0 && r.Length > r.route.maxBody:
		r.refund()
		r.refuse(problem.BodyTooLarge, "the body is longer than this route allows")
		return
	}
	spec := jobs.Spec{
		ID: jobs.NewID(r.Start), Queue: r.route.async.queue, Tenant: string(r.client.Name), Owner: string(r.client.Name), Key: key,
	}
	r.route.async.fill(&spec)
	if !g.keepRequest(r, &spec) {
		return
	}
	view, _, err := g.jobs.Service.Enqueue(context.Background(), spec) // whose log has its own bounds, and the client its answer to come back for
	if err != nil {
		g.failAccept(r, &spec, err)
		return
	}
	r.accepted = true
	r.answerJob(202, &view)
}

// async is what a route's configuration says of its jobs.
type async struct {
	cfg   *config.Async
	queue string
}

func newAsync(r *config.Route) *async {
	if r.Async == nil {
		return nil
	}
	return &async{cfg: r.Async, queue: r.Path}
}

func (a *async) fill(s *jobs.Spec) {
	s.MaxAttempts, s.Timeout, s.Deadline, s.KeepResult = uint16(a.cfg.MaxAttempts), a.cfg.Timeout, a.cfg.Deadline, a.cfg.KeepResult
	s.Ordered = a.cfg.Order == config.JobOrderTenant
}

// maxKey bounds an idempotency key, in bytes.
const maxKey = 255

// idempotencyKey returns the request's key, "" without one, or what is wrong with it.
func (r *request) idempotencyKey() (key, reason string) {
	found := false
	for i := range r.Fields {
		f := &r.Fields[i]
		if f.Kind != http1.Other || !http1.EqualFold(f.Name, "idempotency-key") {
			continue
		}
		switch {
		case found:
			return "", "is there twice"
		case len(f.Value) == 0 || len(f.Value) > maxKey || !http1.IsVisible(f.Value):
			return "", fmt.Sprintf("must have 1 to %d visible ASCII characters", maxKey)
		}
		key, found = string(f.Value), true
	}
	return key, ""
}

// keepRequest reads the request's body and fills in what the job has of both. Otherwise it answers and returns false.
func (g *Gateway) keepRequest(r *request, spec *jobs.Spec) bool {
	head := appendKept(nil, r)
	if len(head) > jobs.MaxPayload {
		r.refund()
		r.refuse(problem.HeaderTooLarge, "the head takes more than the "+strconv.Itoa(jobs.MaxPayload)+" bytes that a job has for it")
		return false
	}
	body := &bodyReader{body: &r.Body, max: cmp.Or(r.route.maxBody, math.MaxInt64), sum: fingerprint(r)}
	payload, err := readUpTo(head, body, jobs.MaxPayload)
	if err == nil && len(payload) > jobs.MaxPayload {
		spec.Blob = spec.ID.String() + ".body"
		spec.BlobSize, err = g.jobs.Blobs.Put(context.Background(), spec.Blob, body.after(payload[len(head):]), math.MaxInt64)
		payload = head
	}
	switch {
	case body.err != nil && body.err != io.EOF:
		r.refund()
		if body.err == errBodyTooLarge {
			r.CloseAfter()
			r.refuse(problem.BodyTooLarge, "the body is longer than this route allows")
		} else {
			r.failBody(body.err)
		}
		return false
	case err != nil:
		g.failAccept(r, spec, err)
		return false
	}
	spec.Payload, spec.Fingerprint = payload, binary.BigEndian.Uint64(body.sum.Sum(nil))
	return true
}

// fingerprint begins the sum by which a request under a key is told from another: the method, the target, what the body is, and the body.
func fingerprint(r *request) hash.Hash {
	sum := sha256.New()
	kind, _ := r.Get("content-type")
	coding, _ := r.Get("content-encoding")
	for _, p := range [][]byte{r.Method, r.Target, kind, coding} {
		sum.Write(appendBytes(nil, p))
	}
	return sum
}

var errBodyTooLarge = errors.New("the body is longer than allowed")

// bodyReader reads a body of at most max bytes, and sums it up if it has a sum.
type bodyReader struct {
	body *http1.Body
	max  int64
	sum  hash.Hash
	rest []byte // of the last piece
	err  error  // the end
}

func (b *bodyReader) Read(p []byte) (int, error) {
	for len(b.rest) == 0 && b.err == nil {
		if b.rest, b.err = b.body.Next(); b.err == nil && b.body.Received() > b.max {
			b.rest, b.err = nil, errBodyTooLarge
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	if n > 0 {
		return n, nil
	}
	return 0, b.err
}

// after returns what was read and the rest.
func (b *bodyReader) after(read []byte) io.Reader { return io.MultiReader(bytes.NewReader(read), b) }

// readUpTo appends what r has to dst, until that is one byte longer than max.
func readUpTo(dst []byte, r io.Reader, max int) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):min(cap(dst), max+1)])
		dst = dst[:len(dst)+n]
		if err == io.EOF || len(dst) > max {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// failAccept answers a request that is no job, or may be one.
func (g *Gateway) failAccept(r *request, spec *jobs.Spec, err error) {
	g.log.Debug("no job was accepted", "request_id", string(r.hop.RequestID), "error", err)
	if !errors.Is(err, journal.ErrUnknown) {
		r.refund()
	}
	switch {
	case errors.Is(err, jobs.ErrConflict):
		r.refuse(problem.KeyReused, "this Idempotency-Key came with another request within the last 24 hours; nothing was accepted: "+
			"send each request with a key of its own, and repeat it with that key as it was")
	case errors.Is(err, jobs.ErrFull):
		g.dropBlob(spec)
		r.refuseFor(problem.JobsFull, "nothing was accepted; try again later", time.Minute)
	case errors.Is(err, journal.ErrUnknown) && spec.Key != "":
		r.refuse(problem.OutcomeUnknown, "the log did not answer in time, so the request may or may not be accepted: repeat it with the same "+
			"Idempotency-Key, and it is accepted once")
	case errors.Is(err, journal.ErrUnknown):
		r.refuse(problem.OutcomeUnknown, "the log did not answer in time, so the request may or may not be accepted, and it had no Idempotency-Key: "+
			"repeat it with the same Idempotency-Key each time, and it is accepted once from then on")
	case errors.Is(err, jobs.ErrInvalid):
		g.log.Error("a request made no job", "request_id", string(r.hop.RequestID), "error", err)
		r.refuse(problem.Internal, "the request could not be made a job")
	default:
		r.refuseFor(problem.JobsUnavailable, "the request was not accepted, for it can't be stored; try again later", time.Second)
	}
}

// dropBlob deletes the body of a job that was not accepted. What it can't is deleted later.
func (g *Gateway) dropBlob(spec *jobs.Spec) {
	if spec.Blob == "" {
		return
	}
	if err := g.jobs.Blobs.Delete(context.Background(), spec.Blob); err != nil {
		g.log.Debug("the body of a job that was not accepted is left for later", "blob", spec.Blob, "error", err)
	}
}

// answerJob answers with what there is to know about a job.
func (r *request) answerJob(status int, v *jobs.View) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // it has only texts and numbers
	}
	r.Begin(status, nil)
	r.AddString("Content-Type", "application/json")
	r.AddDate()
	r.AddString("Cache-Control", "no-store")
	if status == 202 {
		r.AddString("Location", config.JobsPath+v.ID.String())
	}
	if wait := untilNext(v, r.Start); wait > 0 {
		r.AddSeconds("Retry-After", wait)
	}
	r.addOwn()
	r.Respond(append(body, '\n'))
}

// untilNext is when to ask for an unfinished job again, in whole seconds: in a second, or when it is tried again; 0 if there is nothing to wait for.
func untilNext(v *jobs.View, now time.Time) time.Duration {
	switch {
	case v.State != jobs.Queued && v.State != jobs.Running:
		return 0
	case v.NextAttempt == 0:
		return time.Second
	}
	return max(time.Second, v.NextAttempt.Time().Sub(now).Truncate(time.Second)+time.Second)
}

// refuseField answers a request of which a field is wrong.
func (r *request) refuseField(name, reason string) {
	problem.Write(r.Exchange, problem.Problem{
		Type: problem.InvalidParameter, Detail: name + " " + reason, RequestID: string(r.hop.RequestID), Fields: &r.grant,
		Members: []problem.Member{{Name: "field", Value: name}},
	})
}
