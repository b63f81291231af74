package main

import (
	"fmt"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

// maxExtra is what the gateway may add to the origin's latency at the median.
const maxExtra = 3 * time.Millisecond

// burst has many connections ask for one URL without end: in a closed loop with wrk, which takes what the machine gives, and at a fixed rate.
func burst(s *servers, o options) []verdict {
	path := relaxed.path() + "/burst"
	target := fmt.Sprintf("%s?sleep=%v&bytes=1024", path, o.latency)
	fmt.Printf("\none URL, %d connections, origin latency %v, policy immediate, relaxed\n", o.conns, o.latency)
	direct := lonely(s.origin, target, 50)
	fmt.Printf("  the origin itself, one connection: p50 %s\n", show(direct))

	s.reset()
	var closed, open []time.Duration
	requests, most, wrk := 0, 0, harness.Load{Connections: o.conns, Duration: o.length}
	for round := range o.rounds {
		floor := harness.Wrk("http://"+s.origin+"/floor"+target, wrk) // each request a call: what machine and wrk make of so many connections
		r := harness.Wrk("http://"+s.listen+target, wrk)
		clients := dialAll(s.listen, o.conns)
		s.quiet(path)
		took := paced(clients, evenly(o.rate, o.length), func(int) string { return target })
		closeAll(clients)
		closed, open = append(closed, r.P50), append(open, median(took))
		requests += int(r.PerSecond*o.length.Seconds()) + len(took)
		seen := s.count(path)
		most = max(most, seen.MaxInFlight)
		fmt.Printf("  round %d  closed loop: %6.0f req/s p50 %s p99 %s errors %d (the origin itself: %6.0f req/s p50 %s)   %.0f req/s: p50 %s p99 %s   calls so far %d\n",
			round+1, r.PerSecond, show(r.P50), show(r.P99), r.Errors, floor.PerSecond, show(floor.P50), o.rate, show(median(took)), show(quantile(took, 0.99)), seen.Served)
	}
	bar := fmt.Sprintf("≤ %s", show(o.latency+maxExtra))
	return []verdict{
		atMost(fmt.Sprintf("calls in flight at once for one URL, %d requests in %d calls", requests, s.count(path).Served), most, 1),
		{fmt.Sprintf("p50, %d connections in a closed loop (wrk)", o.conns), spread(closed), bar, median(closed) <= o.latency+maxExtra},
		{fmt.Sprintf("p50, %d connections, %.0f requests per second", o.conns, o.rate), spread(open), bar, median(open) <= o.latency+maxExtra},
	}
}

// lonely is the median of what one connection waits for each of n answers.
func lonely(addr, target string, n int) time.Duration {
	c := dial(addr)
	defer c.conn.Close()
	took := make([]time.Duration, n)
	for i := range took {
		sent := time.Now()
		c.get(target)
		took[i] = time.Since(sent)
	}
	return median(took)
}
