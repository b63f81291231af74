package limit

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/rate"
)

// Query asks about a limit from outside of the traffic: that of a rule, or one that comes with the question.
type Query struct {
	Key   *string `json:"key"`   // who is counted: the name of a client, a route or an address, as the rule has it
	Rule  *string `json:"rule"`  // the name of a rule; or
	Rate  *string `json:"rate"`  // as in the configuration, with
	Burst *int64  `json:"burst"` // 0 if it is nil
	Cost  *int64  `json:"cost"`  // 0 or more; nil is what the rule says, or 1
	Peek  bool    `json:"peek"`  // spend nothing
}

// Answer is the answer to a Query.
type Answer struct {
	Allowed      bool     `json:"allowed"`
	Rule         string   `json:"rule,omitempty"`
	Limit        int64    `json:"limit"`                    // what can be spent at once, burst and one
	Remaining    int64    `json:"remaining"`                // what can be spent at once now
	RetryAfter   *float64 `json:"retry_after_s"`            // 0 if allowed; nil if the cost can never be allowed
	ResetAfter   float64  `json:"reset_after_s"`            // until everything can be spent at once again
	ShadowRefuse bool     `json:"shadow_refused,omitempty"` // the rule only reports: it would have refused
}

// QueryError is a mistake in a Query.
type QueryError struct {
	Field string // as JSON calls it
	Msg   string
}

func (e *QueryError) Error() string { return e.Field + ": " + e.Msg }

// ErrNoRule is wrapped by the error about a rule that does not exist.
var ErrNoRule = errors.New("no such rule")

var errClosed = errors.New("this node is stopping")

// maxKey bounds the key of a Query, in bytes.
const maxKey = 1024

// Check decides a Query now. Rules are those of the configuration in force, and what is spent is spent from the same allowances as by
// traffic. A limit that comes with the question has its own allowance for every key, as long as the 100,000 that were asked for
// last, or are deepest in debt, are not others. The error is a *QueryError or wraps ErrNoRule.
//
// Any other error means that a shared rule, with on_error: closed, could not be decided.
func (s *Stage) Check(q *Query) (Answer, error) {
	s.asking.RLock()
	defer s.asking.RUnlock()
	if s.closed {
		return Answer{}, errClosed
	}
	now := s.since(time.Now())
	if q.Key != nil && len(*q.Key) > maxKey {
		return Answer{}, &QueryError{"key", fmt.Sprintf("longer than %d bytes", maxKey)}
	}
	if q.Cost != nil && *q.Cost < 0 {
		return Answer{}, &QueryError{"cost", fmt.Sprintf("%d is out of range, expected 0 or more", *q.Cost)}
	}
	switch {
	case q.Rule != nil && (q.Rate != nil || q.Burst != nil):
		return Answer{}, &QueryError{"rule", "goes without rate and burst"}
	case q.Rule != nil:
		return s.checkRule(q, now)
	case q.Rate != nil:
		return s.checkAdHoc(q, now)
	}
	return Answer{}, &QueryError{"rule", "missing, expected the name of a rule, or rate and burst"}
}

func (s *Stage) checkRule(q *Query, now time.Duration) (Answer, error) {
	r := s.rules.Load().byName[*q.Rule]
	if r == nil {
		return Answer{}, fmt.Errorf("%w: %q", ErrNoRule, *q.Rule)
	}
	key, err := r.keyOf(q.Key)
	if err != nil {
		return Answer{}, err
	}
	c := call{rule: r, terms: r.termsOf(key), key: key, n: r.cfg.Cost.Fixed}
	if q.Cost != nil {
		c.n = *q.Cost
	}
	a, err := c.ask(now, q.Peek)
	a.Rule = r.name
	if r.cfg.Shadow && !a.Allowed {
		a.Allowed, a.ShadowRefuse = true, true
	}
	return a, err
}

// keyOf is the key of the rule's account that the question means.
func (r *rule) keyOf(key *string) (string, error) {
	switch {
	case r.cfg.Per == config.PerGlobal:
		return "", nil
	case key == nil || *key == "":
		return "", &QueryError{"key", "missing, expected who is counted: the rule is per " + string(r.cfg.Per)}
	case r.cfg.Per != config.PerIP:
		return *key, nil
	}
	addr := parseIP(*key)
	if !addr.IsValid() {
		return "", &QueryError{"key", fmt.Sprintf("%q is no address: the rule is per ip", *key)}
	}
	return string(appendIP(nil, addr)), nil
}

// keyFrom is the key of the rule's account that any text means.
func (r *rule) keyFrom(text string) string {
	switch r.cfg.Per {
	case config.PerGlobal:
		return ""
	case config.PerIP:
		return string(appendIP(nil, parseIP(text)))
	}
	return text
}

// parseIP reads an address, or the network that stands for the addresses of one client. What is neither is the zero address.
func parseIP(text string) netip.Addr {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr
	}
	network, err := netip.ParsePrefix(text)
	if err != nil || !network.Addr().Is6() || network.Bits() != ipv6Prefix {
		return netip.Addr{}
	}
	return network.Addr()
}

// ask decides a call by itself.
func (c *call) ask(now time.Duration, peek bool) (Answer, error) {
	if peek {
		err := c.rule.backend.peek(now, c)
		return answer(&c.decision), err
	}
	calls := [1]call{*c}
	allowed, err := c.rule.backend.decide(now, calls[:])
	switch {
	case err != nil:
	case allowed:
		c.rule.allowed.Add(1)
	case c.rule.cfg.Shadow:
		c.rule.shadowRefused.Add(1)
	default:
		c.rule.refused.Add(1)
	}
	return answer(&calls[0].decision), err
}

func (s *Stage) checkAdHoc(q *Query, now time.Duration) (Answer, error) {
	per, err := rate.Parse(*q.Rate)
	if err != nil {
		return Answer{}, &QueryError{"rate", err.Error()}
	}
	var burst int64
	if q.Burst != nil {
		burst = *q.Burst
	}
	limit, err := per.Limit(burst)
	if err != nil {
		return Answer{}, &QueryError{"burst", err.Error()}
	}
	if q.Key == nil || *q.Key == "" {
		return Answer{}, &QueryError{"key", "missing, expected who is counted"}
	}
	cost := int64(1)
	if q.Cost != nil {
		cost = *q.Cost
	}
	l, key := s.adHoc.limiter.WithLimit(limit), adHocKey(limit, *q.Key)
	if q.Peek {
		d := l.PeekAt(key, now, cost)
		return answer(&d), nil
	}
	d := l.AllowNAt(key, now, cost)
	if d.Allowed {
		s.adHoc.allowed.Add(1)
	} else {
		s.adHoc.refused.Add(1)
	}
	return answer(&d), nil
}

// adHocKey is the memory of a limit that comes with the question.
func adHocKey(limit gcra.Limit, key string) string { return limit.String() + " " + key }

func answer(d *gcra.Decision) Answer {
	a := Answer{Allowed: d.Allowed, Limit: d.Limit, Remaining: d.Remaining, ResetAfter: d.ResetAfter.Seconds()}
	if d.RetryAfter != gcra.Never {
		wait := d.RetryAfter.Seconds()
		a.RetryAfter = &wait
	}
	return a
}
