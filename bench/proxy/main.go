// Command proxy compares sluice with nginx as a reverse proxy in front of the same nginx origin.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

func main() {
	rounds := flag.Int("rounds", 5, "how often each is measured")
	seconds := flag.Duration("duration", 6*time.Second, "how long each measurement takes")
	conns := flag.Int("connections", 64, "connections of wrk")
	size := flag.Int("bytes", 1024, "size of the response's body")
	peers := flag.Bool("fasthttp", false, "measure a bare proxy on fasthttp as well")
	others := flag.Bool("haproxy", false, "measure haproxy as well")
	serve := flag.String("serve-fasthttp", "", "be that proxy: LISTEN,ORIGIN")
	flag.Parse()
	if *serve != "" {
		listen, origin, _ := strings.Cut(*serve, ",")
		harness.Fatal(fasthttpProxy(listen, origin))
		return
	}
	harness.Need("nginx", "wrk")
	b := harness.New()
	defer b.Close()

	origin, nginx, admin, listen := harness.FreeAddr(), harness.FreeAddr(), harness.FreeAddr(), harness.FreeAddr()
	b.Write("www/index.html", bytes.Repeat([]byte("x"), *size))
	b.Nginx("origin", origin, fmt.Sprintf(`server { listen %s; root %s/www; open_file_cache max=10; }`, origin, b.Dir))
	peer := b.Nginx("proxy", nginx, fmt.Sprintf(`
  upstream origin { server %s; keepalive 128; keepalive_requests 1000000000; }
  server { listen %s; location / {
    proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; } }`, origin, nginx))
	config := b.Write("sluice.yaml", fmt.Appendf(nil, `
listen: %s
admin: {listen: %s, pprof: true}
identify:
  sources: [{header: X-User}, {address: {ipv6_prefix: 64}}]
upstreams:
  origin: {targets: ["http://%s"]}
routes:
  - {path: /*, upstream: origin}
`, listen, admin, origin))
	gateway := b.Start(listen, b.Build("./cmd/sluice"), "serve", "-c", config)

	fmt.Printf("reverse proxy, %d-byte body, wrk with %d connections; profile: http://%s/debug/pprof/profile\n", *size, *conns, admin)
	subjects := []*harness.Subject{
		{Name: "nginx", URL: "http://" + nginx + "/", Server: peer},
		{Name: "sluice", URL: "http://" + listen + "/", Server: gateway},
	}
	versions := []string{"nginx"}
	if *others && harness.Has("haproxy") {
		addr := harness.FreeAddr()
		versions = append(versions, "haproxy")
		subjects = append(subjects, &harness.Subject{Name: "haproxy", URL: "http://" + addr + "/", Server: b.Haproxy(addr, origin)})
	}
	fmt.Println(harness.Versions(versions...))
	if *peers {
		self, err := os.Executable()
		harness.Fatal(err)
		addr := harness.FreeAddr()
		bare := b.Start(addr, self, "-serve-fasthttp", addr+","+origin)
		subjects = append(subjects, &harness.Subject{Name: "fasthttp", URL: "http://" + addr + "/", Server: bare})
	}
	harness.Compare(subjects, harness.Load{Connections: *conns, Duration: *seconds, Args: []string{"-H", "X-User: bench"}}, *rounds)
	harness.Report(subjects)
}
