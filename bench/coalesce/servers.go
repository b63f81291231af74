package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

// servers are the processes that are measured.
type servers struct {
	bench         *harness.Bench
	sluice        string // the program
	listen, admin string // the gateway's
	origin        string
	gateway       *exec.Cmd
	config        string
}

// start starts an origin that answers at once unless a URL asks for something else, and the gateway in front of it. Its routes differ
// in how they share, and in nothing else.
func start(b *harness.Bench) *servers {
	s := &servers{bench: b, listen: harness.FreeAddr(), admin: harness.FreeAddr(), origin: harness.FreeAddr()}
	s.sluice = b.Build("./cmd/sluice")
	b.Start(s.origin, s.sluice, "origin", "--listen", s.origin)
	s.config = fmt.Sprintf(`
listen: %s
admin: {listen: %s, pprof: true}
max_connections: 5000
upstreams:
  origin: {targets: ["http://%s"], timeouts: {header: 30s}}
routes:
  - {path: /alone/*, upstream: origin}
  - {path: /again/*, upstream: origin}
  - {path: /hot/*, upstream: origin, coalesce: {policy: immediate, freshness: relaxed}, cache: {max_ttl: 1s}}
`, s.listen, s.admin, s.origin)
	for _, r := range routes() {
		s.config += fmt.Sprintf("  - {path: %s/*, upstream: origin, coalesce: {policy: %s, freshness: %s}}\n", r.path(), r.policy, r.freshness)
	}
	s.gateway = b.Start(s.listen, s.sluice, "serve", "-c", b.Write("sluice.yaml", []byte(s.config)))
	return s
}

// route is one that shares.
type route struct{ policy, freshness string }

func (r route) path() string { return "/" + r.policy + "-" + r.freshness }

var (
	strict  = route{"immediate", "strict"}
	relaxed = route{"immediate", "relaxed"}
)

// routes are all that share, of one freshness and then of the other.
func routes() (all []route) {
	for _, freshness := range []string{"strict", "relaxed"} {
		for _, policy := range []string{"immediate", "timer", "size", "balance", "threshold", "ppo"} {
			all = append(all, route{policy, freshness})
		}
	}
	return all
}

// counts are those of the origin for one path.
type counts struct {
	Served      int `json:"served"`
	InFlight    int `json:"in_flight"`
	MaxInFlight int `json:"max_in_flight"`
}

// count is what the origin has counted for the path.
func (s *servers) count(path string) counts {
	resp, err := http.Get("http://" + s.origin + "/_origin/stats")
	harness.Fatal(err)
	defer resp.Body.Close()
	var stats struct{ Paths map[string]counts }
	harness.Fatal(json.NewDecoder(resp.Body).Decode(&stats))
	return stats.Paths[path]
}

// quiet waits until the origin has no call for the path. When a load ends, its last clients leave without their answers, and the gateway gives
// up the call that nobody waits for any more; the origin goes on with it, and it is not to be counted beside the next one.
func (s *servers) quiet(path string) {
	for s.count(path).InFlight > 0 {
		time.Sleep(10 * time.Millisecond)
	}
}

// reset has the origin count from nothing.
func (s *servers) reset() {
	resp, err := http.Post("http://"+s.origin+"/_origin/reset", "", nil)
	harness.Fatal(err)
	resp.Body.Close()
}
