package coalesce

import "time"

// A Reason says why a slot was served, or how else a request was answered.
type Reason uint8

const (
	ByPolicy    Reason = iota + 1 // the policy said so, or there is none
	ByTimer                       // the slot had waited for Options.Hold
	BySize                        // the slot had Options.MaxBatch waiters
	ByClose                       // the group was closed
	Passthrough                   // nothing was shared: the caller makes its own call
	JoinedCall                    // the request joined a call in flight
	Cached                        // answered without a slot; the group never says it, a cache in front of it may
)

// String returns the reason in one word: policy, timer, size, close, passthrough, joined, cached.
func (r Reason) String() string {
	names := [...]string{"none", "policy", "timer", "size", "close", "passthrough", "joined", "cached"}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown"
}

// A Role is what a request was in the call that answered it.
type Role uint8

const (
	Alone    Role = iota // in none: the caller makes its own call
	Leader               // the first of its batch; a private answer goes to it
	Follower             // another of the batch
	Joined               // it came when the call was in flight
)

// String returns the role in one word.
func (r Role) String() string {
	names := [...]string{"alone", "leader", "follower", "joined"}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown"
}

// An Outcome says how a request was answered.
type Outcome struct {
	Role   Role
	Reason Reason        // why the call was made; JoinedCall and Passthrough for those; 0 for a request that left before
	Size   int           // waiters in the batch when the call began, without those that joined; 0 if Alone
	Waited time.Duration // from the call of Do to its answer
}

// A Flush is an event. There is one
//
//   - for each call, when its fetch has returned;
//   - for each request that passes through alone (Reason is Passthrough): nothing but Key, Tag, Size 1, Opened, Ended, Waiting and Err is set;
//   - for each request that joined a call in flight, when it is answered or gives up (Reason is JoinedCall): likewise.
//
// The upstream calls saved by a call are Answered−1, if that is positive.
type Flush struct {
	Key    uint64 // hash of the key, with a seed of the group's own
	Tag    any    // Options.Tag
	Reason Reason

	Size    int           // waiters when the call began
	Age     time.Duration // of the slot when the call began
	Waiting time.Duration // of all waiters together when the call began

	Joined    int // requests that joined the call in flight
	Answered  int // requests that were given the value, Joined among them
	Released  int // requests that were released with ErrNotShared because the answer was private
	Fallbacks int // times that the policy failed, or could not decide and said so

	Opened, Started, Ended time.Time
	Upstream               time.Duration // from Started to the answer, or to the end if there was none
	// Err is what fetch returned, also after it had published: a *PanicError if it panicked; ErrAbandoned if everybody had left.
	// ErrOverflow, ErrNotShared or ErrClosed for a request that passes through.
	Err error
}
