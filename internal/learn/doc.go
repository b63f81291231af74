// Package learn plays the traffic of one key against a flush policy, many times faster than it comes, says what the policy cost, and what
// the best possible schedule would have cost that knew all arrivals in advance.
//
//	cfg := learn.Config{
//		Arrivals: learn.Poisson{Rate: 500},
//		CallCost: 25 * time.Millisecond, Hold: 50 * time.Millisecond, MaxBatch: 128,
//		Seed:     1,
//	}
//	paid := learn.Run(cfg, flush.Balance{CallCost: cfg.CallCost})
//	best := learn.Optimum(cfg, cfg.Draw(1))
//	fmt.Println(paid.Cost / best.Cost)
//
// # What is simulated
//
// A [Sim] does what a coalesce.Group does with the requests of one key, with the same state, the same questions at the same times, and the same
// caps; a test drives both with the same arrivals and compares them. It is also an environment of reinforcement learning, with Reset and Step as in
// Gymnasium.
//
// # Cost
//
// The cost is that of package flush: the call cost for each call, and the waiting of all requests. In strict mode a request waits until its
// call begins, as what the call then takes would be the same whenever it began. In relaxed mode it waits until its call ends, since one that
// joins a call in flight has its answer sooner than with a call of its own, and that is to count.
package learn
