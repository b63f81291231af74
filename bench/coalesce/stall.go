package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

const (
	stallConns = 128  // of those who ask for other keys
	stallRate  = 1000 // of their requests per second
	stallMost  = 0.05
)

// stalled measures the other keys of a route while many wait for one whose origin takes very long. A p99 varies by more from one moment to the next
// on a shared machine than what is looked for; so there are two gateways, of which one at a time has the stall, and every other request goes to the
// other one. Between stalls both are without, which shows what such a comparison is worth.
func stalled(s *servers, o options) []verdict {
	fmt.Printf("\n%d waiters on a key whose origin takes %v; %d requests per second for other keys, all different, to a gateway with the stall and one without in turn, "+
		"origin latency %v; policy immediate, relaxed\n", o.conns, o.stall, stallRate, o.latency)
	gateways := []string{s.listen, s.second()}
	m := &neighbours{s: s, o: o}
	for range stallConns / 2 {
		m.clients = append(m.clients, dial(gateways[0]), dial(gateways[1]))
	}
	defer closeAll(m.clients)
	m.ask() // to warm up
	var moved, chance []float64
	for round := range 2 * o.rounds {
		a, b := m.ask()
		chance = append(chance, apartBy(a, b))
		a, b = m.askDuring(gateways[round%2], round)
		if round%2 == 1 {
			a, b = b, a
		}
		moved = append(moved, apartBy(a, b))
		fmt.Printf("  round %2d  p99 with the stall %s, without %s (%+.1f %%); both without: %+.1f %%\n", round+1,
			show(quantile(a, 0.99)), show(quantile(b, 0.99)), 100*moved[round], 100*chance[round])
	}
	return []verdict{
		{"p99, without a stall against without a stall", parts(chance), "(noise)", true},
		{"p99 of other keys, with a stall against without", parts(moved), fmt.Sprintf("moves ≤ %.0f %%", 100*stallMost), middle(moved) <= stallMost},
	}
}

// second starts another gateway with the same configuration.
func (s *servers) second() (addr string) {
	addr = harness.FreeAddr()
	config := strings.NewReplacer(s.listen, addr, s.admin, harness.FreeAddr()).Replace(s.config)
	s.bench.Start(addr, s.sluice, "serve", "-c", s.bench.Write("second.yaml", []byte(config)))
	return addr
}

// neighbours ask for keys beside the one that is stalled. Every other client is connected to the second gateway.
type neighbours struct {
	s       *servers
	o       options
	clients []*client
	asked   int
}

// ask returns what they wait at each gateway, for as long as eight tenths of a stall.
func (m *neighbours) ask() (first, second []time.Duration) {
	before := m.asked
	took := paced(m.clients, evenly(stallRate, m.o.stall*8/10), func(i int) string {
		return fmt.Sprintf("%s/other?sleep=%v&n=%d", relaxed.path(), m.o.latency, before+i)
	})
	m.asked += len(took)
	for i, d := range took {
		if i%2 == 0 {
			first = append(first, d)
		} else {
			second = append(second, d)
		}
	}
	return first, second
}

// askDuring is the same while one gateway has waiters on a stalled key.
func (m *neighbours) askDuring(gateway string, round int) (first, second []time.Duration) {
	path := fmt.Sprintf("%s/stalled-%d", relaxed.path(), round)
	waiters := dialAll(gateway, m.o.conns)
	defer closeAll(waiters)
	var run sync.WaitGroup
	run.Go(func() { together(waiters, fmt.Sprintf("%s?sleep=%v", path, m.o.stall)) })
	time.Sleep(m.o.stall / 20) // until they all wait
	first, second = m.ask()
	run.Wait()
	if calls := m.s.count(path).Served; calls != 1 {
		harness.Fatal(fmt.Errorf("the stalled key cost %d calls, expected 1", calls))
	}
	return first, second
}

// apartBy is by what part the p99 of a is above that of b.
func apartBy(a, b []time.Duration) float64 {
	return float64(quantile(a, 0.99))/float64(quantile(b, 0.99)) - 1
}

// parts shows the median of parts with the least and the greatest.
func parts(of []float64) string {
	return fmt.Sprintf("%+.1f %% (%+.1f to %+.1f)", 100*middle(of), 100*slices.Min(of), 100*slices.Max(of))
}

func middle(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
