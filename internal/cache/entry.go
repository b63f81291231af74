package cache

import (
	"bytes"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// Entry is a complete response that is kept. It is immutable and safe for concurrent use.
type Entry struct {
	status int
	reason []byte
	block  []byte // the fields that every answer has, as they go out
	body   []byte

	etag         []byte // with its W/ and quotes; nil without a valid one
	lastModified []byte
	modified     time.Time
	date         time.Time

	came       time.Time     // when the response came, or was confirmed last
	initialAge time.Duration // how old it was then
	freshFor   time.Duration // from came
	swr, sie   time.Duration // stale-while-revalidate, stale-if-error; absent or more
	validate   bool          // no-cache: it must be confirmed each time
	strict     bool          // must-revalidate or proxy-revalidate: never stale
	shared     bool          // s-maxage: no request's max-stale makes it usable
	everybody  bool          // public or s-maxage: also for requests with credentials
	authorized bool          // also for requests with Authorization

	key        []byte // what it answers
	base       int    // length of the key's part that names the resource
	generation uint64 // of its resource when it was asked for
	secondary  bool   // the key is more than the resource
}

// newEntry makes an entry of a response's head.
func (c *Cache) newEntry(resp *http1.Response, s *facts, v *Verdict, t Times) *Entry {
	e := &Entry{
		status: resp.Status, reason: bytes.Clone(resp.Reason),
		key: v.plan.Key(), base: v.plan.base, generation: v.plan.generation, secondary: v.plan.secondary,
	}
	size := 0
	for i := range resp.Fields {
		size += len(resp.Fields[i].Name) + len(resp.Fields[i].Value) + len(": \r\n")
	}
	e.block = make([]byte, 0, size+len(via11)+len("Date: \r\n")+len(http1.TimeFormat))
	for i := range resp.Fields {
		f := &resp.Fields[i]
		if kept(f) && !s.hides(f.Name) && (c.drop == nil || !c.drop(f.Name)) {
			e.block = http1.AppendField(e.block, f.Name, f.Value)
		}
	}
	if !s.hasDate { // RFC 9110 section 6.6.1: who keeps a response without a date gives it one
		e.block = http1.AppendField(e.block, "Date", t.Response.UTC().Format(http1.TimeFormat))
	}
	e.block = append(e.block, viaOf(resp.Minor)...) // RFC 9110 section 7.6.3
	e.adopt(s, t, v.FreshFor)
	return e
}

// Entry returns the response as an entry, with its whole body, which is kept and must not change any more. It returns
// nil if the response is not to be stored, or if the body is not as long as it was declared.
func (v *Verdict) Entry(body []byte) *Entry {
	if v.entry == nil || v.length >= 0 && v.length != int64(len(body)) {
		return nil
	}
	e := *v.entry
	e.body = body
	return &e
}

const (
	via10 = "Via: 1.0 sluice\r\n"
	via11 = "Via: 1.1 sluice\r\n"
)

func viaOf(minor int) string {
	if minor == 0 {
		return via10
	}
	return via11
}

// adopt takes over what the facts say about validation and freshness.
func (e *Entry) adopt(s *facts, t Times, freshFor time.Duration) {
	e.etag, e.lastModified, e.modified, e.date = bytes.Clone(s.etag), bytes.Clone(s.lastModified), s.modified, s.date
	e.came, e.initialAge, e.freshFor = t.Response, s.initialAge(t), freshFor
	e.swr, e.sie = s.staleWhileRevalidate, s.staleIfError
	e.validate, e.strict = s.noCache, s.mustRevalidate || s.proxyRevalidate
	e.shared = s.sMaxAge != absent
	e.everybody = s.public || e.shared
	e.authorized = e.everybody || s.revalidates
}

// kept reports whether a field of a response is stored: not those of one hop, the framing, what proxies said about one
// request, and Age, which is stated afresh.
func kept(f *http1.Field) bool {
	switch f.Kind {
	case http1.ContentLength, http1.Trailer, http1.XRequestID:
		return false
	case http1.Other:
		return !http1.EqualFold(f.Name, "age") && !http1.EqualFold(f.Name, "proxy-authentication-info") && !http1.EqualFold(f.Name, "cache-status")
	}
	return !f.HopByHop()
}

// hides reports whether no-cache="name, ..." names the field.
func (s *facts) hides(name []byte) bool {
	for _, n := range s.hidden {
		if bytes.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// overhead is what an entry takes in memory beside its bytes: itself, its slices' slack and the store's own records.
const overhead = 512

// Size is what the entry takes in memory, in bytes.
func (e *Entry) Size() int64 {
	return overhead + int64(cap(e.block)+cap(e.body)+len(e.key)+len(e.reason)+len(e.etag)+len(e.lastModified))
}

// Status is the status of the response.
func (e *Entry) Status() int { return e.status }

// Body is the whole body, which must not be changed.
func (e *Entry) Body() []byte { return e.body }

// Validators are what a conditional request can name: for If-None-Match the ETag and for If-Modified-Since the
// Last-Modified, either nil without one.
func (e *Entry) Validators() (etag, lastModified []byte) { return e.etag, e.lastModified }

// Age is how old the response is, RFC 9111 section 4.2.3.
func (e *Entry) Age(now time.Time) time.Duration { return e.initialAge + e.resident(now) }

// resident is how long ago it came. A clock that was set back never makes it younger than when it came.
func (e *Entry) resident(now time.Time) time.Duration { return max(now.Sub(e.came), 0) }

// TTL is how long it is still fresh, negative once it is stale.
func (e *Entry) TTL(now time.Time) time.Duration { return e.freshFor - e.resident(now) }

// keep is how long from came it may be of use at all, confirmed or not.
func (e *Entry) keep() time.Duration {
	grace := max(e.swr, e.sie, 0)
	if e.etag != nil || e.lastModified != nil {
		grace = max(grace, revalidable)
	}
	return min(e.freshFor+grace, longest)
}

const (
	revalidable = 10 * time.Minute // how long past its freshness a response with a validator is kept
	longest     = 24 * time.Hour
)
