package storage

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/journal"
	"github.com/sluicegate/sluice/internal/objects"
	"github.com/sluicegate/sluice/internal/problem"
	"github.com/sluicegate/sluice/internal/quota"
)

const jsonType = "application/json"

// A fieldError says which field of a request is wrong, and how.
type fieldError struct {
	field  string // of the JSON, a field of the head, a parameter, or "body"
	reason string
}

func (e *fieldError) Error() string { return e.field + " " + e.reason }

func bad(field, format string, args ...any) *fieldError {
	return &fieldError{field, fmt.Sprintf(format, args...)}
}

// begin writes the status line and the fields that every answer has.
func (r *request) begin(status int) {
	r.Begin(status, nil)
	r.AddDate()
	if r.asked {
		r.grant.AddFields(r.Exchange)
	}
}

// answerJSON sends a value of this package's, all of which can be written as JSON.
func (r *request) answerJSON(status int, v any, fields ...field) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	r.begin(status)
	r.AddString("Content-Type", jsonType)
	r.AddString("Cache-Control", "no-store")
	for _, f := range fields {
		f.AddFields(r.Exchange)
	}
	r.Respond(append(body, '\n'))
}

// A field is a field of a response's head.
type field struct{ name, value string }

// AddFields implements problem.FieldAdder.
func (f field) AddFields(x *http1.Exchange) { x.AddString(f.name, f.value) }

// refuse sends a problem.
func (r *request) refuse(p problem.Problem) {
	p.RequestID = requestID(r.Exchange)
	p.Fields = refusalFields{r, p.Fields}
	problem.Write(r.Exchange, p)
}

// refusalFields are those of a problem, and those about the limit.
type refusalFields struct {
	r   *request
	own problem.FieldAdder // nil: none
}

// AddFields implements problem.FieldAdder.
func (f refusalFields) AddFields(x *http1.Exchange) {
	if f.own != nil {
		f.own.AddFields(x)
	}
	if f.r.asked {
		f.r.grant.AddFields(x)
	}
}

const maxRequestID = 128

// requestID is the client's own X-Request-Id if it is fit for logs, otherwise a new one.
func requestID(x *http1.Exchange) string {
	if id, ok := x.Get("x-request-id"); ok && len(id) > 0 && len(id) <= maxRequestID && http1.IsVisible(id) {
		return string(id)
	}
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// refuseField sends what is wrong with a body or a parameter.
func (r *request) refuseField(t *problem.Type, err *fieldError) {
	r.refuse(problem.Problem{Type: t, Detail: err.Error(), Members: []problem.Member{{Name: "field", Value: err.field}}})
}

// retryAfter is when a node that can't write its log is worth another try.
const retryAfter = time.Second

// refuseError says why a request was not carried out, and whether it may have an effect. again says what to do if that isn't known.
func (r *request) refuseError(err error, again string) {
	var refused *RefusedError
	p := problem.Problem{Type: problem.StorageUnavailable, RetryAfter: retryAfter}
	switch {
	case errors.As(err, &refused):
		p = refused.problem()
	case errors.Is(err, jobs.ErrConflict):
		p = problem.Problem{Type: problem.KeyReused, Detail: "this Idempotency-Key came with another request of this user within the last 24 hours; " +
			"nothing was done: use a new key for each object"}
	case errors.Is(err, jobs.ErrNotFound):
		p = problem.Problem{Type: problem.UnknownJob, Detail: "this user has no job with this id, or it is forgotten"}
	case errors.Is(err, jobs.ErrFull):
		p.Type, p.Detail = problem.StorageBusy, "too many jobs are queued; nothing was done: try again later"
	case errors.Is(err, ErrDigest):
		p = problem.Problem{Type: problem.DigestMismatch, Detail: "the content has another SHA-256 than Content-Digest says; nothing was stored",
			Members: []problem.Member{{Name: "field", Value: "Content-Digest"}}}
	case errors.Is(err, objects.ErrFull):
		p = problem.Problem{Type: problem.StorageFull, Detail: "the store of content has no room left; nothing was stored"}
	case errors.Is(err, ErrLost):
		p.Detail = "this node begins anew after it was taken for dead; nothing was stored: send the request again"
	case errors.Is(err, journal.ErrUnknown):
		p.Type, p.Detail = problem.OutcomeUnknown, "the log did not answer in time, so the request may or may not take effect; "+again
	case errors.Is(err, journal.ErrStopped):
		p.Detail = "this node has stopped, its log says why; the request had no effect: send it to another node, or again when this one is back"
	case errors.Is(err, journal.ErrUnavailable):
		p.Detail = "the log cannot be written to now; the request had no effect and never will: repeat it"
	default:
		r.server.log.Error("a request failed", "method", string(r.Method), "path", string(r.Path), "error", err)
		p.Detail = "the content cannot be reached now; the request had no effect: repeat it"
	}
	r.refuse(p)
}

func (e *RefusedError) problem() problem.Problem {
	switch e.Outcome {
	case OverQuota:
		return overQuota(e)
	case Full:
		return problem.Problem{Type: problem.StorageFull, Detail: e.Error() + "; nothing was done"}
	case NotFound:
		return problem.Problem{Type: problem.UnknownObject, Detail: "this user has no object with this id in this bucket"}
	case Unmet:
		return problem.Problem{Type: problem.PreconditionFailed, Detail: "what is stored is not what If-Match or If-None-Match asks for; nothing was done"}
	}
	return problem.Problem{Type: problem.Internal, Detail: "the request had no effect"} // what the handlers have checked
}

func overQuota(e *RefusedError) problem.Problem {
	u := &e.Usage
	return problem.Problem{
		Type: problem.StorageQuota, Detail: e.Error() + "; nothing was stored",
		Members: []problem.Member{
			{Name: "quota", Value: u.Bytes}, {Name: "used", Value: u.Used}, {Name: "reserved", Value: u.Reserved}, {Name: "requested", Value: e.Asked},
			{Name: "resets_at", Value: resetOf(u)},
		},
	}
}

// resetOf is when what a user used counts as nothing again.
func resetOf(u *quota.Usage) string { return (u.Month + 1).Start().Format(time.RFC3339) }
