package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sluicegate/sluice/bench/harness"
)

// shallow is how many jobs are queued where few are.
const shallow = 1000

// A depth is a gateway with so many jobs queued, behind an upstream that answers when it is told to.
type depth struct {
	node
	queued int
	gate   *gate
	client *fasthttp.HostClient

	accept, done costs
}

// costs are those of a job, cycle by cycle, in µs.
type costs struct{ busy, took []float64 }

// workers is how many jobs a gateway of a depth sends at once, and conns how many are accepted at once.
const workers, conns = 64, 256

// depths compares what jobs cost with many queued to what they cost with few.
func depths(b *harness.Bench, sluice string, o options) []harness.Verdict {
	few, many := newDepth(b, sluice, shallow), newDepth(b, sluice, o.queued)
	now, highest := harness.Resident(many.server)
	fmt.Printf("%d jobs queued: %.0f MiB resident, %.0f at most while they came; with %d queued %.0f MiB\n", o.queued, now, highest, shallow, few.resident())
	memory := harness.Below(fmt.Sprintf("MiB resident with %d jobs queued", o.queued), harness.Summarize([]float64{now}), 300)
	few.cycle(o.batch) // to warm up
	many.cycle(o.batch)
	few.accept, few.done, many.accept, many.done = costs{}, costs{}, costs{}, costs{}
	for range o.cycles {
		few.cycle(o.batch)
		many.cycle(o.batch)
	}
	few.print()
	many.print()
	return []harness.Verdict{
		memory,
		within("processor time to accept a job", many.accept.busy, few.accept.busy, o),
		within("time to accept a job", many.accept.took, few.accept.took, o),
		within("processor time to claim and finish a job", many.done.busy, few.done.busy, o),
		within("time to claim and finish a job", many.done.took, few.done.took, o),
	}
}

func newDepth(b *harness.Bench, sluice string, queued int) *depth {
	g := newGate()
	d := &depth{node: serve(b, sluice, fmt.Sprint("queued-", queued), g.addr, workers), queued: queued, gate: g}
	d.client = &fasthttp.HostClient{Addr: hostOf(d.url), MaxConns: conns, MaxIdleConnDuration: 10 * time.Second}
	began := time.Now()
	d.send(d.client, queued+workers, conns)
	g.full(workers)
	fmt.Printf("%d jobs accepted in %.1f s, %v of processor time\n", queued, time.Since(began).Seconds(), harness.Busy(d.server).Round(time.Millisecond))
	return d
}

func hostOf(url string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	return host
}

func (d *depth) resident() float64 {
	now, _ := harness.Resident(d.server)
	return now
}

// cycle has a batch of jobs accepted, and as many done.
func (d *depth) cycle(jobs int) {
	d.accept.of(d, jobs, func() { d.send(d.client, jobs, conns) })
	d.done.of(d, jobs, func() { d.gate.pass(jobs, workers) })
}

// of measures what is done to so many jobs.
func (c *costs) of(d *depth, jobs int, f func()) {
	began, before := time.Now(), harness.Busy(d.server)
	f()
	took, busy := time.Since(began), harness.Busy(d.server)-before
	each := func(t time.Duration) float64 { return float64(t) / float64(time.Microsecond) / float64(jobs) }
	c.took, c.busy = append(c.took, each(took)), append(c.busy, each(busy))
}

func (d *depth) print() {
	fmt.Printf("with %d queued, µs a job: accepted in %v, processor %v; claimed and done in %v, processor %v\n", d.queued,
		harness.Summarize(d.accept.took), harness.Summarize(d.accept.busy), harness.Summarize(d.done.took), harness.Summarize(d.done.busy))
}

// within compares cycle by cycle.
func within(what string, many, few []float64, o options) harness.Verdict {
	ratios := make([]float64, len(many))
	for i := range many {
		ratios[i] = many[i] / few[i]
	}
	return harness.AtMost(fmt.Sprintf("%s, %d queued to %d", what, o.queued, shallow), harness.Summarize(ratios), 1.2)
}
