package main

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sluicegate/sluice/bench/harness"
)

//go:embed report.lua
var reportScript []byte

//go:embed object.lua
var objectScript []byte

// answer is what nginx returns: as long as what a job is accepted with.
const answer = `{"id":"01kaq5e6wjm9cvgw8x1s0cfa4n","queue":"/reports","tenant":"127.0.0.1","state":"queued","attempts":0,"max_attempts":8,` +
	`"accepted":"2026-11-22T06:00:00.018Z"}`

// accepted measures requests that are in the log, synced, before they are answered with 202. nginx gets plain GETs, which is the least that wrk can
// ask for and nginx can answer.
func accepted(b *harness.Bench, sluice string, o options) []harness.Verdict {
	plain := harness.Load{Connections: o.conns, Duration: o.length}
	post := plain
	post.Args = []string{"-s", b.Write("report.lua", reportScript)}
	orders := plain
	orders.Args = []string{"-s", b.Write("object.lua", objectScript)}

	static, quick := harness.FreeAddr(), harness.FreeAddr()
	peer := b.Nginx("static", static, fmt.Sprintf(`server { listen %s; location / { default_type application/json; return 200 '%s'; } }`, static, answer))
	b.Nginx("origin", quick, fmt.Sprintf(`server { listen %s; location / { return 204; } }`, quick))
	piling := serve(b, sluice, "piling", newGate().addr, workers)
	working := serve(b, sluice, "working", quick, workers)
	records, stored := store(b, sluice, "records", 1), store(b, sluice, "store", 16)

	rivals := []*harness.Rival{
		{Subject: harness.Subject{Name: "nginx return 200", URL: "http://" + static + "/", Server: peer}, Load: plain},
		{Subject: harness.Subject{Name: "sluice serve, piling up", URL: piling.url, Server: piling.server}, Load: post, Rests: true},
		{Subject: harness.Subject{Name: "sluice serve, at work", URL: working.url, Server: working.server}, Load: post, Rests: true},
		{Subject: harness.Subject{Name: "sluice store, 1 worker", URL: records.url, Server: records.server}, Load: orders, Rests: true},
		{Subject: harness.Subject{Name: "sluice store, 16 workers", URL: stored.url, Server: stored.server}, Load: orders, Rests: true},
	}
	fmt.Printf("durable jobs over HTTP, wrk with %d connections; profiles: %s/debug/pprof/profile (piling up), %s (at work)\n", o.conns, piling.admin, working.admin)
	harness.Alternate(rivals, o.rounds)
	harness.ReportRivals(rivals)
	for _, n := range []struct {
		name string
		node
	}{{"piling up", piling}, {"at work", working}, {"1 worker", records}, {"16 workers", stored}} {
		b.Wake(n.server)
		fmt.Printf("%-10s  %7d jobs were done meanwhile, and %7d are queued\n", n.name, n.count("done"), n.count("queued"))
		b.End(n.server)
	}
	return judge(rivals)
}

// store starts a storage in which nobody is over a quota or a limit.
func store(b *harness.Bench, sluice, name string, workers int) node {
	listen, admin := harness.FreeAddr(), harness.FreeAddr()
	server := b.Start(listen, sluice, "store", "--listen", listen, "--admin", admin, "--data-dir", filepath.Join(b.Dir, name),
		"--queue", "5000000", "--workers", fmt.Sprint(workers))
	n := node{server, "http://" + listen + "/", "http://" + admin}
	n.ready()
	set := exec.Command(sluice, "quota", "set", "--default", "--admin", n.admin, "--bytes", "1000TB", "--rate", "1000000/min")
	set.Stderr = os.Stderr
	harness.Fatal(set.Run())
	return n
}

// judge holds the requests that pile up against the bar: those at work share the processors with the work that they ask for.
func judge(rivals []*harness.Rival) (all []harness.Verdict) {
	still, failed := &rivals[0].Subject, 0
	perSecond := func(r harness.Result) float64 { return r.PerSecond }
	for i, r := range rivals {
		failed += r.Errors()
		if i == 0 {
			continue
		}
		what := strings.TrimPrefix(r.Name, "sluice ") + ": durable jobs a second, of nginx's return 200"
		ratio := harness.Summarize(harness.Ratios(&r.Subject, still, perSecond))
		if i == 1 {
			all = append(all, harness.AtLeast(what, ratio, 0.25))
		} else {
			all = append(all, harness.Told(what, ratio))
		}
	}
	return append(all, harness.AtMost("requests that failed", harness.Summarize([]float64{float64(failed)}), 0))
}
