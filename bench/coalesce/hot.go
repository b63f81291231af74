package main

import (
	"fmt"

	"github.com/sluicegate/sluice/bench/harness"
)

const hotConns = 64

// hot compares with nginx on a URL that both keep for a second.
func hot(s *servers, o options) []verdict {
	addr := harness.FreeAddr()
	peer := s.bench.Nginx("cache", addr, fmt.Sprintf(`
  proxy_cache_path %[1]s/cache keys_zone=hot:10m;
  upstream origin { server %[2]s; keepalive 128; keepalive_requests 1000000000; }
  server { listen %[3]s; location / {
    proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_cache hot; proxy_cache_lock on; proxy_ignore_headers Cache-Control; proxy_cache_valid 200 1s; } }`, s.bench.Dir, s.origin, addr))
	target := fmt.Sprintf("?sleep=%v&bytes=1024&cache=max-age=60", o.latency)
	fmt.Printf("\none URL kept for 1 s, body of 1 KiB, wrk with %d connections\n", hotConns)
	subjects := []*harness.Subject{
		{Name: "nginx proxy_cache", URL: "http://" + addr + "/hot/nginx" + target, Server: peer},
		{Name: "sluice", URL: "http://" + s.listen + "/hot/sluice" + target, Server: s.gateway},
	}
	s.reset()
	harness.Compare(subjects, harness.Load{Connections: hotConns, Duration: o.length}, o.rounds)
	harness.Report(subjects)
	fmt.Printf("calls at the origin: nginx %d, sluice %d, at once at most %d\n", s.count("/hot/nginx").Served, s.count("/hot/sluice").Served, s.count("/hot/sluice").MaxInFlight)
	ratio := subjects[1].Rate() / subjects[0].Rate()
	return []verdict{{"requests per second of a hot URL, to nginx's", fmt.Sprintf("%.2f", ratio), "≥ 1.0", ratio >= 1}}
}
