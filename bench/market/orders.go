package main

import (
	_ "embed"
	"fmt"
	"path/filepath"

	"github.com/sluicegate/sluice/bench/harness"
)

//go:embed orders.lua
var script []byte

// body is what nginx returns: the answer to a bid, as long as it is with this load.
const body = `{"id":1234567,"allocated":0,"open":50}`

// orders measures bids and sales over HTTP. nginx gets plain GETs, which is the least that wrk can ask for and nginx can answer.
func orders(b *harness.Bench, sluice string, o options) []harness.Verdict {
	plain := harness.Load{Connections: o.conns, Duration: o.length}
	posts := plain
	posts.Args = []string{"-s", b.Write("orders.lua", script)}
	nginx := harness.FreeAddr()
	peer := b.Nginx("static", nginx, fmt.Sprintf(`server { listen %s; location / { default_type application/json; return 200 '%s'; } }`, nginx, body))
	still := &harness.Rival{Subject: harness.Subject{Name: "nginx return 200", URL: "http://" + nginx + "/", Server: peer}, Load: plain}
	durable := startMarket(b, sluice, "durable", posts, o)
	unsynced := startMarket(b, sluice, "unsynced", posts, o, "--no-sync")
	fmt.Printf("sluice market with %d open bids, wrk with %d connections, 19 bids of 10,000 users at 1,000 prices to a sale\n", o.bids, o.conns)
	rivals := []*harness.Rival{still, durable, unsynced}
	harness.Alternate(rivals, o.rounds)
	harness.ReportRivals(rivals)
	return judge(still, durable, unsynced)
}

// startMarket starts a market whose book is filled.
func startMarket(b *harness.Bench, sluice, name string, load harness.Load, o options, args ...string) *harness.Rival {
	dir := filepath.Join(b.Dir, name)
	fill(dir, filling{commands: o.bids, users: 10_000})
	addr := harness.FreeAddr()
	server := b.Start(addr, sluice, append([]string{"market", "--listen", addr, "--admin", "", "--data-dir", dir}, args...)...)
	return &harness.Rival{Subject: harness.Subject{Name: "market, " + name, URL: "http://" + addr + "/", Server: server}, Load: load}
}

func judge(still, durable, unsynced *harness.Rival) []harness.Verdict {
	perSecond := func(r harness.Result) float64 { return r.PerSecond }
	p99 := func(r harness.Result) float64 { return float64(r.P99) }
	beside := harness.Summarize(harness.Ratios(&durable.Subject, &still.Subject, perSecond))
	synced := harness.Summarize(harness.Ratios(&durable.Subject, &unsynced.Subject, perSecond))
	slower := harness.Summarize(harness.Ratios(&durable.Subject, &unsynced.Subject, p99))
	failed := still.Errors() + durable.Errors() + unsynced.Errors()
	return []harness.Verdict{
		harness.AtLeast("durable orders per second, of nginx's return 200", beside, 0.35),
		harness.AtLeast("durable orders per second, of those without syncing", synced, 0.7),
		harness.AtMost("p99 of durable orders, of that without syncing", slower, 2),
		harness.AtMost("requests that failed", harness.Summarize([]float64{float64(failed)}), 0),
	}
}
