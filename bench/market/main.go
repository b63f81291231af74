// Command market measures `sluice market` against its bars: orders over HTTP, synced before the answer, beside an nginx that returns a fixed
// body and beside the same market without syncing, all in turn; and how long a start takes, with the whole log to replay and from a snapshot.
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
	bids          int
	commands      int
	starts        int
}

func main() {
	var o options
	flag.IntVar(&o.conns, "connections", 256, "connections of wrk")
	flag.IntVar(&o.rounds, "rounds", 11, "how often each server is measured; 0 leaves the orders out")
	flag.DurationVar(&o.length, "duration", 3*time.Second, "how long each measurement of a server takes, in whole seconds")
	flag.IntVar(&o.bids, "bids", 100_000, "open bids in the book when the measurement begins")
	flag.IntVar(&o.commands, "commands", 10_000_000, "commands in the log that is replayed; 0 leaves the starts out")
	flag.IntVar(&o.starts, "starts", 3, "how often each start is measured")
	flag.Parse()
	harness.Need("nginx", "wrk")
	b := harness.New()
	defer b.Close()
	fmt.Println(harness.Versions("nginx"))
	fmt.Println(harness.DiskOf(b.Dir))
	sluice := b.Build("./cmd/sluice")
	var all []harness.Verdict
	if o.rounds > 0 {
		all = orders(b, sluice, o)
	}
	if o.commands > 0 {
		all = append(all, starts(b, sluice, o)...)
	}
	harness.Judge(all)
}
