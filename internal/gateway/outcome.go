package gateway

import (
	"slices"

	"github.com/sluicegate/sluice/internal/problem"
)

// outcome is what became of a request, in one word. The first that is true of it counts.
type outcome uint8

const (
	limited   outcome = iota // refused by a rule, an access list or a full queue: it was meant to be
	failed                   // answered with another error of the gateway's own or with a 5xx, or left by its client
	cached                   // answered from what was kept
	coalesced                // answered by a call that was made for others too
	queued                   // accepted as a job, or passed after it had waited for a slot of its upstream
	passed                   // by a call of its own, at once
	outcomes                 // how many there are
)

var outcomeNames = [outcomes]string{"limited", "failed", "cached", "coalesced", "queued", "passed"}

// onPurpose are the errors that say no more than that the request is not to be served, or not now.
var onPurpose = []*problem.Type{problem.QuotaExceeded, problem.AccessDenied, problem.LimitUnavailable, problem.QueueFull, problem.QueueTimeout}

// outcome tells of a request that is over, which ended with status.
func (r *request) outcome(status int) outcome {
	switch {
	case slices.Contains(onPurpose, r.refusal):
		return limited
	case r.refusal != nil || status >= 500 || status == statusGone:
		return failed
	case r.state.Hit:
		return cached
	case r.state.Collapsed || r.merged:
		return coalesced
	case r.accepted || r.queued > 0:
		return queued
	}
	return passed
}
