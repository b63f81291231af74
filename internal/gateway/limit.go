package gateway

import (
	"strings"

	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/problem"
)

// limited lets the request pass the rules of its route. Otherwise it answers it and returns false.
func (r *request) limited(path []byte) (passed bool) {
	q := limit.Request{
		Client: r.client.Name, Addr: r.client.Addr, Route: r.route.name, Path: path, HTTP: &r.Request, Time: r.Start,
	}
	switch r.route.limits.Decide(&r.grant, &q) {
	case limit.Refused:
		r.refuseQuota()
	case limit.BadCost:
		r.refuse(problem.BadRequest, "the field "+r.grant.CostField()+" says what a request costs: expected one, a whole number of up to 15 digits")
	case limit.Undecided:
		r.refuse(problem.LimitUnavailable, "a limit that is shared between nodes cannot be decided now; try again later")
	default:
		return true
	}
	return false
}

// refuseQuota answers a request that a rule refused.
func (r *request) refuseQuota() {
	p := problem.Problem{
		Type:    problem.QuotaExceeded,
		Detail:  "too many requests; try again later",
		Members: []problem.Member{{Name: "violated-policies", Value: r.grant.Violated()}},
	}
	if wait := r.grant.RetryAfter(); wait != limit.Never {
		p.RetryAfter = wait
	} else {
		p.Detail = "the request costs more than the limit ever allows at once"
	}
	r.refuseWith(p)
}

// limitedBy says for the log which rules refused the request, or that one would have refused it.
func (r *request) limitedBy() string {
	if name := r.grant.Shadowed(); name != "" {
		return "shadow:" + name
	}
	return strings.Join(r.grant.Violated(), ",")
}
