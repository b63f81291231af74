package cache

import (
	"net/http"
	"strings"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// Times says when a call to the upstream was made: RFC 9111 section 4.2.3.
type Times struct {
	Request  time.Time // just before the request was sent
	Response time.Time // when the response's head came
}

// facts is what a response's head says to a cache. Its slices are the head's.
type facts struct {
	directives
	status       int
	etag         []byte
	lastModified []byte
	modified     time.Time // of lastModified; zero without a valid one
	date         time.Time // of Date; the time it came without a valid one
	expires      time.Time // of Expires, the earliest of several; zero if malformed
	hasExpires   bool
	hasDate      bool
	age          time.Duration // of Age, 0 without a valid one
	personal     bool          // a field that is meant for one client: Set-Cookie
	challenge    bool          // asks for credentials
	varyAll      bool          // Vary: *
	partial      bool          // Content-Range
}

// read gathers the facts of a response.
func (s *facts) read(resp *http1.Response, came time.Time) {
	s.reset()
	*s = facts{directives: s.directives, status: resp.Status, date: came}
	for i := range resp.Fields {
		s.field(&resp.Fields[i], came)
	}
}

// field takes in one field of a response.
func (s *facts) field(f *http1.Field, came time.Time) {
	switch name := f.Name; len(name) {
	case 3:
		if http1.EqualFold(name, "age") {
			s.age = max(s.age, ageOf(f.Value))
		}
	case 4:
		if http1.EqualFold(name, "etag") {
			s.etag = tagOf(f.Value)
		} else if http1.EqualFold(name, "vary") {
			s.varyAll = s.varyAll || hasElement(f.Value, "*")
		} else if http1.EqualFold(name, "date") {
			s.hasDate = true
			if t, ok := parseDate(f.Value); ok {
				s.date = t
			}
		}
	case 6:
		if http1.EqualFold(name, "pragma") && hasElement(f.Value, "no-cache") {
			s.noCache = true // no standard says what it means in a response: the restrictive reading
		}
	case 7:
		if http1.EqualFold(name, "expires") {
			s.addExpires(f.Value)
		}
	case 10:
		s.personal = s.personal || http1.EqualFold(name, "set-cookie")
	case 11:
		s.personal = s.personal || http1.EqualFold(name, "set-cookie2")
	case 13:
		switch {
		case http1.EqualFold(name, "cache-control"):
			s.add(f.Value)
		case http1.EqualFold(name, "last-modified"):
			if t, ok := parseDate(f.Value); ok {
				s.lastModified, s.modified = f.Value, t
			}
		case http1.EqualFold(name, "content-range"):
			s.partial = true
		}
	case 16:
		s.challenge = s.challenge || http1.EqualFold(name, "www-authenticate")
	case 19:
		s.personal = s.personal || http1.EqualFold(name, "authentication-info")
	}
}

func (s *facts) addExpires(value []byte) {
	t, _ := parseDate(value) // RFC 9111 section 5.3: invalid dates, "0" above all, are in the past
	if !s.hasExpires || t.Before(s.expires) {
		s.expires = t
	}
	s.hasExpires = true
}

// parseDate reads an HTTP-date in any of its three formats, RFC 9110 section 5.6.7. net/http reads more than those.
func parseDate(b []byte) (time.Time, bool) {
	switch text := string(b); {
	case len(text) == len(http1.TimeFormat), len(text) == len(time.ANSIC), strings.HasSuffix(text, " GMT") && text[2] != ',' && text[3] != ',':
		t, err := http.ParseTime(text)
		return t, err == nil
	}
	return time.Time{}, false
}

// ageOf reads an Age field, the largest of several members; what is no number is ignored, RFC 9111 section 5.1.
func ageOf(value []byte) (age time.Duration) {
	for rest := value; len(rest) > 0; {
		var member []byte
		member, rest, _ = nextDirective(rest)
		if n, ok := parseSeconds(member); ok {
			age = max(age, n)
		}
	}
	return age
}

// hasElement reports whether a comma-separated list holds element, which is in lower case.
func hasElement(list []byte, element string) bool {
	for len(list) > 0 {
		var e []byte
		e, list, _ = nextDirective(list)
		if http1.EqualFold(e, element) {
			return true
		}
	}
	return false
}

// initialAge is the corrected initial age, RFC 9111 section 4.2.3: how old the response was when it came.
func (s *facts) initialAge(t Times) time.Duration {
	apparent := t.Response.Sub(s.date)
	delay := t.Response.Sub(t.Request)
	return max(apparent, s.age+max(delay, 0), 0)
}

// explicit is the freshness lifetime that the response states, RFC 9111 section 4.2.1. A shared cache looks at s-maxage
// first, then at max-age, then at Expires.
func (s *facts) explicit() (time.Duration, bool) {
	switch {
	case s.sMaxAge != absent:
		return s.sMaxAge, true
	case s.maxAge != absent:
		return s.maxAge, true
	case s.hasExpires:
		return max(s.expires.Sub(s.date), 0), true
	}
	return 0, false
}

// maxHeuristic bounds a lifetime that the response did not state.
const maxHeuristic = 24 * time.Hour

// heuristic is a tenth of the time since the last change, RFC 9111 section 4.2.2.
func (s *facts) heuristic() time.Duration {
	if s.modified.IsZero() {
		return 0
	}
	return min(max(s.date.Sub(s.modified)/10, 0), maxHeuristic)
}

// freshFor is how long from now the response may be used without asking, at most the route's max_ttl. It is 0 for one
// that is stale when it comes.
func (s *facts) freshFor(r *Route, t Times) time.Duration {
	if s.noCache {
		return 0
	}
	lifetime, explicit := s.explicit()
	switch {
	case explicit:
		left := lifetime - s.initialAge(t)
		if !s.mustRevalidate && !s.proxyRevalidate {
			left = max(left, r.MinTTL)
		}
		return min(max(left, 0), r.MaxTTL)
	case !byDefault(s.status) && !s.public:
		return 0
	case r.Heuristic && s.heuristic() > 0:
		return min(max(s.heuristic()-s.initialAge(t), r.MinTTL, 0), r.MaxTTL)
	case !s.present:
		return min(max(r.DefaultTTL-s.initialAge(t), 0), r.MaxTTL)
	}
	return 0
}

// understood reports whether a response of this status may be stored if its freshness is stated. Errors of the server
// (5xx), parts (206), answers to conditions (304, 412) and those about one client or connection (401, 407, 408, 425,
// 429) are not.
func understood(status int) bool {
	switch status {
	case 302, 303, 307, 400, 403, 406, 415, 422, 451:
		return true
	}
	return byDefault(status)
}

// byDefault reports whether RFC 9110 section 15.1 lets a response of this status be stored without stated freshness.
func byDefault(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414:
		return true
	}
	return false
}
