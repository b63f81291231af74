package cache

import (
	"bytes"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// Verdict is what may be done with a response. It does not refer to the heads it was made from.
type Verdict struct {
	// Share lets the response go to others than the one whose request was sent: those with the same key for whom
	// [Verdict.Matches] holds too.
	Share bool
	// Store lets the response be kept, if it arrives whole.
	Store bool
	// FreshFor is how long from its arrival it is fresh, at most the route's max_ttl. A stored response that is stale
	// at once is good for revalidation and stale-if-error.
	FreshFor time.Duration
	// Unshareable says that the next responses of this key will hardly be shareable either: [Cache.Learn] remembers it.
	Unshareable bool

	// replaces says that what is stored under the request's key is out of date, whether the response is stored or not.
	replaces bool

	vary   []string // what the response varies by, by itself
	values []byte   // the leader's values of those fields
	known  []string // what the resource's answers vary by from now on
	plan   *Plan    // with the key under which the response is stored
	entry  *Entry   // what is stored of it, but for its body; nil if nothing is
	length int64    // of the body as declared, -1 if it is not
}

// Judge reads what may be done with the response to a request. p is the request's plan; a response to a request that
// passes goes to that request alone.
func (c *Cache) Judge(req *http1.Request, resp *http1.Response, p *Plan, t Times) Verdict {
	var v Verdict
	if p.Pass != NoReason {
		return v
	}
	var s facts
	s.read(resp, t.Response)
	names, all := varyOf(&resp.Head)
	s.varyAll = s.varyAll || all
	general := s.permits(p) // what an answer to a credential says is about that credential, not about who comes without
	v.Share = s.shareable() && general
	v.Unshareable = !s.shareable() && s.lasting() && general
	if p.Store && s.storable(c.route) && general {
		v.FreshFor = s.freshFor(c.route, t)
		v.Store = v.FreshFor > 0 || s.worthKeeping()
	}
	v.replaces = p.Store && s.lasting() && general
	if v.Share || v.Store {
		v.vary = names
		v.values = appendVaried(nil, names, &req.Head)
		c.rekey(&v, req, p)
	}
	if v.Store {
		v.entry, v.length = c.newEntry(resp, &s, &v, t), resp.Declared
	}
	return v
}

// rekey finds the key that the response belongs to, now that it is known what it varies by.
func (c *Cache) rekey(v *Verdict, req *http1.Request, p *Plan) {
	v.plan = p.Clone()
	v.known = p.varies.with(v.vary)
	if len(v.known) > maxVaries {
		v.known = v.vary
	}
	if p.varies != nil && len(v.known) == len(p.varies.names) || len(v.known) == 0 {
		return
	}
	c.replan(v.plan, &varies{base: bytes.Clone(p.buf[:p.base]), names: v.known}, req)
}

// shareable reports whether others than the leader may get the response at all: it is not private, not no-store, must
// not be confirmed by the origin for each request, sets no cookie, and depends on nothing that the key does not hold.
func (s *facts) shareable() bool {
	switch {
	case s.private, s.noStore, s.noCache, len(s.hidden) > 0, s.personal, s.varyAll:
		return false
	case s.partial, s.status == 206, s.status == 304, s.status < 200:
		return false
	}
	return !s.challenge && s.status != 401 && s.status != 407
}

// lasting reports whether the next response is likely to be like this one. Errors and parts pass.
func (s *facts) lasting() bool {
	return s.status >= 200 && s.status < 500 && !s.partial && !s.challenge && !passing(s.status)
}

// passing reports whether a status below 500 says nothing about the resource, but about this request or this moment.
func passing(status int) bool {
	switch status {
	case 206, 304, 401, 407, 408, 416, 425, 429:
		return true
	}
	return false
}

// permits applies RFC 9111 section 3.5: the answer to a request with Authorization is its own, unless it says public,
// s-maxage or must-revalidate. Where Cookie or another credential came instead, of which no RFC speaks, public or s-maxage
// must allow it.
func (s *facts) permits(p *Plan) bool {
	everybody := s.public || s.sMaxAge != absent
	return (!p.identified || everybody) && (!p.authorized || everybody || s.revalidates)
}

// storable applies RFC 9111 section 3.
func (s *facts) storable(r *Route) bool {
	switch {
	case r.MaxTTL <= 0, !understood(s.status), s.partial:
		return false
	case s.private, s.noStore, s.personal, s.varyAll, s.challenge:
		return false
	}
	return true
}

// worthKeeping reports whether a response that is stale from the start may be of use: the origin can confirm it, or it
// may stand in for an error.
func (s *facts) worthKeeping() bool {
	_, explicit := s.explicit()
	return (explicit || s.noCache) && (s.etag != nil || s.lastModified != nil || s.staleIfError > 0 || s.staleWhileRevalidate > 0)
}

// Matches reports whether another request, with the same key as the leader's, may get the response as far as Vary goes:
// its fields that the response varies by have the same values.
func (v *Verdict) Matches(req *http1.Request) bool {
	if len(v.vary) == 0 {
		return v.Share
	}
	var buf [256]byte
	return v.Share && bytes.Equal(v.values, appendVaried(buf[:0], v.vary, &req.Head))
}
