// Package coalesce answers requests that ask for the same thing at the same time with one call, for backends that are slow or costly. The
// package knows nothing of HTTP: a call is a function, and may be a request to a server, a read of a cache, or a message to a queue.
//
//	group := coalesce.New[Request, Response](coalesce.Config{})
//	opt := &coalesce.Options[Request, Response]{
//		Policy: flush.Balance{CallCost: 25 * time.Millisecond},
//		Hold:   50 * time.Millisecond,
//		Fetch: func(ctx context.Context, c *coalesce.Call[Request, Response]) (Response, error) {
//			return send(ctx, c.Items()[0]) // the request of the first who waits stands for all
//		},
//	}
//	...
//	response, outcome, err := group.Do(ctx, key, request, opt)
//
// # The life of a slot
//
// The first request for a key opens a slot and waits in it, and others that come meanwhile wait with it. At some time the slot is served: Fetch
// is called in a goroutine of its own, and its answer goes to all who wait. A slot is served exactly once, when the first of these happens:
//
//   - the policy says so, which is asked at each arrival, and again at a time that it may choose itself;
//   - the slot has waited for Options.Hold;
//   - it has Options.MaxBatch waiters.
//
// Without a policy, or without Hold, that is at once, when its first request arrives.
//
// # Strict and relaxed
//
// A request that comes when the slot has been served is either strict: it opens a new slot. So the call that answers it began after it came, and
// it sees every write that was finished before: a linearizable read. Or it is relaxed (Options.Relaxed): it joins the call in flight, so
// that there is at most one for its key that can be joined. It may then get an answer that was made just before it came, but [Group.Fence],
// called at a write, keeps later requests from joining earlier calls.
//
// # Who may leave, and what may go wrong
//
// Fetch doesn't run in the goroutine of any request, or with its context. A request whose context ends returns at once and the others go on
// waiting, also if it was the first. When the last one leaves a slot, the slot vanishes. When the last one leaves a call that has no answer
// yet, the context of the call is cancelled. An error of Fetch goes to all of its waiters, and to nobody after them; so does a panic, as a
// [*PanicError].
//
// Do returns [ErrOverflow], at once, when one of the caps in [Config] is reached. The caller then makes a call of its own, outside of the group,
// so that too many requests are a matter of the backend's capacity and not of the group's memory.
//
// # Answers before the end, answers for one
//
// A fetch may hand out its answer before it returns, with [Call.Publish]. That is how a long body is streamed to all: the answer is something
// that they can read from, published when the head of the response is there, and Fetch goes on to fill it. Requests may join until Fetch
// returns or calls [Call.Seal].
//
// Some answers turn out not to be for everybody when they are there: say one that sets a cookie. With [Call.PublishPrivate] only the leader gets
// it, whose item was first in Call.Items. All others are released at once with [ErrNotShared], also those who wait in the next slot, and make their own
// calls, side by side. And so that the next requests for the key don't wait for each other in vain, they are told the same for the next
// two minutes (Config.Remember).
//
// # Events
//
// Config.Observe is told of each call and of each request that passes through or joins a call, see [Flush]. How many calls were saved, how
// full batches are and what their waiting cost can be computed from these.
//
// # Batches of different requests
//
// [Gather] uses the same slots for requests that differ: they are sent in one call as an array, and each gets its part of the result.
//
// # What policies know
//
// A [Policy] is a pure function of a [State], which has, besides what is to see of the slot, the decayed rates at which requests for the key
// arrive, and estimates of how long its calls take. These outlive the slot: they are kept for Config.MaxIdle keys, and those not used for the longest
// time are forgotten first. Package flush has policies for most cases.
//
// A policy that has to ask somebody else, as over a network, is an [AsyncPolicy]: its question stays open while requests go on arriving, and its answer
// serves the slot, or not, when it comes.
//
// # Costs
//
// A lone request costs some 3 µs and 700 bytes more than its fetch, most of it for the goroutine; one in a full batch some 2 µs, with a goroutine of
// its own; one that joins a call that has published 0.2 µs (BenchmarkLone, BenchmarkBatch, BenchmarkPublished). Keys are spread over 64 shards, each
// with a lock, which is never held while Fetch, a policy or Observe runs, or while waiters are woken.
package coalesce
