// Command jobs measures jobs against their bars: requests that are accepted durably over HTTP, by an async route of `sluice serve` and by
// `sluice store`, beside an nginx that returns a fixed body; the library work; and a gateway with a million jobs queued: what it takes of memory,
// and what accepting and doing a job costs then.
//
// The files are below TMPDIR, so that names the disk that is measured. Where it is kept in memory, syncing costs nothing and the figures say
// nothing.
package main

import (
	"flag"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

// options are the flags.
type options struct {
	conns, rounds int
	length        time.Duration
	noops         int
	queued        int
	cycles, batch int
}

func main() {
	var o options
	flag.IntVar(&o.conns, "connections", 256, "connections of wrk")
	flag.IntVar(&o.rounds, "rounds", 11, "how often each server is measured; 0 leaves the requests out")
	flag.DurationVar(&o.length, "duration", 3*time.Second, "how long each measurement of a server takes, in whole seconds")
	flag.IntVar(&o.noops, "noops", 10_000_000, "jobs of a round of the library; 0 leaves it out")
	flag.IntVar(&o.queued, "queued", 1_000_000, "jobs that are queued in the gateway that is compared with one that has 1,000; 0 leaves them out")
	flag.IntVar(&o.cycles, "cycles", 51, "how often jobs are accepted and done with so many queued")
	flag.IntVar(&o.batch, "batch", 2000, "jobs of such a cycle")
	flag.Parse()
	harness.Need("nginx", "wrk")
	b := harness.New()
	defer b.Close()
	fmt.Println(harness.Versions("nginx"))
	fmt.Println(harness.DiskOf(b.Dir))
	sluice := b.Build("./cmd/sluice")
	var all []harness.Verdict
	if o.rounds > 0 {
		all = append(all, accepted(b, sluice, o)...)
	}
	if o.noops > 0 {
		all = append(all, noops(o)...)
	}
	if o.queued > 0 {
		all = append(all, depths(b, sluice, o)...)
	}
	harness.Judge(all)
}
