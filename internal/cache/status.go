package cache

import (
	"strconv"
	"time"
)

// Forward says why a request went to the upstream, RFC 9211 section 2.2.
type Forward string

// The reasons of RFC 9211.
const (
	NotForwarded    Forward = ""
	ForwardBypass   Forward = "bypass"    // the cache was not to handle it
	ForwardMethod   Forward = "method"    // its method
	ForwardURIMiss  Forward = "uri-miss"  // nothing is stored for its resource
	ForwardVaryMiss Forward = "vary-miss" // nothing for its fields

	ForwardRequest Forward = "request" // it asked for that
	ForwardStale   Forward = "stale"   // what is stored is stale
)

// StatusField is the value of a Cache-Status field, RFC 9211.
type StatusField struct {
	Hit       bool          // answered from the store; Forward means nothing then
	Forward   Forward       // why it went to the upstream
	Status    int           // what the upstream answered if the client gets another status, 0 otherwise
	Stored    bool          // the upstream's answer was stored
	Collapsed bool          // it shared another request's call
	HasTTL    bool          // TTL means something
	TTL       time.Duration // how long the answer is still fresh, negative once it is stale
	Detail    string        // a token for more, such as "stale-if-error"
}

// Append appends the field's value.
func (s *StatusField) Append(dst []byte) []byte {
	dst = append(dst, "sluice"...)
	if s.Hit {
		dst = append(dst, "; hit"...)
	} else if s.Forward != NotForwarded {
		dst = append(append(dst, "; fwd="...), s.Forward...)
	}
	if s.Status != 0 && !s.Hit {
		dst = strconv.AppendInt(append(dst, "; fwd-status="...), int64(s.Status), 10)
	}
	if s.HasTTL {
		dst = strconv.AppendInt(append(dst, "; ttl="...), int64(s.TTL/time.Second), 10)
	}
	if s.Stored && !s.Hit {
		dst = append(dst, "; stored"...)
	}
	if s.Collapsed {
		dst = append(dst, "; collapsed"...)
	}
	if s.Detail != "" {
		dst = append(append(dst, "; detail="...), s.Detail...)
	}
	return dst
}

// ForwardFor is the reason to give for a request that went to the upstream.
func ForwardFor(p *Plan, found State) Forward {
	switch {
	case p.Pass == Method:
		return ForwardMethod
	case p.Pass == NoStore:
		return ForwardRequest
	case p.Pass != NoReason:
		return ForwardBypass
	case found == Miss && p.apart():
		return ForwardBypass
	case found == Revalidate && (p.Validated || p.maxAge != absent || p.minFresh != absent):
		return ForwardRequest
	case found == Revalidate:
		return ForwardStale
	case p.varies != nil:
		return ForwardVaryMiss
	}
	return ForwardURIMiss
}

// apart reports whether a request keeps its answer to itself, or its answer was not shareable lately, so that no other can be for it.
func (p *Plan) apart() bool { return p.authorized || p.identified || p.Known || p.part || p.condition }
