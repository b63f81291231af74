package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/rate"
	"github.com/sluicegate/sluice/internal/redislimit"
)

// Override is the limit of one client under one rule, set at run time. It holds on every node that shares the Redis, and until it is unset. It
// goes before one of the configuration.
type Override struct {
	Client string `json:"client"`
	Rule   string `json:"rule"`
	Rate   string `json:"rate"`            // as in the configuration
	Burst  *int64 `json:"burst,omitempty"` // nil: that of the rule for this client
}

// ErrNoRedis is the error about overrides of a node that has no Redis to keep them in.
var ErrNoRedis = errors.New("overrides are kept in Redis: this node has none, expected the key redis in the configuration")

// Overrides lists those of a client and a rule, by rule and client; "" is every one. The error is ErrNoRedis, wraps redislimit.ErrUnavailable, or is
// about values in Redis that are none, beside which the others are listed.
func (s *Stage) Overrides(ctx context.Context, client, rule string) ([]Override, error) {
	if s.shared == nil {
		return nil, ErrNoRedis
	}
	all, err := s.shared.link.ListOverrides(ctx)
	list := []Override{}
	for _, o := range all {
		if (client == "" || client == o.Client) && (rule == "" || rule == o.Rule) {
			list = append(list, overrideOf(o))
		}
	}
	return list, err
}

func overrideOf(o *redislimit.Override) Override {
	v := Override{Client: o.Client, Rule: o.Rule, Rate: o.Rate}
	if o.Burst >= 0 {
		v.Burst = &o.Burst
	}
	return v
}

// SetOverride sets an override, or replaces it, on all nodes; they know it within a second. It returns what was stored. The error is a *QueryError,
// ErrNoRedis, or wraps ErrNoRule or redislimit.ErrUnavailable.
func (s *Stage) SetOverride(ctx context.Context, o Override) (Override, error) {
	if s.shared == nil {
		return o, ErrNoRedis
	}
	if o.Client == "" || len(o.Client) > config.MaxClientName {
		return o, &QueryError{"client", fmt.Sprintf("expected the name of a client, 1 to %d bytes", config.MaxClientName)}
	}
	if o.Rule == "" {
		return o, &QueryError{"rule", "missing, expected the name of a rule"}
	}
	r := s.rules.Load().byName[o.Rule]
	if r == nil {
		return o, fmt.Errorf("%w: %q", ErrNoRule, o.Rule)
	}
	kept, err := r.checkOverride(&o)
	if err != nil {
		return o, err
	}
	return overrideOf(kept), s.shared.link.SetOverride(ctx, kept)
}

// checkOverride finds mistakes in an override of the rule.
func (r *rule) checkOverride(o *Override) (*redislimit.Override, error) {
	if r.runTime == nil {
		return nil, &QueryError{"rule", fmt.Sprintf("the keys of %s are not clients: it is per %s", r.name, r.cfg.Per)}
	}
	per, err := rate.Parse(o.Rate)
	if err != nil {
		return nil, &QueryError{"rate", err.Error()}
	}
	stored, burst := int64(-1), r.burstOf(o.Client)
	if o.Burst != nil {
		stored, burst = *o.Burst, *o.Burst
	}
	if burst < 0 {
		return nil, &QueryError{"burst", fmt.Sprintf("%d is out of range, expected 0 or more", burst)}
	}
	if _, err := per.SharedLimit(burst); err != nil {
		return nil, &QueryError{"rate", err.Error()}
	}
	if cost := r.cfg.Cost.Fixed; cost > burst+1 {
		return nil, &QueryError{"burst", fmt.Sprintf("%d and one is less than the cost of a request, %d", burst, cost)}
	}
	kept, err := redislimit.NewOverride(o.Client, o.Rule, per.String(), stored)
	if err != nil {
		return nil, &QueryError{"rate", err.Error()}
	}
	return kept, nil
}

// burstOf is the burst of a client in the configuration.
func (r *rule) burstOf(client string) int64 {
	if t := r.overrides[client]; t != nil {
		return t.limit.Burst()
	}
	return r.terms.limit.Burst()
}

// UnsetOverride removes an override from all nodes, and reports whether there was one. The rule need not exist any more. The errors are those of
// Overrides.
func (s *Stage) UnsetOverride(ctx context.Context, client, rule string) (was bool, err error) {
	if s.shared == nil {
		return false, ErrNoRedis
	}
	return s.shared.link.UnsetOverride(ctx, client, rule)
}

// runTime finds the terms of a rule's overrides that are set at run time. Safe for concurrent use.
type runTime struct {
	find      FindLimit             // nil: nobody else says
	overrides *redislimit.Overrides // nil without Redis

	mu    sync.RWMutex
	terms map[gcra.Limit]*terms // guarded by mu; clients with the same limit share them
}

// FindLimit returns the limit of a client under a rule; ok is false if it has none of its own. It is called for every request, at once from many
// goroutines, and must not keep client.
type FindLimit func(client, rule string) (l gcra.Limit, ok bool)

// OverrideBy has the limits of clients come from find, before those of Redis and of the configuration, under rules per client. Call it once, before
// Apply.
func (s *Stage) OverrideBy(find FindLimit) { s.find = find }

// maxRunTimeTerms bounds how many limits have their terms kept.
const maxRunTimeTerms = 1000

// newRunTime returns nil if nobody sets limits at run time.
func newRunTime(find FindLimit, shared *Shared) *runTime {
	if find == nil && shared == nil {
		return nil
	}
	o := &runTime{find: find, terms: make(map[gcra.Limit]*terms)}
	if shared != nil {
		o.overrides = shared.overrides
	}
	return o
}

// limitOf returns the limit of a client, which is base unless it has another one.
func (o *runTime) limitOf(r *rule, client string, base gcra.Limit) gcra.Limit {
	if o.find != nil {
		if limit, ok := o.find(client, r.name); ok {
			return limit
		}
	}
	if o.overrides != nil {
		if found := o.overrides.Lookup(client, r.name); found != nil {
			return found.Limit(base)
		}
	}
	return base
}

// termsOf returns the terms of a client, which are t unless it has an override.
func (o *runTime) termsOf(r *rule, client string, t *terms) *terms {
	limit := o.limitOf(r, client, t.limit)
	if limit == t.limit {
		return t
	}
	o.mu.RLock()
	known := o.terms[limit]
	o.mu.RUnlock()
	if known != nil {
		return known
	}
	return o.add(limit, termsFor(r.account, limit))
}

func (o *runTime) add(limit gcra.Limit, t *terms) *terms {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.terms) >= maxRunTimeTerms {
		clear(o.terms) // those in use come back
	}
	o.terms[limit] = t
	return t
}
