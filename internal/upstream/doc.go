// Package upstream is the last stage: it sends a request to one of an upstream's targets and hands back the response
// as it arrives.
//
// A [Pool] is one upstream. [Pool.Do] chooses a target, takes a kept-alive connection or opens one, sends the head and
// the body (while the response is already read, so that an early answer is seen), and returns a [Call] whose response
// has begun. A target that fails is left out for a while; a request that may be repeated is tried on another target,
// as long as the budget for retries lasts. Active checks run beside the traffic.
package upstream
