package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	loneRequests = 5000 // of each route, each round
	loneMost     = 50 * time.Microsecond
)

// lone measures what sharing costs those who have nobody to share with: one request at a time, each for another URL, on each route in turn, so
// that all see the machine in the same mood. The second route without sharing shows what the measurement itself is worth.
func lone(s *servers, o options) []verdict {
	routes := []string{"/alone", "/again", strict.path(), relaxed.path()}
	fmt.Printf("\nlone requests, an origin that answers at once: %d rounds of %d requests to each route in turn\n", o.rounds, loneRequests)
	clients := dialAll(s.listen, len(routes))
	defer closeAll(clients)
	more := make([][]time.Duration, len(routes))
	for round := range o.rounds + 1 {
		medians := loneRound(clients, routes, round)
		if round == 0 { // to warm up
			continue
		}
		fmt.Printf("  round %d ", round)
		for i, m := range medians {
			more[i] = append(more[i], m-medians[0])
			fmt.Printf("  %s p50 %s", routes[i], show(m))
		}
		fmt.Println()
	}
	verdicts := []verdict{{"a lone request's p50, without sharing against without sharing", spread(more[1]), "(noise)", true}}
	for i, route := range routes[2:] {
		verdicts = append(verdicts, verdict{"a lone request's p50, " + route[1:] + " against without sharing", spread(more[i+2]), fmt.Sprintf("≤ %v", loneMost), median(more[i+2]) <= loneMost})
	}
	return verdicts
}

func loneRound(clients []*client, routes []string, round int) []time.Duration {
	took := make([][]time.Duration, len(routes))
	for n := range loneRequests {
		for _, i := range rand.Perm(len(routes)) { // what the one before leaves behind is no route's lot alone
			path := fmt.Sprintf("%s/lone?bytes=1024&n=%d-%d", routes[i], round, n)
			sent := time.Now()
			clients[i].get(path)
			took[i] = append(took[i], time.Since(sent))
		}
	}
	medians := make([]time.Duration, len(routes))
	for i := range took {
		medians[i] = median(took[i])
	}
	return medians
}
