// Command counter compares `sluice counter` with an nginx that returns a fixed body of the same size.
package main

import (
	"flag"
	"fmt"
	"path/filepath"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

// body is what the counter answers after some seconds of this load: seven digits.
const body = `{"requestCount":1234567}`

func main() {
	rounds := flag.Int("rounds", 5, "how often each is measured")
	seconds := flag.Duration("duration", 6*time.Second, "how long each measurement takes")
	conns := flag.Int("connections", 64, "connections of wrk")
	flag.Parse()
	harness.Need("nginx", "wrk")
	b := harness.New()
	defer b.Close()

	nginx, sluice := harness.FreeAddr(), harness.FreeAddr()
	peer := b.Nginx("static", nginx, fmt.Sprintf(`server { listen %s; location / {
    default_type "application/json; charset=utf-8"; return 200 '%s'; } }`, nginx, body))
	counter := b.Start(sluice, b.Build("./cmd/sluice"), "counter", "--listen-address", sluice,
		"--persistence-file", filepath.Join(b.Dir, "persistence.bin"))

	fmt.Println(harness.Versions("nginx"))
	fmt.Printf("counter, %d-byte body, wrk with %d connections\n", len(body), *conns)
	subjects := []*harness.Subject{
		{Name: "nginx return 200", URL: "http://" + nginx + "/", Server: peer},
		{Name: "sluice counter", URL: "http://" + sluice + "/", Server: counter},
	}
	harness.Compare(subjects, harness.Load{Connections: *conns, Duration: *seconds}, *rounds)
	harness.Report(subjects)
}
