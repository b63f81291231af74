package learn_test

import (
	"fmt"
	"time"

	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/learn"
)

// What balance costs under traffic in bursts, beside the best schedule that there is.
func Example() {
	source, _ := learn.Parse("mmpp:5/s@2s,500/s@200ms")
	cfg := learn.Config{Arrivals: source, CallCost: 25 * time.Millisecond, Hold: 50 * time.Millisecond, MaxBatch: 128, Seed: 1}
	paid := learn.Run(cfg, flush.Balance{CallCost: cfg.CallCost})
	best := learn.Optimum(cfg, cfg.Draw(cfg.Seed))
	fmt.Printf("%d calls for %d requests, at %.1f times the cost of the best schedule\n", paid.Calls/100*100, paid.Requests, paid.Cost/best.Cost)
	// Output: 5000 calls for 20000 requests, at 1.4 times the cost of the best schedule
}

// An episode, step by step: a policy that serves when three wait.
func ExampleSim() {
	sim := learn.New(learn.Config{
		Arrivals: &learn.Traces{Name: "six", Keys: [][]time.Duration{{0, 1e6, 2e6, 100e6, 101e6, 300e6}}},
		CallCost: 10 * time.Millisecond, Hold: 40 * time.Millisecond,
	})
	state := sim.Reset(1)
	total := 0.0
	for over := false; !over; {
		_, reward, terminated, truncated := sim.Step(state.Size == 3)
		total += reward
		over = terminated || truncated
	}
	o := sim.Outcome()
	fmt.Printf("%d calls, %d of them since the hold was over, cost %.1f calls, reward %.1f\n", o.Calls, o.ByHold, o.Cost, total)
	// Output: 3 calls, 2 of them since the hold was over, cost 15.2 calls, reward -15.2
}
