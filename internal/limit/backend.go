package limit

import (
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/config"
)

// call is one rule on its way to a decision about one request.
type call struct {
	rule     *rule
	terms    *terms
	key      string // valid until the request ends
	n        int64  // what it costs
	decision gcra.Decision
	alone    bool // a shared rule was decided without Redis, as its on_error says
}

// backend decides the rules of one mode. Backends are compared with ==, and safe for concurrent use.
type backend interface {
	// decide sets the decision of each call as of now, and spends from all or, if one is refused, from none. With an error, which is
	// for rules that let nothing pass undecided, it has spent nothing and set nothing.
	decide(now time.Duration, calls []call) (allowed bool, err error)
	// refund gives back what the calls spent, and sets their decisions to what is left now.
	refund(now time.Duration, calls []call)
	// peek sets the decision of a call to what decide would, and spends nothing.
	peek(now time.Duration, c *call) error
}

// modeRank is the order of modes: what is decided here and now goes first, and what asks somebody else last.
func modeRank(m config.LimitMode) int {
	switch m {
	case config.ModeLocal:
		return 0
	case config.ModeLease:
		return 1
	}
	return 2
}

// backendOf is who decides the rules of a mode. s is nil without Redis: the configuration allows none but local then.
func backendOf(m config.LimitMode, s *Shared) backend {
	switch m {
	case config.ModeStrict:
		return s.strict
	case config.ModeLease:
		return s.lease
	}
	return local{}
}

// maxRules is how many rules one request may be decided by: what the configuration allows for a route.
const maxRules = 8

// local decides with what this process remembers.
type local struct{}

func (local) decide(now time.Duration, calls []call) (bool, error) {
	if len(calls) == 1 { // all or nothing needs no look ahead
		c := &calls[0]
		c.decision = c.terms.local.AllowNAt(c.key, now, c.n)
		return c.decision.Allowed, nil
	}
	var together [maxRules]gcra.Request[string]
	requests := together[:]
	if len(calls) > maxRules { // never of a request, but of CheckAll
		requests = make([]gcra.Request[string], len(calls))
	}
	requests = requests[:len(calls)]
	for i := range calls {
		c := &calls[i]
		requests[i] = gcra.Request[string]{Limiter: c.terms.local, Key: c.key, N: c.n}
	}
	allowed := gcra.All(now, requests)
	for i := range calls {
		calls[i].decision = requests[i].Decision
	}
	return allowed, nil
}

func (local) refund(now time.Duration, calls []call) {
	for i := len(calls) - 1; i >= 0; i-- {
		c := &calls[i]
		c.decision = c.terms.local.RefundAt(c.key, now, c.n)
	}
}

func (local) peek(now time.Duration, c *call) error {
	c.decision = c.terms.local.PeekAt(c.key, now, c.n)
	return nil
}
