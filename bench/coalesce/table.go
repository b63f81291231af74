package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// shape is a way in which requests for one URL come.
type shape struct {
	name  string
	times func(*rand.Rand) []time.Duration
	conns int
	shift time.Duration // by how much each policy is measured later than the one before; 0: when that is done, as it takes the whole machine
}

var shapes = []shape{
	{name: "sparse, 5 per second", conns: 8, shift: 20 * time.Millisecond,
		times: func(rng *rand.Rand) []time.Duration { return atRandom(rng, 5, 30*time.Second) }},
	{name: "bursts, 50 within 5 ms, 2 per second", conns: 128, shift: 50 * time.Millisecond,
		times: func(rng *rand.Rand) []time.Duration {
			return inBursts(rng, 500*time.Millisecond, 50, 5*time.Millisecond, 20*time.Second)
		}},
	{name: "dense, 1,000 per second", conns: 256,
		times: func(rng *rand.Rand) []time.Duration { return atRandom(rng, 1000, 3*time.Second) }},
}

// cell is a policy's figures for one shape.
type cell struct {
	requests, calls int
	p50, p99        time.Duration // added to what the same request takes without sharing
	waited          time.Duration // the same, of all together
}

// printTable measures each policy in each shape and prints a table in Markdown. What a request waits is what it takes at the client, less the
// median of lone requests on a route that shares nothing: it is negative for one that joins a call under way.
func printTable(s *servers, o options) {
	plain := lonely(s.listen, fmt.Sprintf("/alone/table?sleep=%v", o.latency), 100)
	fmt.Printf("a lone request without sharing takes %s at the median; waiting is what a request takes beyond that\n\n", show(plain))
	columns := make([][]cell, len(shapes))
	for i, sh := range shapes {
		columns[i] = sh.measure(s, o, plain, routes(), 1)
	}
	fmt.Print("| policy | freshness |")
	for _, sh := range shapes {
		fmt.Printf(" %s: calls per request | waiting, p50 / p99 |", sh.name)
	}
	fmt.Print("\n| --- | --- |")
	for range shapes {
		fmt.Print(" ---: | ---: |")
	}
	fmt.Println()
	for i, r := range routes() {
		fmt.Printf("| %s | %s |", r.policy, r.freshness)
		for _, column := range columns {
			c := column[i]
			fmt.Printf(" %.2f | %.1f / %.1f ms |", float64(c.calls)/float64(c.requests), millis(c.p50), millis(c.p99))
		}
		fmt.Println()
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// measure has the shape's requests come on those routes: at the same intervals on each, drawn with the seed, but not at the same moments. They ask for a
// URL of which the gateway has learned nothing, from another shape, say.
func (sh *shape) measure(s *servers, o options, plain time.Duration, all []route, seed uint64) []cell {
	s.reset()
	cells := make([]cell, len(all))
	var run sync.WaitGroup
	for i, r := range all {
		one := func() {
			time.Sleep(time.Duration(i) * sh.shift)
			cells[i] = sh.measureOne(s, o, fmt.Sprintf("%s/%s/%d", r.path(), sh.word(), seed), plain, seed)
		}
		if sh.shift > 0 {
			run.Go(one)
		} else {
			one()
		}
	}
	run.Wait()
	return cells
}

// word is the first of the shape's name.
func (sh *shape) word() string {
	word, _, _ := strings.Cut(sh.name, ",")
	return word
}

func (sh *shape) measureOne(s *servers, o options, path string, plain time.Duration, seed uint64) cell {
	clients := dialAll(s.listen, sh.conns)
	defer closeAll(clients)
	target := fmt.Sprintf("%s?sleep=%v", path, o.latency)
	took := paced(clients, sh.times(rand.New(rand.NewPCG(seed, 2))), func(int) string { return target })
	c := cell{requests: len(took), calls: s.count(path).Served, p50: median(took) - plain, p99: quantile(took, 0.99) - plain}
	for _, t := range took {
		c.waited += t - plain
	}
	return c
}
