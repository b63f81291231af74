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

// Type is a kind of error. Its URI is stable: programs may compare it.
type Type struct {
	Name   string // the last part of its URI
	Title  string
	Status int
}

// URI identifies the type and leads to its description.
func (t *Type) URI() string { return base + t.Name }

// The types of errors.
var (
	BadRequest        = &Type{"bad-request", "The request is malformed", 400}
	NotFound          = &Type{"no-route", "No route matches the request", 404}
	RequestTimeout    = &Type{"request-timeout", "The request did not arrive in time", 408}
	BodyTooLarge      = &Type{"body-too-large", "The body is larger than the route allows", 413}
	URITooLong        = &Type{"uri-too-long", "The request target is too long", 414}
	ExpectationFailed = &Type{"expectation-failed", "The expectation cannot be met", 417}
	HeaderTooLarge    = &Type{"header-too-large", "The request head is too large", 431}
	Internal          = &Type{"internal-error", "The gateway failed", 500}
	NotImplemented    = &Type{"not-implemented", "The method is not served here", 501}
	UpstreamFailed    = &Type{"upstream-unreachable", "The upstream could not be reached", 502}
	UpstreamInvalid   = &Type{"upstream-bad-response", "The upstream's response is malformed", 502}
	NoTarget          = &Type{"upstream-unavailable", "The upstream has no healthy target", 503}
	UpstreamTimeout   = &Type{"upstream-timeout", "The upstream did not answer in time", 504}
)

// All lists every type, for the documentation's test.
var All = []*Type{
	BadRequest, NotFound, RequestTimeout, BodyTooLarge, URITooLong, ExpectationFailed, HeaderTooLarge,
	Internal, NotImplemented, UpstreamFailed, UpstreamInvalid, NoTarget, UpstreamTimeout,
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
}

// body has the members of RFC 9457 section 3.1 in their order there.
type body struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty"`
	RequestID string `json:"request_id"`
}

// Write answers the exchange with the problem.
func Write(x *http1.Exchange, p Problem) {
	text, err := json.Marshal(body{p.Type.URI(), p.Type.Title, p.Type.Status, p.Detail, p.RequestID})
	if err != nil {
		panic(err) // strings and a number always marshal
	}
	x.Begin(p.Type.Status, nil)
	x.AddString("Content-Type", "application/problem+json")
	x.AddDate()
	x.AddString("X-Request-Id", p.RequestID)
	if p.RetryAfter > 0 {
		seconds := (p.RetryAfter + time.Second - 1) / time.Second
		x.AddString("Retry-After", strconv.Itoa(int(seconds)))
	}
	x.Respond(append(text, '\n'))
}
