// Package gcra limits the rate of requests per client, exactly and without locks on the hot path.
//
// # A limiter in four lines
//
//	limit, err := gcra.NewLimit(100, time.Second, 20) // 100 per second, bursts of 21
//	limiter, err := gcra.New[string](gcra.Config{Limit: limit})
//	decision, err := limiter.Allow("client-7")
//	if !decision.Allowed { /* try again after decision.RetryAfter */ }
//
// A client that has been quiet may send burst+1 requests at once; from then on one more is allowed every period/count. A burst of 0
// therefore means exactly one at a time.
//
// # The algorithm
//
// The generic cell rate algorithm is ITU-T Recommendation I.371 (and the ATM Forum Traffic Management Specification 4.0, where this form is
// called virtual scheduling). It keeps one number per client, the theoretical arrival time (TAT): the instant at which the client's
// allowance is whole again. A request of cost n that arrives at now is allowed if
//
//	max(TAT, now) + n·T  <=  now + (burst+1)·T        with T = period/count
//
// and then TAT becomes the left-hand side. The max is what keeps idle time from earning more than the burst. There is no bucket to refill
// and no timer: time itself pays the debt.
//
// # Exactness
//
// TAT is kept in whole nanoseconds. Where T is a whole number of nanoseconds too (100 per second, 1000 per minute, 3 per day) that is all
// there is to it. Where it is not (7 per second), adding a truncated T would let a limit drift, so the limiter also remembers when the
// client's present busy period started: inside it every TAT is that start plus a multiple of T, rounded up, and no two multiples round to the
// same nanosecond, so the exact fraction can always be recovered ([State]). Each decision equals the one made in rational arithmetic,
// at any rate from one per decades to 10⁹ per second, however long the limiter runs. See [NewLimit] for the bounds.
//
// # Costs that vary
//
// [Limiter.AllowN] asks for several tokens at once; a cost above burst+1 can never fit and its RetryAfter is [Never]. A cost of 0 looks and
// takes nothing: it is always allowed. [Limiter.Charge] books a cost that is only known afterwards and may leave the client in debt;
// [Limiter.Refund] gives back what was not used after all. [Limiter.Peek] says what AllowN would say. [All] decides several limits together:
// all of them are charged or none.
//
// # Other limits for the same clients
//
// A TAT is a time, so it means the same under any limit. [Limiter.WithLimit] gives a second limiter over the same clients in O(1): use it
// for a client with a limit of its own, and to change the limits of a running program without forgetting who spent what.
//
// # Time
//
// Every method has a variant that takes the time, as a duration since the limiter's start, for callers that read the clock once per request
// and for tests that walk a virtual clock. Time that goes backward never grants anything: the client is only further from its TAT.
// The variants that read the [Clock] themselves say so with an error when it fails or goes backward, and decide as of the latest time known.
//
// # Memory
//
// A limiter holds at most [Config.MaxKeys] clients. When it is full, a new client takes the place of the one with the lowest TAT: those that
// are idle first, which loses nothing, then those who owe least, which does and is counted ([Stats]). No goroutine is started; call
// [Limiter.Sweep] now and then, from a ticker or between requests, to give back the memory of clients that went away.
//
// Known clients are found and decided without locks; only the first request of an unknown client, eviction and Sweep take one, which is
// one of many. Nothing is allocated for a known client.
package gcra
