package flush_test

import (
	"fmt"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
)

// Five requests have waited 15 ms together. A call is worth 25 ms, so that they are served in 2 ms.
func ExampleBalance() {
	p := flush.Balance{CallCost: 25 * time.Millisecond}
	fmt.Println(p.Decide(coalesce.State{Size: 5, Waiting: 15 * time.Millisecond}).After)
	fmt.Println(p.Decide(coalesce.State{Size: 5, Waiting: 25 * time.Millisecond}).Serve)
	// Output:
	// 2ms
	// true
}

// How many requests are worth waiting for, if a call is worth 25 ms.
func ExampleBest() {
	for _, rate := range []float64{5, 50, 500, 5000} {
		alone := flush.Best(rate, 25*time.Millisecond)
		joining := flush.BestJoining(rate, 25*time.Millisecond, 2*time.Millisecond)
		fmt.Printf("%4.0f/s: %d, with joining %.1f\n", rate, alone, joining)
	}
	// Output:
	//    5/s: 1, with joining 1.0
	//   50/s: 2, with joining 1.5
	//  500/s: 5, with joining 4.1
	// 5000/s: 16, with joining 6.1
}

// The names as a configuration file has them.
func ExampleParse() {
	p, err := flush.Parse("threshold", flush.Params{CallCost: 25 * time.Millisecond})
	fmt.Printf("%T %v\n", p, err)
	_, err = flush.Parse("timer", flush.Params{})
	fmt.Println(err)
	// Output:
	// flush.Threshold <nil>
	// flush: parameter out of range: timer: after must be above 0, not 0s
}
