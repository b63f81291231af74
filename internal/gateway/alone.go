package gateway

import (
	"slices"
	"time"

	"github.com/sluicegate/sluice/internal/admit"
	"github.com/sluicegate/sluice/internal/cache"
	"github.com/sluicegate/sluice/internal/upstream"
)

// alone answers a request by a call of its own. stored is what the upstream may confirm, nil without.
func (g *Gateway) alone(r *request, stored *cache.Entry) {
	if stored == nil || !r.plan.Store || !g.confirm(r, stored) {
		g.forward(r)
	}
}

// confirm asks the upstream whether what is stored still holds, and answers with that or with what it sends instead. It reports false,
// and has answered nothing, if the upstream confirmed something else: then the request must be sent without a condition.
func (g *Gateway) confirm(r *request, stored *cache.Entry) bool {
	head := r.Request
	head.Fields = conditional(slices.Clone(head.Fields), stored)
	sent := time.Now()
	call, err := r.call(&head)
	if err != nil {
		if !clientLeft(err) && stored.UsableOnError(r.plan, r.Start) {
			r.answerStale(stored)
		} else {
			g.unanswered(r, err)
		}
		return true
	}
	defer call.Close()
	r.target, r.queued = call.Target(), call.queued()
	if err := r.relayInterim(call.Call); err != nil {
		g.breakOff(r, err)
		return true
	}
	switch status := call.Response().Status; {
	case status == 304:
		return r.answerConfirmed(call.Call, stored, cache.Times{Request: sent, Response: time.Now()})
	case serverFailed(status) && stored.UsableOnError(r.plan, r.Start):
		r.answerStale(stored)
	default:
		if err := g.relay(r, call.Call); err != nil {
			g.breakOff(r, err)
		}
	}
	return true
}

// answerConfirmed answers with what is stored and a 304 has confirmed, and reports false if it has not.
func (r *request) answerConfirmed(call *upstream.Call, stored *cache.Entry, t cache.Times) bool {
	got, _ := r.route.sharing.confirmed(&ask{plan: r.plan, stale: stored}, call, t)
	if got == nil {
		return false
	}
	forward := cache.ForwardFor(r.plan, cache.Revalidate)
	r.answerStored(got.entry, cache.StatusField{Forward: forward, Status: 304, Stored: got.verdict.Store})
	return true
}

// clientLeft reports whether there is no answer because nobody waits for one.
func clientLeft(err error) bool {
	switch why := err.(type) {
	case *upstream.Error:
		return why.Kind == upstream.ClientGone
	case *admit.Refusal:
		return why.Reason == admit.Gone
	}
	return false
}
