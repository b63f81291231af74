package admit

import "time"

// Reason is why a request was not let through.
type Reason int

// The reasons.
const (
	Full      Reason = iota // as many wait as may, and none of them bids less
	Displaced               // the queue was full, and a request came that bids more
	TimedOut                // no slot came free in time
	Gone                    // the client has left
	Closed                  // the gate was closed
	reasons
)

var reasonNames = [reasons]string{"full", "displaced", "timeout", "gone", "closed"}

// String is the reason in one word, as metrics have it.
func (r Reason) String() string { return reasonNames[r] }

// Refusal is the error of [Gate.Enter].
type Refusal struct {
	Reason     Reason
	Waited     time.Duration // in the queue
	RetryAfter time.Duration // an estimate of when there will be a slot, from a second to a minute
}

// Error implements error.
func (r *Refusal) Error() string {
	switch r.Reason {
	case Full:
		return "the queue is full"
	case Displaced:
		return "the queue is full, and a request came that bids more"
	case TimedOut:
		return "no slot came free in time"
	case Gone:
		return "the client has left the queue"
	default:
		return "the queue is closed"
	}
}
