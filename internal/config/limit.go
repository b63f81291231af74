package config

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/sluicegate/sluice/internal/rate"
)

// Limit is a rule: how many requests may pass, and who is counted together. It applies to the routes that name it.
type Limit struct {
	// Name is its key in the file.
	Name string `yaml:"-"`
	// From says where the allowance comes from. Default rate.
	From LimitSource `yaml:"from"`
	// RequestsPerUnit is how many requests, or units of cost, a unit is worth that a client was allocated: 1 to 1000000000, default 1. Only
	// from the market.
	RequestsPerUnit int64 `yaml:"requests_per_unit"`
	// Rate is how much may pass in the long run. Required, but from the market, which has none.
	Rate rate.Rate `yaml:"rate,required"`
	// Burst is how much may come at once beyond the first; 0 is exactly one at a time. Default 0.
	Burst int64 `yaml:"burst"`
	// Per says who shares one allowance. Default client.
	Per LimitPer `yaml:"per"`
	// Cost of a request. Default 1.
	Cost Cost `yaml:"cost"`
	// Match narrows the requests that the rule applies to. Default nil: all of the routes that name it.
	Match *LimitMatch `yaml:"match"`
	// Mode says who decides. Default local.
	Mode LimitMode `yaml:"mode"`
	// OnError is what happens to a rule of a shared mode while Redis cannot be reached. Default local_share.
	OnError LimitOnError `yaml:"on_error"`
	// Shadow only reports what the rule would refuse. Default false.
	Shadow bool `yaml:"shadow"`
	// MaxKeys is how many keys are remembered at once, 1 to 100000000. Default 1000000.
	MaxKeys int `yaml:"max_keys"`
	// Overrides are the limits of single clients, by name. Only with Per client.
	Overrides map[ClientName]*LimitOverride `yaml:"overrides"`
}

// LimitOverride is the limit of one client instead of that of the rule.
type LimitOverride struct {
	// Rate is how much may pass in the long run. Required.
	Rate rate.Rate `yaml:"rate,required"`
	// Burst is how much may come at once beyond the first. Default 0.
	Burst int64 `yaml:"burst"`
}

// LimitMatch says which requests a rule applies to.
type LimitMatch struct {
	// Methods of the requests, in upper case. Default: every method.
	Methods []string `yaml:"methods"`
	// Path of the requests, spelled like that of a route. Default: every path.
	Path string `yaml:"path"`
}

// ClientName is the name of a client: up to 256 bytes of anything.
type ClientName string

// MaxClientName bounds a client's name, in bytes.
const MaxClientName = 256

func (ClientName) checkKey(key string) error {
	if key == "" || len(key) > MaxClientName {
		return fmt.Errorf("is not the name of a client, expected 1 to %d bytes", MaxClientName)
	}
	return nil
}

// LimitSource says where an allowance comes from.
type LimitSource string

// Where an allowance comes from.
const (
	FromRate   LimitSource = "rate"   // it comes back with time
	FromMarket LimitSource = "market" // clients buy it
)

func (LimitSource) values() []string { return []string{"rate", "market"} }

// LimitPer says who shares one allowance.
type LimitPer string

// Who shares one allowance.
const (
	PerClient LimitPer = "client" // the requests of one client
	PerRoute  LimitPer = "route"  // those of one route
	PerGlobal LimitPer = "global" // all
	PerIP     LimitPer = "ip"     // those from one address, of IPv6 from one network of 64 bits
)

func (LimitPer) values() []string { return []string{"client", "route", "global", "ip"} }

// LimitMode says who decides about a rule.
type LimitMode string

// Who decides about a rule.
const (
	ModeLocal  LimitMode = "local"  // this node alone
	ModeStrict LimitMode = "strict" // Redis, for every request
	ModeLease  LimitMode = "lease"  // this node, of what it has taken from Redis ahead of use
)

func (LimitMode) values() []string { return []string{"local", "strict", "lease"} }

// LimitOnError is what happens to a rule while Redis cannot be reached.
type LimitOnError string

// What happens to a rule while Redis cannot be reached.
const (
	OnErrorOpen       LimitOnError = "open"        // everything passes
	OnErrorClosed     LimitOnError = "closed"      // nothing passes
	OnErrorLocalShare LimitOnError = "local_share" // this node decides, about its share of the limit
)

func (LimitOnError) values() []string { return []string{"open", "closed", "local_share"} }

// RateLimitHeader is a family of response fields that tell clients about limits.
type RateLimitHeader string

// The families of response fields.
const (
	HeaderStandard RateLimitHeader = "standard" // RateLimit and RateLimit-Policy
	HeaderLegacy   RateLimitHeader = "legacy"   // X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset
)

func (RateLimitHeader) values() []string { return []string{"standard", "legacy"} }

// Cost is what a request costs: a fixed number, or what a field of the request says. In a file it is a number, or
// {header: NAME}.
type Cost struct {
	// Fixed is the cost; with a Header it is that of a request without the field. Default 1.
	Fixed int64 `yaml:"-"`
	// Header is the request field that says the cost. Default "": the cost is fixed.
	Header string `yaml:"header"`
}

func (c *Cost) defaults()      { *c = Cost{Fixed: 1} }
func (c *Cost) shorthand() any { return &c.Fixed }

func (c *Cost) validate(at *node, r *report) {
	switch {
	case at.kind != mapping && c.Fixed < 1:
		r.errorf(at, "%d is out of range, expected 1 or more", c.Fixed)
	case at.kind == mapping && len(at.entries) == 0:
		r.errorf(at, "empty, expected a number or {header: NAME}")
	case c.Header != "":
		r.fieldName(at.get("header"), c.Header)
	}
}

// String returns the number, or the field with braces.
func (c Cost) String() string {
	if c.Header != "" {
		return "{header: " + c.Header + "}"
	}
	return strconv.FormatInt(c.Fixed, 10)
}

func (l *Limit) defaults() {
	*l = Limit{From: FromRate, RequestsPerUnit: 1, Per: PerClient, Mode: ModeLocal, OnError: OnErrorLocalShare, MaxKeys: 1_000_000}
	l.Cost.defaults()
}

// waives: what clients buy has no rate.
func (*Limit) waives(key string, at *node) bool {
	return key == "rate" && at.get("from").text == string(FromMarket)
}

func (l *Limit) validate(at *node, r *report) {
	if l.From == FromMarket {
		l.validateBought(at, r)
		return
	}
	if n := at.find("requests_per_unit"); n != nil {
		r.errorf(n, "only what clients buy has units: expected none, or from: market")
	}
	l.validateSize(at, r)
	r.between(at.get("max_keys"), l.MaxKeys, 1, 100_000_000)
	if l.Per != PerClient && len(l.Overrides) > 0 {
		r.errorf(at.get("overrides"), "the keys of the rule are not clients: expected no overrides with per: %s", l.Per)
	}
	if l.Mode == ModeLocal && at.find("on_error") != nil {
		r.errorf(at.get("on_error"), "this node decides alone: expected no on_error, or mode: strict or mode: lease")
	}
}

// validateBought checks a rule whose allowance clients buy.
func (l *Limit) validateBought(at *node, r *report) {
	if n := l.RequestsPerUnit; n < 1 || n > 1_000_000_000 {
		r.errorf(at.get("requests_per_unit"), "%d is out of range, expected 1 to 1000000000", n)
	}
	for _, e := range at.entries {
		switch e.key.text {
		case "from", "requests_per_unit", "cost", "match":
		default:
			r.errorf(e.key, "what clients buy has no %s: expected none with from: market", e.key.text)
		}
	}
}

// validateSize checks rate, burst and cost against each other.
func (l *Limit) validateSize(at *node, r *report) {
	if l.Rate.Count == 0 { // has a mistake
		return
	}
	if _, err := l.Rate.Limit(l.Burst); err != nil {
		r.errorf(at.get("burst"), "%v", err)
		return
	}
	if cost := l.Cost.Fixed; cost > l.Burst+1 {
		r.errorf(at.get("cost"), "%d is more than can ever be spent at once, which is burst and one: expected at most %d", cost, l.Burst+1)
	}
	for _, e := range at.get("overrides").entries {
		if o := l.Overrides[ClientName(e.key.text)]; o != nil && o.Burst >= 0 && l.Cost.Fixed > o.Burst+1 {
			r.errorf(e.value.get("burst"), "%d and one is less than the cost of a request, %d", o.Burst, l.Cost.Fixed)
		}
	}
}

func (o *LimitOverride) validate(at *node, r *report) {
	if o.Rate.Count == 0 { // has a mistake
		return
	}
	if _, err := o.Rate.Limit(o.Burst); err != nil {
		r.errorf(at.get("burst"), "%v", err)
	}
}

func (m *LimitMatch) validate(at *node, r *report) {
	r.methods(at.get("methods"), m.Methods)
	if m.Path != "" {
		r.path(at.get("path"), m.Path)
	}
}

// maxRouteLimits is how many rules one route may name: a request is decided by all of them.
const maxRouteLimits = 8

// validateLimits names the rules, and checks those that routes name.
func (c *Config) validateLimits(at *node, r *report) {
	limits := at.get("limits")
	for _, e := range limits.entries {
		if l := c.Limits[e.key.text]; l != nil {
			l.Name = e.key.text
			c.LimitNames = append(c.LimitNames, l.Name)
			c.validateMode(l, e.value, r)
		}
	}
	for i, t := range c.Routes {
		if t != nil {
			c.validateRouteLimits(t, at.get("routes").item(i).get("limits"), r)
		}
	}
	c.warnOfUnused(limits, r)
	headers := at.get("rate_limit_headers")
	for i, h := range c.RateLimitHeaders {
		if h != "" && slices.Contains(c.RateLimitHeaders[:i], h) {
			r.errorf(headers.item(i), "duplicate %s, expected it once", h)
		}
	}
}

// warnOfUnused finds rules that no request can meet. The rate limit service asks all of them.
func (c *Config) warnOfUnused(limits *node, r *report) {
	if c.RateLimitService != nil {
		return
	}
	for _, e := range limits.entries {
		named := slices.ContainsFunc(c.Routes, func(t *Route) bool { return t != nil && slices.Contains(t.Limits, e.key.text) })
		if !named {
			r.warnf(&node{line: e.key.line, col: e.key.col, path: e.value.path},
				"no route names this limit, so it applies to no request: expected it in the limits of a route, unless only POST /api/v1/limits/check asks it")
		}
	}
}

// validateMode checks what the shared modes, and the market, ask for.
func (c *Config) validateMode(l *Limit, at *node, r *report) {
	if l.From == FromMarket && c.DataDir == "" && !at.broken {
		r.errorf(at.get("from"), "what clients buy is kept on disk: expected the key data_dir as well")
	}
	if l.Mode == ModeLocal {
		return
	}
	if c.Redis == nil {
		r.errorf(at.get("mode"), "%s is decided in Redis: expected the key redis as well", l.Mode)
	}
	shareable := func(at *node, each rate.Rate) {
		if _, err := each.SharedLimit(0); each.Count != 0 && err != nil {
			r.errorf(at.get("rate"), "%v", err)
		}
	}
	shareable(at, l.Rate)
	for _, e := range at.get("overrides").entries {
		if o := l.Overrides[ClientName(e.key.text)]; o != nil {
			shareable(e.value, o.Rate)
		}
	}
}

func (c *Config) validateRouteLimits(t *Route, at *node, r *report) {
	if len(t.Limits) > maxRouteLimits {
		r.errorf(at, "%d limits, expected at most %d", len(t.Limits), maxRouteLimits)
	}
	for i, name := range t.Limits {
		_, exists := c.Limits[name]
		switch {
		case name == "": // has a mistake
		case !exists && len(c.LimitNames) == 0:
			r.errorf(at.item(i), "no limit %q is defined", name)
		case !exists:
			r.errorf(at.item(i), "no limit %q is defined, %s", name, suggest(name, c.LimitNames))
		case slices.Contains(t.Limits[:i], name):
			r.errorf(at.item(i), "duplicate limit %s, expected it once", name)
		}
	}
}
