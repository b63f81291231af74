package main

import (
	"fmt"
	"slices"
	"time"
)

// callCost is what a call is worth on all routes, their default.
const callCost = 25 * time.Millisecond

// cost is what a request has cost in the mean, in milliseconds of one request's waiting: its part of the calls that the origin has counted, and what
// it waited at the client beyond a lone request without sharing.
func (c *cell) cost() float64 {
	return (millis(callCost)*float64(c.calls) + millis(c.waited)) / float64(c.requests)
}

// printCosts measures the learned policy beside three rules, in each shape, and prints a table in Markdown. In each round all come in turn, with the same
// requests, which are others in the next round. Each comes first equally often, since the first finds an idle machine, whose requests take longer.
func printCosts(s *servers, o options, freshness string) {
	all := []route{{"ppo", freshness}, {"timer", freshness}, {"balance", freshness}, {"immediate", freshness}}
	rounds := (o.rounds + len(all) - 1) / len(all) * len(all)
	plain := lonely(s.listen, fmt.Sprintf("/alone/table?sleep=%v", o.latency), 100)
	fmt.Printf("what a request costs, %s, in ms: a call is worth %v; waiting is what a request takes beyond the %s of a lone one without sharing\n"+
		"medians of %d rounds (least to greatest); calls per request, mean waiting\n\n", freshness, callCost, show(plain), rounds)
	cells := make([][][]cell, len(shapes)) // by shape and policy, of each round
	for i := range cells {
		cells[i] = make([][]cell, len(all))
	}
	for round := range rounds {
		order := slices.Concat(all[round%len(all):], all[:round%len(all)])
		for i := range shapes {
			for k, c := range shapes[i].measure(s, o, plain, order, uint64(round+1)) {
				at := (k + round) % len(all)
				cells[i][at] = append(cells[i][at], c)
			}
		}
	}
	printCostTable(all, cells)
}

func printCostTable(all []route, cells [][][]cell) {
	fmt.Print("| policy |")
	for i := range shapes {
		fmt.Printf(" %s |", shapes[i].name)
	}
	fmt.Print("\n| --- |")
	for range shapes {
		fmt.Print(" ---: |")
	}
	fmt.Println()
	for k, r := range all {
		fmt.Printf("| %s |", r.policy)
		for i := range shapes {
			fmt.Printf(" %s |", costOf(cells[i][k]))
		}
		fmt.Println()
	}
	fmt.Println()
	for i := range shapes {
		fmt.Printf("%s: %s\n", shapes[i].name, comparison(all, cells[i]))
	}
}

// costOf is a field of the table.
func costOf(rounds []cell) string {
	var costs, calls, waits []float64
	for i := range rounds {
		c := &rounds[i]
		costs = append(costs, c.cost())
		calls = append(calls, float64(c.calls)/float64(c.requests))
		waits = append(waits, millis(c.waited)/float64(c.requests))
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f); %.3f, %.1f ms", middle(costs), slices.Min(costs), slices.Max(costs), middle(calls), middle(waits))
}

// comparison is the cost of the first policy beside each of the others: the median of the rounds' ratios, in which the round's requests are the same.
func comparison(all []route, cells [][]cell) string {
	var text string
	for k := 1; k < len(all); k++ {
		var ratios []float64
		for round := range cells[k] {
			ratios = append(ratios, cells[0][round].cost()/cells[k][round].cost())
		}
		text += fmt.Sprintf("%.3f times %s, ", middle(ratios), all[k].policy)
	}
	return all[0].policy + " costs " + text[:len(text)-len(", ")]
}
