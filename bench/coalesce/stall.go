package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

const (
	stallConns = 128  // of those who ask for other keys
	stallRate  = 1000 // of their requests per second
	stallMost  = 0.05
)

// stalled measures the other keys of a route while many wait for one whose origin takes very long, and while nobody does, in turn. It
// measures twice without a stall for each time with one, so that what a stall does can be held against what the machine does by itself.
func stalled(s *servers, o options) []verdict {
	fmt.Printf("\n%d waiters on a key whose origin takes %v; %d requests per second for other keys, all different, origin latency %v; policy immediate, relaxed\n",
		o.conns, o.stall, stallRate, o.latency)
	m := &neighbours{s: s, o: o, clients: dialAll(s.listen, stallConns)}
	defer closeAll(m.clients)
	m.p99() // to warm up
	var moved, chance []float64
	for round := range o.rounds {
		before, with, after := m.p99(), m.p99During(round), m.p99()
		moved = append(moved, float64(with)/float64((before+after)/2)-1)
		chance = append(chance, float64(after)/float64(before)-1)
		fmt.Printf("  round %d  p99 before %s, during the stall %s (%+.1f %%), after %s\n", round+1, show(before), show(with), 100*moved[round], show(after))
	}
	return []verdict{
		{"p99, without a stall against without a stall", percents(chance), "(noise)", true},
		{"p99 of other keys while one key's origin is stalled", percents(moved), fmt.Sprintf("moves ≤ %.0f %%", 100*stallMost), middle(moved) <= stallMost},
	}
}

// neighbours ask for keys beside the one that is stalled.
type neighbours struct {
	s       *servers
	o       options
	clients []*client
	asked   int
}

// p99 is what they wait, for as long as eight tenths of a stall.
func (m *neighbours) p99() time.Duration {
	first := m.asked
	before := harness.CPU(m.s.gateway)
	took := paced(m.clients, evenly(stallRate, m.o.stall*8/10), func(i int) string {
		return fmt.Sprintf("%s/other?sleep=%v&n=%d", relaxed.path(), m.o.latency, first+i)
	})
	m.asked += len(took)
	fmt.Printf("    p50 %s p90 %s p99 %s, the gateway's CPU %v\n", show(median(took)), show(quantile(took, 0.9)), show(quantile(took, 0.99)), harness.CPU(m.s.gateway)-before)
	return quantile(took, 0.99)
}

// p99During is the same beside waiters on a stalled key.
func (m *neighbours) p99During(round int) time.Duration {
	path := fmt.Sprintf("%s/stalled-%d", relaxed.path(), round)
	waiters := dialAll(m.s.listen, m.o.conns)
	defer closeAll(waiters)
	var run sync.WaitGroup
	run.Go(func() { together(waiters, fmt.Sprintf("%s?sleep=%v", path, m.o.stall)) })
	time.Sleep(m.o.stall / 20) // until they all wait
	p99 := m.p99()
	run.Wait()
	if calls := m.s.count(path).Served; calls != 1 {
		harness.Fatal(fmt.Errorf("the stalled key cost %d calls, expected 1", calls))
	}
	return p99
}

func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func percents(values []float64) string {
	return fmt.Sprintf("%+.1f %% (%+.1f to %+.1f)", 100*middle(values), 100*slices.Min(values), 100*slices.Max(values))
}
