// Package problem is the list of errors that the gateway itself makes, and how they are written: as
// application/problem+json, RFC 9457.
package problem

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// base is where the types are described; a type is never renamed.
const base = "https://github.com/sluicegate/sluice/blob/main/docs/problems.md#"

// registered is where IANA lists the types that every server may use, RFC 9457 section 4.2.
const registered = "https://iana.org/assignments/http-problem-types#"

// Type is a kind of error. Its URI is stable: programs may compare it.
type Type struct {
	Name   string // the last part of its URI
	Title  string
	Status int
	base   string // the rest of its URI
}

// own is a type that docs/problems.md describes.
func own(name, title string, status int) *Type { return &Type{name, title, status, base} }

// URI identifies the type and leads to its description.
func (t *Type) URI() string { return t.base + t.Name }

// The types of errors.
var (
	BadRequest        = own("bad-request", "The request is malformed", 400)
	AccessDenied      = own("access-denied", "The client is not served here", 403)
	NotFound          = own("no-route", "No route matches the request", 404)
	RequestTimeout    = own("request-timeout", "The request did not arrive in time", 408)
	BodyTooLarge      = own("body-too-large", "The body is larger than the route allows", 413)
	URITooLong        = own("uri-too-long", "The request target is too long", 414)
	ExpectationFailed = own("expectation-failed", "The expectation cannot be met", 417)
	QuotaExceeded     = &Type{"quota-exceeded", "Request cannot be satisfied as assigned quota has been exceeded", 429, registered}
	HeaderTooLarge    = own("header-too-large", "The request head is too large", 431)
	Internal          = own("internal-error", "The gateway failed", 500)
	NotImplemented    = own("not-implemented", "The method is not served here", 501)
	UpstreamFailed    = own("upstream-unreachable", "The upstream could not be reached", 502)
	UpstreamInvalid   = own("upstream-bad-response", "The upstream's response is malformed", 502)
	QueueFull         = own("queue-full", "Too many requests wait for the upstream", 503)
	QueueTimeout      = own("queue-timeout", "The upstream had no room for the request in time", 503)
	NoTarget          = own("upstream-unavailable", "The upstream has no healthy target", 503)
	LimitUnavailable  = own("limit-unavailable", "A limit could not be decided", 503)
	UpstreamTimeout   = own("upstream-timeout", "The upstream did not answer in time", 504)
	NotCached         = own("not-cached", "No stored answer can be used", 504)
)

// The types of errors that only the market makes.
var (
	InvalidOrder         = own("invalid-order", "The order is not valid", 400)
	InvalidParameter     = own("invalid-parameter", "A parameter is not valid", 400)
	UnknownUser          = own("unknown-user", "There is no such user", 404)
	UnknownBid           = own("unknown-bid", "There is no such open bid", 404)
	MethodNotAllowed     = own("method-not-allowed", "The path does not have this method", 405)
	TotalOutOfRange      = own("total-out-of-range", "A total would pass 64 bits", 409)
	UnsupportedMediaType = own("unsupported-media-type", "The body is not of a type that is read here", 415)
	KeyReused            = own("idempotency-key-reused", "The idempotency key belongs to another request", 422)
	MarketFull           = own("market-full", "The market has no room for this", 503)
	MarketUnavailable    = own("market-unavailable", "The market cannot answer now", 503)
	OutcomeUnknown       = own("outcome-unknown", "It is not known whether the request takes effect", 503)
	TooManyStreams       = own("too-many-streams", "Too many clients are listening", 503)
)

// The types of errors that only the storage makes.
var (
	DigestMismatch      = own("digest-mismatch", "The content is not what its digest says", 400)
	InvalidObject       = own("invalid-object", "The object is not valid", 400)
	StorageQuota        = own("storage-quota-exceeded", "The quota of stored bytes is used up", 403)
	UnknownObject       = own("unknown-object", "There is no such object", 404)
	UnknownJob          = own("unknown-job", "There is no such job", 404)
	LengthRequired      = own("length-required", "The request must say how long its body is", 411)
	PreconditionFailed  = own("precondition-failed", "The condition of the request is not met", 412)
	RangeNotSatisfiable = own("range-not-satisfiable", "The range is beyond the content", 416)
	StorageBusy         = own("storage-busy", "Too many jobs are queued", 503)
	StorageUnavailable  = own("storage-unavailable", "The storage cannot answer now", 503)
	StorageFull         = own("storage-full", "The storage has no room for this", 507)
)

// The types of errors of requests that are accepted now and sent later.
var (
	NoResult        = own("no-result", "The job has no result to show", 409)
	NotCancelled    = own("not-cancelled", "The job can no longer be cancelled", 409)
	JobsFull        = own("jobs-full", "Too many jobs wait", 503)
	JobsUnavailable = own("jobs-unavailable", "Jobs cannot be kept now", 503)
)

// All lists every type, for the documentation's test.
var All = []*Type{
	BadRequest, AccessDenied, NotFound, RequestTimeout, BodyTooLarge, URITooLong, ExpectationFailed, QuotaExceeded, HeaderTooLarge,
	Internal, NotImplemented, UpstreamFailed, UpstreamInvalid, NoTarget, QueueFull, QueueTimeout, LimitUnavailable, UpstreamTimeout, NotCached,
	InvalidOrder, InvalidParameter, UnknownUser, UnknownBid, MethodNotAllowed, TotalOutOfRange, UnsupportedMediaType, KeyReused, MarketFull,
	MarketUnavailable, OutcomeUnknown, TooManyStreams,
	DigestMismatch, InvalidObject, StorageQuota, UnknownObject, UnknownJob, LengthRequired, PreconditionFailed, RangeNotSatisfiable, StorageBusy,
	StorageUnavailable, StorageFull,
	NoResult, NotCancelled, JobsFull, JobsUnavailable,
}

// ForRefusal is the type for a request that was refused with the given status.
func ForRefusal(status int) *Type {
	for _, t := range []*Type{RequestTimeout, URITooLong, ExpectationFailed, HeaderTooLarge, Internal, NotImplemented} {
		if t.Status == status {
			return t
		}
	}
	return BadRequest
}

// Problem is one error.
type Problem struct {
	Type       *Type
	Detail     string        // what is wrong with this request, and what would help
	RequestID  string        // what X-Request-Id says
	RetryAfter time.Duration // when to try again, rounded up to seconds; 0: not said
	Members    []Member      // what the type says beyond the members of every problem
	Fields     FieldAdder    // more fields of the response; nil: none
}

// Member is an extension member, RFC 9457 section 3.2.
type Member struct {
	Name  string
	Value any // anything that encoding/json can write
}

// FieldAdder adds fields to the head of a response.
type FieldAdder interface{ AddFields(x *http1.Exchange) }

// body has the members of RFC 9457 section 3.1 in their order there.
type body struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty"`
	RequestID string `json:"request_id"`
}

// Body is the problem as application/problem+json, with a line break at its end.
func (p *Problem) Body() []byte {
	text := marshal(body{p.Type.URI(), p.Type.Title, p.Type.Status, p.Detail, p.RequestID})
	text = text[:len(text)-1] // without its brace
	for _, m := range p.Members {
		text = append(append(text, ','), marshal(m.Name)...)
		text = append(append(text, ':'), marshal(m.Value)...)
	}
	return append(text, "}\n"...)
}

func marshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // only strings, numbers and lists of them come here
	}
	return text
}

// Write answers the exchange with the problem.
func Write(x *http1.Exchange, p Problem) {
	x.Begin(p.Type.Status, nil)
	x.AddString("Content-Type", "application/problem+json")
	x.AddDate()
	x.AddString("X-Request-Id", p.RequestID)
	if p.RetryAfter > 0 {
		seconds := (p.RetryAfter-1)/time.Second + 1
		x.AddString("Retry-After", strconv.Itoa(int(seconds)))
	}
	if p.Fields != nil {
		p.Fields.AddFields(x)
	}
	x.Respond(p.Body())
}
