// Command coalesce measures what the sharing of calls is worth and what it costs, in front of `sluice origin`, which does the counting:
// five bars, the table of policies with -table, or what policies cost with -costs.
package main

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

// options are the flags.
type options struct {
	conns   int
	rounds  int
	length  time.Duration
	rate    float64
	stall   time.Duration
	latency time.Duration // of the origin
	varnish bool
}

// bars are the measurements, in their order.
var bars = [...]struct {
	name string
	run  func(*servers, options) []verdict
}{
	{"burst", burst}, {"hot", hot}, {"apart", apart}, {"lone", lone}, {"stall", stalled},
}

func main() {
	var o options
	flag.IntVar(&o.conns, "connections", 1000, "connections on the one URL, and waiters")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each is measured")
	flag.DurationVar(&o.length, "duration", 4*time.Second, "how long each measurement takes")
	flag.Float64Var(&o.rate, "rate", 5000, "requests per second of the load that is not in a closed loop")
	flag.DurationVar(&o.stall, "stall", 10*time.Second, "how long the stalled key's origin takes")
	flag.DurationVar(&o.latency, "latency", 20*time.Millisecond, "how long the origin takes otherwise")
	flag.BoolVar(&o.varnish, "varnish", false, "measure varnish as well, on the hot URL")
	only := flag.String("only", "", "comma-separated bars to measure: burst, hot, apart, lone, stall")
	table := flag.Bool("table", false, "measure the policies instead, and print a table in Markdown")
	costs := flag.String("costs", "", "measure instead what the learned policy costs beside others, strict or relaxed")
	flag.Parse()
	names := strings.Split(*only, ",")
	if *only != "" {
		harness.Fatal(known(names))
	}
	if *costs != "" && *costs != "strict" && *costs != "relaxed" {
		harness.Fatal(fmt.Errorf("-costs: expected strict or relaxed, got %q", *costs))
	}
	harness.Need("nginx", "wrk")
	b := harness.New()
	defer b.Close()
	s := start(b)
	fmt.Printf("%s\nsluice serve with this configuration, in front of sluice origin; profile: http://%s/debug/pprof/profile\n%s\n", harness.Versions("nginx"), s.admin, s.config)
	switch {
	case *table:
		printTable(s, o)
		return
	case *costs != "":
		printCosts(s, o, *costs)
		return
	}
	var all []verdict
	for _, bar := range bars {
		if *only == "" || slices.Contains(names, bar.name) {
			all = append(all, bar.run(s, o)...)
		}
	}
	report(all)
}

// known reports a name that is no bar's.
func known(names []string) error {
	for _, name := range names {
		if name != "burst" && name != "hot" && name != "apart" && name != "lone" && name != "stall" {
			return fmt.Errorf("-only: there is no bar %q", name)
		}
	}
	return nil
}

// verdict is a figure and the bar that it is held against.
type verdict struct {
	what, figure, bar string
	met               bool
}

func atMost(what string, figure, bar int) verdict {
	return verdict{what, fmt.Sprint(figure), fmt.Sprintf("≤ %d", bar), figure <= bar}
}

func report(all []verdict) {
	fmt.Printf("\n%-62s %-34s %-24s\n", "", "figure", "bar")
	for _, v := range all {
		word := "met"
		if !v.met {
			word = "MISSED"
		}
		fmt.Printf("%-62s %-34s %-24s %s\n", v.what, v.figure, v.bar, word)
	}
}
