package gcra

import "time"

// A Request is one of several costs that [All] decides together.
type Request[K comparable] struct {
	Limiter  *Limiter[K]
	Key      K
	N        int64
	Decision Decision // set by All
}

// All decides several requests at the time now, and spends all of them or, if one is refused, none. It sets the Decision of each: of those
// refused it says when to come again, of those that were not, but for nothing, what is left.
//
// First it looks at all of them, and only if none is refused it takes them, one after the other. If another client of the same limits came in
// between and one is refused after all, those already taken are refunded. So:
//
//   - no limit ever admits more than it would to single requests;
//   - a refused request has spent nothing when All returns;
//   - for the time of that give-and-take, some 100 ns and only when two requests race for the last tokens, others see the tokens
//     as spent, and may be refused where a lock would have made them wait and admitted them.
//
// Limiters should count time from the same start (see [Since]). The same limiter, and the same key, may appear more than once. All allocates
// nothing; the caller may use the slice again.
func All[K comparable](now time.Duration, requests []Request[K]) (allowed bool) {
	allowed = true
	for i := range requests {
		r := &requests[i]
		r.Decision = r.Limiter.PeekAt(r.Key, now, r.N)
		allowed = allowed && r.Decision.Allowed
	}
	for i := 0; allowed && i < len(requests); i++ {
		r := &requests[i]
		r.Decision = r.Limiter.AllowNAt(r.Key, now, r.N)
		if !r.Decision.Allowed {
			giveBack(now, requests[:i])
			return false
		}
	}
	return allowed
}

// giveBack refunds requests in the reverse order.
func giveBack[K comparable](now time.Duration, requests []Request[K]) {
	for i := len(requests) - 1; i >= 0; i-- {
		r := &requests[i]
		r.Decision = r.Limiter.RefundAt(r.Key, now, r.N)
	}
}
