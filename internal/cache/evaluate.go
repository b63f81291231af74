package cache

import "time"

// State is what a stored response is worth to a request.
type State uint8

// The states.
const (
	Miss                 State = iota // nothing stored that may answer it: ask the upstream
	Fresh                             // answer with it
	StaleWhileRevalidate              // answer with it, and have it confirmed in the background: RFC 5861 section 3
	Stale                             // answer with it: the request's max-stale allows it
	Revalidate                        // ask the upstream, with its validators if it has any
)

// String names the state.
func (s State) String() string {
	return [...]string{"miss", "fresh", "stale-while-revalidate", "stale", "revalidate"}[s]
}

// Usable reports whether the stored response answers the request by itself.
func (s State) Usable() bool { return s == Fresh || s == StaleWhileRevalidate || s == Stale }

// Evaluate says what e is worth to the request: RFC 9111 section 4.
func (e *Entry) Evaluate(p *Plan, now time.Time) State {
	switch {
	case p.identified && !e.everybody, p.authorized && !e.authorized:
		return Miss
	case e.validate, p.Validated:
		return Revalidate
	case p.maxAge != absent && e.Age(now) > p.maxAge:
		return Revalidate
	}
	ttl := e.TTL(now)
	switch {
	case ttl > 0 && (p.minFresh == absent || ttl >= p.minFresh):
		return Fresh
	case ttl > 0 || p.minFresh != absent || e.strict:
		return Revalidate
	case e.swr != absent && -ttl < e.swr:
		return StaleWhileRevalidate
	case p.maxStale != absent && !e.shared && -ttl <= p.maxStale:
		return Stale
	}
	return Revalidate
}

// UsableOnError reports whether e may answer the request although it is stale, because the upstream failed: with no
// response or with 500, 502, 503 or 504. RFC 5861 section 4: the response says so, or the request, and nothing forbids
// stale responses.
func (e *Entry) UsableOnError(p *Plan, now time.Time) bool {
	switch {
	case p.identified && !e.everybody, p.authorized && !e.authorized, e.validate, e.strict, p.Validated:
		return false
	}
	allowed := e.sie
	if !e.shared {
		allowed = max(allowed, p.sie)
	}
	return allowed != absent && -e.TTL(now) < allowed
}
