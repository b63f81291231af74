package limit

import (
	"net/netip"
	"time"
	"unsafe"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
)

// Request is what the rules look at.
type Request struct {
	Client []byte     // its name
	Addr   netip.Addr // its address
	Route  string     // what tells routes apart, the same after a reload
	Path   []byte     // as routes are matched against it
	HTTP   *http1.Request
	Time   time.Time // when it came
}

// Outcome is what became of a request.
type Outcome int

// The outcomes.
const (
	Passed    Outcome = iota // every rule allowed it
	Refused                  // at least one refused it, and nothing was spent
	BadCost                  // a field that should say what it costs does not, see Grant.CostField
	Undecided                // a rule that is shared could not be decided, and lets nothing pass then
)

// Grant is what was decided about one request. The zero Grant has decided nothing. It is made for one request after the other,
// and belongs to the exchange: nothing of it may be used after the exchange ends. It must not be copied. Not safe for concurrent use.
type Grant struct {
	now      time.Duration
	headers  headers
	decided  int // calls before it have a decision
	enforced int // calls before it are enforced, the others only report
	calls    []call
	spent    bool // the calls that were allowed have spent what they cost
	bad      *rule
	shadow   *rule // one that would have refused

	buf    [maxRules]call
	ipText [48]byte
}

// Decide decides the request by every rule that applies to it, all or nothing. It allocates nothing for clients that are known.
func (s *Set) Decide(g *Grant, q *Request) Outcome {
	g.reset()
	if s == nil {
		return Passed
	}
	g.headers, g.now = s.headers, q.Time.Sub(s.start)
	if g.bad = g.collect(s.rules, q); g.bad != nil {
		g.calls = nil
		return BadCost
	}
	return g.decideAll()
}

// decideAll decides the calls: those that are enforced, all or nothing, and if they pass those that only report.
func (g *Grant) decideAll() Outcome {
	if outcome := g.enforce(); outcome != Passed {
		return outcome
	}
	g.spent = true
	g.report()
	return Passed
}

// reset forgets the request before. What its calls hold is overwritten, not cleared.
func (g *Grant) reset() {
	g.decided, g.enforced, g.calls, g.spent, g.bad, g.shadow = 0, 0, nil, false, nil, nil
}

// collect makes calls of the rules that apply. It returns the rule that does not know what the request costs, nil if all do.
func (g *Grant) collect(rules []*rule, q *Request) (bad *rule) {
	g.calls = g.buf[:0]
	for _, r := range rules {
		if !r.scope.Has(q.HTTP, q.Path) {
			continue
		}
		n, ok := r.scope.Cost(q.HTTP)
		if !ok {
			return r
		}
		key := g.key(r, q)
		g.calls = append(g.calls, call{rule: r, terms: r.termsOf(key), key: key, n: n})
		if !r.cfg.Shadow {
			g.enforced = len(g.calls)
		}
	}
	return nil
}

// key is who shares an allowance of the rule with this request.
func (g *Grant) key(r *rule, q *Request) string {
	switch r.cfg.Per {
	case config.PerClient:
		return view(q.Client)
	case config.PerRoute:
		return q.Route
	case config.PerIP:
		return view(appendIP(g.ipText[:0], q.Addr))
	}
	return ""
}

// view is b as a string, without a copy: valid until b changes. The limiters copy the keys that they keep.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// ipv6Prefix is the network that one subscriber usually has.
const ipv6Prefix = 64

// appendIP appends the address, or of an IPv6 address its network.
func appendIP(dst []byte, a netip.Addr) []byte {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid():
		return append(dst, "unknown"...)
	case a.Is4():
		return a.AppendTo(dst)
	}
	network, err := a.Prefix(ipv6Prefix)
	if err != nil {
		panic(err) // every IPv6 address has one
	}
	return network.AppendTo(dst)
}

// enforce decides the calls that can refuse, one mode after the other.
func (g *Grant) enforce() Outcome {
	for g.decided < g.enforced {
		first := g.decided
		group := g.calls[first:g.endOfGroup(first)]
		allowed, err := group[0].rule.backend.decide(g.now, group)
		if err == nil {
			g.decided += len(group)
		}
		if err != nil || !allowed {
			g.giveBack(g.calls[:first])
			g.countRefused(g.calls[first:g.decided])
		}
		switch {
		case err != nil:
			return Undecided
		case !allowed:
			return Refused
		}
	}
	for i := range g.calls[:g.enforced] {
		g.calls[i].rule.allowed.Add(1)
	}
	return Passed
}

// endOfGroup is where the calls end that are decided together with the first.
func (g *Grant) endOfGroup(first int) int {
	end := first + 1
	for end < g.enforced && g.calls[end].rule.backend == g.calls[first].rule.backend {
		end++
	}
	return end
}

func (g *Grant) countRefused(calls []call) {
	for i := range calls {
		if !calls[i].decision.Allowed {
			calls[i].rule.refused.Add(1)
		}
	}
}

// report decides the calls that only report, each for itself: what one of them would refuse, the others still see. One that
// cannot be decided reports nothing.
func (g *Grant) report() {
	for i := g.enforced; i < len(g.calls); i++ {
		c := &g.calls[i]
		allowed, err := c.rule.backend.decide(g.now, g.calls[i:i+1])
		switch {
		case err != nil:
			c.n = 0
		case allowed:
			c.rule.allowed.Add(1)
		default:
			c.rule.shadowRefused.Add(1)
			g.shadow = c.rule
			c.n = 0
		}
	}
}

// giveBack refunds calls that were decided, the last mode first.
func (g *Grant) giveBack(calls []call) {
	for end := len(calls); end > 0; {
		first := end - 1
		for first > 0 && calls[first-1].rule.backend == calls[end-1].rule.backend {
			first--
		}
		calls[end-1].rule.backend.refund(g.now, calls[first:end])
		end = first
	}
}

// Refund gives back what a request has spent that nobody served. It does nothing for one that was refused, and nothing the
// second time.
func (g *Grant) Refund() {
	if g.spent {
		g.spent = false
		g.giveBack(g.calls)
	}
}

// CostField is the field that does not say what a request costs, after BadCost.
func (g *Grant) CostField() string { return g.bad.cfg.Cost.Header }

// Violated lists the rules that refused.
func (g *Grant) Violated() []string {
	var names []string
	for i := range g.calls[:g.decided] {
		if !g.calls[i].decision.Allowed {
			names = append(names, g.calls[i].rule.name)
		}
	}
	return names
}

// Shadowed is the last rule that would have refused a request that passed, "" if none would.
func (g *Grant) Shadowed() string {
	if g.shadow == nil {
		return ""
	}
	return g.shadow.name
}

// RetryAfter is how long a client has to wait that was refused: after it, the same request passes if nothing else was asked for.
// It is gcra.Never for a request that costs more than a rule ever allows at once.
func (g *Grant) RetryAfter() time.Duration {
	var wait time.Duration
	for i := range g.calls[:g.decided] {
		if d := &g.calls[i].decision; !d.Allowed {
			wait = max(wait, d.RetryAfter)
		}
	}
	return wait
}

// Never is the RetryAfter of a request that can never pass.
const Never = gcra.Never
