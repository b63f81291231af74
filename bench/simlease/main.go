// Command simlease plays the lease protocol in virtual time on a thousand nodes and a million keys, with partitions and dying nodes, and
// compares it with asking Redis for every request.
package main

import (
	"flag"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/lease/sim"
)

func main() {
	nodes := flag.Int("nodes", 1000, "nodes")
	keys := flag.Int("keys", 1_000_000, "keys")
	rate := flag.Float64("rate", 200_000, "requests per second")
	zipf := flag.Float64("zipf", 1.1, "exponent of the keys' popularity")
	duration := flag.Duration("duration", 15*time.Second, "virtual time")
	seed := flag.Uint64("seed", 1, "seed")
	flag.Parse()
	base := sim.Config{
		Seed: *seed, Nodes: *nodes, Keys: *keys, Limit: mixed, Rate: *rate, Zipf: *zipf, Duration: *duration,
		Latency: 2 * time.Millisecond, Timeout: 5 * time.Millisecond,
	}
	fmt.Printf("%d nodes, %d keys, %.0f requests/s, Zipf %v, %v of virtual time; limits of 100/s to 10,000/s\n", *nodes, *keys, *rate, *zipf, *duration)
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "traffic of a key comes in on\ttrouble\tover-admitted\tunspent\tunspent of busy keys\tno answer\tRedis calls/s\tstrict's\tfewer by\t")
	over := int64(0)
	for _, spread := range []int{3, 30, *nodes} {
		for _, trouble := range []int{0, 50} {
			c := base
			c.Spread, c.Trouble = min(spread, *nodes), trouble
			over += print(out, c)
		}
	}
	for _, load := range []float64{0.5, 1, 10} {
		c := base
		c.Nodes, c.Keys, c.Zipf, c.Spread = 3, 2, 50, 3
		c.Limit = func(int) gcra.Limit { return gcra.MustLimit(10_000, time.Second, 1000) }
		c.Rate = 10_000 * load / 1.1 // the mean cost is 1.1
		fmt.Fprintf(out, "one key of 10,000/s, asked for %v times that:\t\t\t\t\t\t\t\t\t\n", load)
		over += print(out, c)
	}
	out.Flush()
	if over > 0 {
		fmt.Fprintf(os.Stderr, "simlease: %d tokens were spent beyond the limits\n", over)
		os.Exit(1)
	}
}

// mixed gives one key in ten 10,000/s, three in ten 1000/s and the others 100/s, with bursts of a tenth of a second to two seconds.
func mixed(key int) gcra.Limit {
	switch key % 10 {
	case 0:
		return gcra.MustLimit(10_000, time.Second, 1000)
	case 1, 2, 3:
		return gcra.MustLimit(1000, time.Second, 500)
	}
	return gcra.MustLimit(100, time.Second, 200)
}

func print(out *tabwriter.Writer, c sim.Config) (over int64) {
	r := sim.Run(c)
	trouble := "none"
	if c.Trouble > 0 {
		trouble = fmt.Sprintf("cut off, %d died", r.Deaths)
	}
	calls, strict := float64(r.Calls)/r.Elapsed.Seconds(), float64(r.Requests)/r.Elapsed.Seconds()
	fmt.Fprintf(out, "%d nodes\t%s\t%d\t%.2f%%\t%.2f%%\t%.2f%%\t%.0f\t%.0f\t%.1f%%\t\n", c.Spread, trouble, r.Over,
		100*sim.Unspent(r.Admitted, r.Ideal), 100*sim.Unspent(r.BusyAdmitted, r.BusyIdeal), 100*float64(r.Failed+r.Died)/float64(r.Requests), calls, strict, 100-100*calls/strict)
	return r.Over
}
