package gateway

import (
	"context"
	"strconv"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/problem"
	"github.com/sluicegate/sluice/internal/wallet"
)

// capacity is a rule of a route by which clients spend what they bought.
type capacity struct {
	cfg   *config.Limit
	scope limit.Scope
}

// payment is what a request has paid for.
type payment struct {
	charge wallet.Charge
	left   int64
}

// capacities are the rules among the names that are for what clients bought.
func capacities(cfg *config.Config, names []string) (rules []capacity) {
	for _, name := range names {
		if l := cfg.Limits[name]; l.From == config.FromMarket {
			rules = append(rules, capacity{l, limit.NewScope(l)})
		}
	}
	return rules
}

// paid has the request pay for itself by every rule of its route for what clients bought, all or none. Otherwise it answers it and returns
// false.
func (g *Gateway) paid(r *request, path []byte) bool {
	for i := range r.route.capacities {
		rule := &r.route.capacities[i]
		if !rule.scope.Has(&r.Request, path) {
			continue
		}
		n, ok := rule.scope.Cost(&r.Request)
		if !ok {
			r.refund()
			r.refuse(problem.BadRequest, "the field "+rule.cfg.Cost.Header+" says what a request costs: expected one, a whole number of up to 15 digits")
			return false
		}
		charge := wallet.Charge{Rule: rule.cfg.Name, Client: string(r.client.Name), N: n, PerUnit: rule.cfg.RequestsPerUnit}
		left, ok, err := g.wallet.Spend(context.Background(), charge)
		switch {
		case err != nil:
			r.refund()
			r.refuse(problem.LimitUnavailable, "what this client has bought cannot be looked up now; try again later")
			return false
		case !ok:
			r.refund()
			r.refuseUnpaid(rule.cfg.Name, left)
			return false
		}
		r.payments = append(r.payments, payment{charge, left})
	}
	return true
}

// refuseUnpaid answers a client whose balance does not cover its request. Only buying more helps, so there is no Retry-After.
func (r *request) refuseUnpaid(rule string, left int64) {
	r.refuseWith(problem.Problem{
		Type:    problem.QuotaExceeded,
		Detail:  "what this client has bought on the market does not cover this request; buy more",
		Members: []problem.Member{{Name: "violated-policies", Value: []string{rule}}, {Name: "balance", Value: left}},
	})
}

// refund gives back what a request has spent that nobody served.
func (r *request) refund() {
	r.grant.Refund()
	for i := range r.payments {
		r.wallet.Refund(r.payments[i].charge)
	}
	r.payments = r.payments[:0]
}

// addPayments tells the client what it may still spend, as a member of RateLimit for each rule.
func (r *request) addPayments() {
	for i := range r.payments {
		p := &r.payments[i]
		r.AddString("RateLimit", strconv.Quote(p.charge.Rule)+";r="+strconv.FormatInt(min(p.left, maxInteger), 10))
	}
}

// maxInteger is the greatest integer of a structured field, RFC 9651 section 3.3.1.
const maxInteger = 999_999_999_999_999
