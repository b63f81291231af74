package main

import (
	"fmt"
	"time"
)

const (
	apartLatency = 100 * time.Millisecond
	apartMost    = 250 * time.Millisecond
)

// apart has many wait for one answer that turns out to be for one client alone. Each round is about a key that the gateway has never seen, and
// asks for it a second time when it has.
func apart(s *servers, o options) []verdict {
	fmt.Printf("\n%d waiters on one answer of %v with Cache-Control: private, policy immediate\n", o.conns, apartLatency)
	var verdicts []verdict
	for _, r := range []route{relaxed, strict} {
		clients := dialAll(s.listen, o.conns)
		var first []time.Duration
		for round := range o.rounds + 1 {
			path := fmt.Sprintf("%s/apart-%d", r.path(), round)
			target := fmt.Sprintf("%s?sleep=%v&cache=private", path, apartLatency)
			took := together(clients, target)
			again := together(clients, target)
			fmt.Printf("  round %d  %-8s p50 %s p99 %s   once it is known: p50 %s p99 %s   calls %d\n", round, r.freshness,
				show(median(took)), show(quantile(took, 0.99)), show(median(again)), show(quantile(again, 0.99)), s.count(path).Served)
			if round > 0 { // in the first, the gateway has no connections to the origin
				first = append(first, quantile(took, 0.99))
			}
		}
		closeAll(clients)
		verdicts = append(verdicts, verdict{fmt.Sprintf("p99, %d waiters on an uncacheable answer of %v, %s", o.conns, apartLatency, r.freshness), spread(first),
			fmt.Sprintf("≤ %v", apartMost), median(first) <= apartMost})
	}
	return verdicts
}
