package main

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// shape is a way in which requests for one URL come.
type shape struct {
	name  string
	times func(*rand.Rand) []time.Duration
	apart bool // the policies are measured one after the other, because the machine is full with one
	conns int
}

var shapes = []shape{
	{name: "sparse: 5 per second", conns: 8, times: func(rng *rand.Rand) []time.Duration { return atRandom(rng, 5, 20*time.Second) }},
	{name: "bursts: 50 within 5 ms, every 500 ms", conns: 128, times: func(rng *rand.Rand) []time.Duration {
		return inBursts(rng, 500*time.Millisecond, 50, 5*time.Millisecond, 15*time.Second)
	}},
	{name: "dense: 1,000 per second", conns: 256, apart: true, times: func(rng *rand.Rand) []time.Duration { return atRandom(rng, 1000, 3*time.Second) }},
}

// cell is a policy's figures for one shape.
type cell struct {
	requests, calls int
	p50, p99        time.Duration // added to what the same request takes without sharing
}

// printTable measures each policy in each shape and prints a table in Markdown. What a request waits is what it takes at the client, less the
// median of lone requests on a route that shares nothing: it is negative for one that joins a call under way.
func printTable(s *servers, o options) {
	plain := lonely(s.listen, fmt.Sprintf("/alone/table?sleep=%v", o.latency), 100)
	fmt.Printf("a lone request without sharing takes %s at the median\n\n", show(plain))
	fmt.Printf("| policy | freshness |")
	for _, sh := range shapes {
		fmt.Printf(" %s: calls per request | added waiting, p50 | p99 |", sh.name)
	}
	fmt.Printf("\n| --- | --- |")
	for range shapes {
		fmt.Printf(" ---: | ---: | ---: |")
	}
	fmt.Println()
	columns := make([][]cell, len(shapes))
	for i, sh := range shapes {
		columns[i] = sh.measure(s, o, plain)
	}
	row := 0
	for _, freshness := range []string{"strict", "relaxed"} {
		for _, policy := range policies {
			fmt.Printf("| %s | %s |", policy, freshness)
			for _, column := range columns {
				c := column[row]
				fmt.Printf(" %.3f | %s | %s |", float64(c.calls)/float64(c.requests), show(c.p50), show(c.p99))
			}
			fmt.Println()
			row++
		}
	}
}

// measure has the shape's requests come on the routes of all policies, at the same times on each.
func (sh *shape) measure(s *servers, o options, plain time.Duration) []cell {
	s.reset()
	cells := make([]cell, 2*len(policies))
	var run sync.WaitGroup
	for i := range cells {
		route := routeOf(policies[i%len(policies)], []string{"strict", "relaxed"}[i/len(policies)])
		one := func() { cells[i] = sh.measureOne(s, o, route+"/table", plain, uint64(i)) }
		if sh.apart {
			one()
		} else {
			run.Go(one)
		}
	}
	run.Wait()
	return cells
}

func (sh *shape) measureOne(s *servers, o options, path string, plain time.Duration, seed uint64) cell {
	clients := dialAll(s.listen, sh.conns)
	defer closeAll(clients)
	target := fmt.Sprintf("%s?sleep=%v", path, o.latency)
	took := paced(clients, sh.times(rand.New(rand.NewPCG(1, seed))), func(int) string { return target })
	return cell{requests: len(took), calls: s.count(path).Served, p50: median(took) - plain, p99: quantile(took, 0.99) - plain}
}
