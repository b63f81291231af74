// Command limit measures what the limit stage costs: two routes of one gateway that lead to the same upstream, one with
// two rules and one without, driven in turn. Rounds are short and many, and every other one goes the other way round, since the
// difference is smaller than what a shared machine's speed drifts within a minute.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"slices"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

func main() {
	rounds := flag.Int("rounds", 20, "how often each is measured")
	seconds := flag.Duration("duration", 2*time.Second, "how long each measurement takes")
	conns := flag.Int("connections", 64, "connections of wrk")
	size := flag.Int("bytes", 1024, "size of the response's body")
	flag.Parse()
	harness.Need("nginx", "wrk")
	b := harness.New()
	defer b.Close()

	origin, admin, listen := harness.FreeAddr(), harness.FreeAddr(), harness.FreeAddr()
	for _, file := range []string{"www/without", "www/limited"} { // names of one length
		b.Write(file, bytes.Repeat([]byte("x"), *size))
	}
	b.Nginx("origin", origin, fmt.Sprintf(`server { listen %s; root %s/www; open_file_cache max=10; }`, origin, b.Dir))
	config := b.Write("sluice.yaml", fmt.Appendf(nil, `
listen: %s
admin: {listen: %s, pprof: true}
identify:
  sources: [{header: X-User}, {address: {ipv6_prefix: 64}}]
limits:
  everyone: {rate: 10000000/s, burst: 1000000, per: global}
  client: {rate: 1000000/s, burst: 100000}
upstreams:
  origin: {targets: ["http://%s"]}
routes:
  - {path: /limited, upstream: origin, limits: [everyone, client]}
  - {path: /without, upstream: origin}
`, listen, admin, origin))
	gateway := b.Start(listen, b.Build("./cmd/sluice"), "serve", "-c", config)

	fmt.Println(harness.Versions("nginx"))
	fmt.Printf("a route with two limits and one without, %d-byte body, wrk with %d connections; profile: http://%s/debug/pprof/profile\n",
		*size, *conns, admin)
	load := harness.Load{Connections: *conns, Duration: *seconds, Args: []string{"-H", "X-User: bench"}}
	pair := []*harness.Subject{
		{Name: "without", URL: "http://" + listen + "/without", Server: gateway},
		{Name: "limited", URL: "http://" + listen + "/limited", Server: gateway},
	}
	for round := range *rounds + 1 {
		first := round % 2
		pair[first].Measure(load)
		pair[1-first].Measure(load)
		if round == 0 { // to warm up
			pair[0].Runs, pair[1].Runs = nil, nil
		}
	}
	report(pair[0], pair[1])
}

func report(without, limited *harness.Subject) {
	harness.Report([]*harness.Subject{without, limited})
	var throughput, cpu []float64
	for i := range without.Runs {
		throughput = append(throughput, 1-limited.Runs[i].PerSecond/without.Runs[i].PerSecond)
		cpu = append(cpu, (limited.Runs[i].CPU - without.Runs[i].CPU).Seconds())
	}
	base, more := without.CPU().Seconds(), median(cpu)
	fmt.Printf("\nmedian of %d pairs: the limit stage costs %.1f %% of the throughput,\n", len(cpu), 100*median(throughput))
	fmt.Printf("and %.2f µs of the gateway's CPU time per request, beside %.2f µs without: %.1f %%\n", more*1e6, base*1e6, 100*more/base)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
