package main

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

//go:embed orders.lua
var script []byte

// body is what nginx returns: the answer to a bid, as long as it is with this load.
const body = `{"id":1234567,"allocated":0,"open":50}`

// rival is one of the servers that are measured in turn, and what is sent to it.
type rival struct {
	harness.Subject
	load harness.Load
}

// orders measures bids and sales over HTTP. nginx gets plain GETs, which is the least that wrk can ask for and nginx can answer.
func orders(b *harness.Bench, sluice string, o options) []verdict {
	plain := harness.Load{Connections: o.conns, Duration: o.length}
	posts := plain
	posts.Args = []string{"-s", b.Write("orders.lua", script)}
	nginx := harness.FreeAddr()
	peer := b.Nginx("static", nginx, fmt.Sprintf(`server { listen %s; location / { default_type application/json; return 200 '%s'; } }`, nginx, body))
	still := &rival{harness.Subject{Name: "nginx return 200", URL: "http://" + nginx + "/", Server: peer}, plain}
	durable := startMarket(b, sluice, "durable", posts, o)
	unsynced := startMarket(b, sluice, "unsynced", posts, o, "--no-sync")
	fmt.Printf("sluice market with %d open bids, wrk with %d connections, 19 bids of 10,000 users at 1,000 prices to a sale\n", o.bids, o.conns)
	rivals := []*rival{still, durable, unsynced}
	compare(rivals, o.rounds)
	harness.Report([]*harness.Subject{&still.Subject, &durable.Subject, &unsynced.Subject})
	return judge(still, durable, unsynced)
}

// startMarket starts a market whose book is filled.
func startMarket(b *harness.Bench, sluice, name string, load harness.Load, o options, args ...string) *rival {
	dir := filepath.Join(b.Dir, name)
	fill(dir, filling{commands: o.bids, users: 10_000})
	addr := harness.FreeAddr()
	server := b.Start(addr, sluice, append([]string{"market", "--listen", addr, "--admin", "", "--data-dir", dir}, args...)...)
	return &rival{harness.Subject{Name: "market, " + name, URL: "http://" + addr + "/", Server: server}, load}
}

// compare measures the rivals in turn, each round beginning with another, because a shared machine's speed drifts.
func compare(rivals []*rival, rounds int) {
	for _, r := range rivals {
		warm := r.load
		warm.Duration = time.Second
		harness.Wrk(r.URL, warm)
	}
	for round := range rounds {
		for i := range rivals {
			r := rivals[(round+i)%len(rivals)]
			run := r.Measure(r.load)
			fmt.Printf("  round %-2d  %-17s %9.0f req/s  p50 %-9v p99 %-9v cpu %5.2f µs/req  errors %d\n",
				round+1, r.Name, run.PerSecond, run.P50, run.P99, float64(run.CPU)/float64(time.Microsecond), run.Errors)
		}
	}
}

func judge(still, durable, unsynced *rival) []verdict {
	perSecond := func(r harness.Result) float64 { return r.PerSecond }
	p99 := func(r harness.Result) float64 { return float64(r.P99) }
	beside := summarize(ratios(durable, still, perSecond))
	synced := summarize(ratios(durable, unsynced, perSecond))
	slower := summarize(ratios(durable, unsynced, p99))
	failed := still.Errors() + durable.Errors() + unsynced.Errors()
	return []verdict{
		{"durable orders per second, of nginx's return 200", beside.String(), ">= 0.35", beside.median >= 0.35},
		{"durable orders per second, of those without syncing", synced.String(), ">= 0.7", synced.median >= 0.7},
		{"p99 of durable orders, of that without syncing", slower.String(), "<= 2", slower.median <= 2},
		{"requests that failed", fmt.Sprint(failed), "0", failed == 0},
	}
}

// ratios are those of each round.
func ratios(a, b *rival, of func(harness.Result) float64) []float64 {
	var all []float64
	for i := range a.Runs {
		all = append(all, of(a.Runs[i])/of(b.Runs[i]))
	}
	return all
}

// summary is what is told of several measurements.
type summary struct{ min, median, max float64 }

func summarize(values []float64) summary {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return summary{sorted[0], (sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[n-1]}
}

func (s summary) String() string {
	return fmt.Sprintf("%.2f (%.2f to %.2f)", s.median, s.min, s.max)
}
