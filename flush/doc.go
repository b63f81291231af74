// Package flush has the rules by which slots of package coalesce are served: when do the requests that wait have waited long enough?
//
// Each rule is a value, and a [coalesce.Policy]:
//
//	opt := &coalesce.Options[Request, Response]{
//		Policy: flush.Balance{CallCost: 25 * time.Millisecond},
//		Hold:   50 * time.Millisecond, // whatever the rule says, nobody waits longer
//		...
//	}
//
// # What is to be weighed
//
// Serving at once makes many calls; waiting makes few, and slow answers. To weigh one against the other takes a single number: what a call is
// worth. A CallCost of 25 ms says that one upstream call saved is worth that one request waits 25 ms more, or five requests 5 ms each. With it
// the cost of a stretch of traffic is
//
//	CallCost × calls + the waiting of all requests, summed up
//
// and the best rule is the one for which that is least.
//
// # Which rule
//
//   - [Immediate] never waits. In relaxed mode this is plain single-flight: requests share the calls that are under way anyway, and nobody is
//     slower for it. Take it if calls are cheap, or requests of the same key rarely come close together.
//   - [Timer] waits for a fixed time. It is easy to explain, and what most batchers do; but a lone request waits as long as a crowd.
//   - [Size] waits for a fixed number of requests. It is for a backend that wants full batches; the slot's Hold must be set, for the last ones.
//   - [Balance] serves when the waiting that has accumulated in the slot has cost as much as the call. It needs no knowledge of the traffic
//     and never costs more than twice what the best possible schedule would that knows all arrivals in advance (see below). Take it if
//     the traffic is unknown or changes much.
//   - [Threshold] learns how fast requests come, and serves as soon as as many wait as is best at that rate: a lone request doesn't wait at
//     all, and neither does a slot that has what it can hope for. Take it if requests come at random at a rate that changes slowly.
//   - [PPO] has learned from much traffic of many kinds, and goes by how close the latest requests came, what the rates were, and what has been
//     waited. It costs less than the rules above in nearly all traffic, but nobody can say in a sentence why it serves when it does.
//
// # Where they come from
//
// Balance is the rule of Dooly, Goldman and Scott for acknowledgments in TCP, which is the same problem: D. R. Dooly, S. A. Goldman,
// S. D. Scott, "On-line analysis of the TCP acknowledgment delay problem", Journal of the ACM 48(2), 2001. They show that its cost is at
// most twice the optimum, and that no deterministic rule without knowledge of the future can promise less. The bound is for strict slots
// without caps; joining calls in flight changes the problem.
//
// Threshold is the optimum for random (Poisson) arrivals. Let requests come at rate λ and κ = λ × CallCost, the cost of a call in units of
// the time between requests. If each slot is served with n requests, it has cost a call and 0+1+…+(n−1) of these units, so a request costs
// κ/n + (n−1)/2. One more in each slot is better as long as κ/n − κ/(n+1) > 1/2, that is n(n+1) < 2κ. So the best is the least n with
// n(n+1) ≥ 2κ.
//
// If the requests that come during a call, of length L, join it, about λL of them share it whatever n is, and wait λL²/2 together. A cycle then
// has N = n+λL requests and costs κ + n(n−1)/2 + nλL + (λL)²/2, in the same units, which is κ + (N² − N + λL)/2. A request's share of it, (κ + λL/2)/N +
// (N−1)/2, is least at N = √(2κ+λL). So the best is n = √(2κ+λL) − λL, or 1 if that is less: a call needs a first request.
package flush
