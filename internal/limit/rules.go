package limit

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/rate"
)

// Rules are the limits and the access lists of one configuration. They never change; safe for concurrent use.
type Rules struct {
	start       time.Time // what times of limiters are counted from
	rules       []*rule   // in the order of the configuration
	byName      map[string]*rule
	allow, deny crowd
	headers     headers
}

// headers are the families of fields that clients get.
type headers struct{ standard, legacy bool }

// rule is one limit.
type rule struct {
	*account
	cfg       *config.Limit
	backend   backend
	terms     *terms            // of every client without terms of its own
	overrides map[string]*terms // by client, of the configuration
	runTime   *runTime          // overrides set at run time; nil if there can be none
	ledger    string            // the rule's name in Redis: what it counts per client must not meet what it counted per address
	scope     Scope
}

// terms are a limit as it applies to one client or to many.
type terms struct {
	rate   rate.Rate // as it was written, or in lowest terms
	limit  gcra.Limit
	local  *gcra.Limiter[string] // applies limit to the account
	policy string                // its member of RateLimit-Policy
}

func newRules(cfg *config.Config, start time.Time, shared *Shared, find FindLimit, accountOf func(*config.Limit) *account) *Rules {
	rs := &Rules{
		start:  start,
		byName: make(map[string]*rule, len(cfg.Limits)),
		allow:  newCrowd(cfg.Access.Allow),
		deny:   newCrowd(cfg.Access.Deny),
		headers: headers{
			standard: slices.Contains(cfg.RateLimitHeaders, config.HeaderStandard),
			legacy:   slices.Contains(cfg.RateLimitHeaders, config.HeaderLegacy),
		},
	}
	for _, name := range cfg.LimitNames {
		if cfg.Limits[name].From == config.FromMarket {
			continue // that is the wallet's
		}
		r := newRule(cfg.Limits[name], accountOf(cfg.Limits[name]), shared, find)
		rs.rules = append(rs.rules, r)
		rs.byName[name] = r
	}
	return rs
}

func newRule(cfg *config.Limit, a *account, shared *Shared, find FindLimit) *rule {
	r := &rule{
		account: a,
		cfg:     cfg,
		backend: backendOf(cfg.Mode, shared),
		ledger:  cfg.Name + "/" + string(cfg.Per),
		terms:   newTerms(a, cfg.Rate, cfg.Burst),
		scope:   NewScope(cfg),
	}
	if len(cfg.Overrides) > 0 {
		r.overrides = make(map[string]*terms, len(cfg.Overrides))
		for name, o := range cfg.Overrides {
			r.overrides[string(name)] = newTerms(a, o.Rate, o.Burst)
		}
	}
	if cfg.Per == config.PerClient {
		r.runTime = newRunTime(find, shared)
	}
	return r
}

func newTerms(a *account, per rate.Rate, burst int64) *terms {
	limit, err := per.Limit(burst)
	if err != nil {
		panic(err) // the configuration was checked
	}
	t := termsFor(a, limit)
	t.rate = per
	return t
}

func termsFor(a *account, limit gcra.Limit) *terms {
	count, period := limit.Rate()
	return &terms{rate: rate.Rate{Count: count, Period: period}, limit: limit, local: a.limiter.WithLimit(limit), policy: policyMember(a.name, limit)}
}

// termsOf are the terms of the client with this key: those set at run time, those of the configuration, or the rule's.
func (r *rule) termsOf(key string) *terms {
	t := r.overrides[key]
	if t == nil {
		t = r.terms
	}
	if r.runTime == nil {
		return t
	}
	return r.runTime.termsOf(r, key, t)
}

// Set is the rules of one route. A nil Set has none. It never changes; safe for concurrent use.
type Set struct {
	rules   []*rule // those that are enforced, by mode, and then those that only report
	headers headers
	start   time.Time
}

// Set returns the rules with the given names, which must exist.
func (rs *Rules) Set(names []string) *Set {
	if len(names) == 0 {
		return nil
	}
	s := &Set{headers: rs.headers, start: rs.start}
	for _, name := range names {
		if r := rs.byName[name]; r != nil {
			s.rules = append(s.rules, r)
		}
	}
	slices.SortStableFunc(s.rules, compareRules)
	return s
}

// compareRules is the order in which rules are decided: those that are enforced, by mode, before those that only report.
func compareRules(a, b *rule) int {
	return cmp.Or(cmp.Compare(shadowRank(a), shadowRank(b)), cmp.Compare(modeRank(a.cfg.Mode), modeRank(b.cfg.Mode)))
}

func shadowRank(r *rule) int {
	if r.cfg.Shadow {
		return 1
	}
	return 0
}

// Standing is how a client is treated whatever it asks for.
type Standing int

// The standings.
const (
	Ordinary Standing = iota // the rules of the route decide
	Exempt                   // on the allow list: never limited
	Denied                   // on the deny list: always refused
)

// Standing looks the client up in the access lists. Who is on both is denied.
func (rs *Rules) Standing(name []byte, addr netip.Addr) Standing {
	switch {
	case rs.deny.has(name, addr):
		return Denied
	case rs.allow.has(name, addr):
		return Exempt
	}
	return Ordinary
}

// crowd is a list of names and networks. Looking somebody up takes one step for each length of a network that occurs in it.
type crowd struct {
	names    map[string]bool
	networks map[netip.Prefix]bool
	lengths4 []int // of the IPv4 networks
	lengths6 []int
}

func newCrowd(list []config.Who) crowd {
	c := crowd{names: make(map[string]bool), networks: make(map[netip.Prefix]bool)}
	for _, w := range list {
		if w.Name != "" {
			c.names[w.Name] = true
			continue
		}
		c.networks[w.Network] = true
		lengths := &c.lengths6
		if w.Network.Addr().Is4() {
			lengths = &c.lengths4
		}
		if !slices.Contains(*lengths, w.Network.Bits()) {
			*lengths = append(*lengths, w.Network.Bits())
		}
	}
	return c
}

func (c *crowd) has(name []byte, addr netip.Addr) bool {
	if len(c.names) > 0 && c.names[string(name)] {
		return true
	}
	addr = addr.Unmap().WithZone("")
	lengths := c.lengths6
	if addr.Is4() {
		lengths = c.lengths4
	}
	for _, bits := range lengths {
		if p, err := addr.Prefix(bits); err == nil && c.networks[p] {
			return true
		}
	}
	return false
}
