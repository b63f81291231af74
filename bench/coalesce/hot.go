package main

import (
	"fmt"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

const hotConns = 64

// hot compares with nginx on a URL that both keep for a second: with the cache's lock alone, and with all that nginx has to be faster. The
// bar is the first, where nginx, like sluice here, answers nothing stale.
func hot(s *servers, o options) []verdict {
	target := fmt.Sprintf("?sleep=%v&bytes=1024&cache=max-age=60", o.latency)
	fmt.Printf("\none URL kept for 1 s, body of 1 KiB, wrk with %d connections\n", hotConns)
	subjects := []*harness.Subject{
		nginx(s, "lock", target, ""),
		{Name: "sluice", URL: "http://" + s.listen + "/hot/sluice" + target, Server: s.gateway},
		nginx(s, "tuned", target, "proxy_cache_use_stale updating; open_file_cache max=100;"),
	}
	if o.varnish && harness.Has("varnishd") {
		addr := harness.FreeAddr()
		subjects = append(subjects, &harness.Subject{Name: "varnish", URL: "http://" + addr + "/hot/varnish" + target, Server: s.bench.Varnish(addr, s.origin, time.Second)})
	}
	s.reset()
	harness.Compare(subjects, harness.Load{Connections: hotConns, Duration: o.length}, o.rounds)
	harness.Report(subjects)
	fmt.Printf("calls at the origin: nginx lock %d, sluice %d, nginx tuned %d\n", s.count("/hot/lock").Served, s.count("/hot/sluice").Served, s.count("/hot/tuned").Served)
	if o.varnish {
		fmt.Printf("calls at the origin: varnish %d\n", s.count("/hot/varnish").Served)
	}
	ratio := subjects[1].Rate() / subjects[0].Rate()
	return []verdict{
		{"requests per second of a hot URL, to nginx's", fmt.Sprintf("%.2f", ratio), "≥ 1.0", ratio >= 1},
		atMost("calls in flight at once for the hot URL", s.count("/hot/sluice").MaxInFlight, 1),
	}
}

// nginx is one that keeps what the origin answers for a second, whatever the answer says, as the gateway does by its max_ttl.
func nginx(s *servers, name, target, more string) *harness.Subject {
	addr := harness.FreeAddr()
	cmd := s.bench.Nginx(name, addr, fmt.Sprintf(`
  proxy_cache_path %[1]s/%[2]s-cache keys_zone=hot:10m; %[3]s
  upstream origin { server %[4]s; keepalive 128; keepalive_requests 1000000000; }
  server { listen %[5]s; location / {
    proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_cache hot; proxy_cache_lock on; proxy_ignore_headers Cache-Control; proxy_cache_valid 200 1s; } }`, s.bench.Dir, name, more, s.origin, addr))
	return &harness.Subject{Name: "nginx " + name, URL: "http://" + addr + "/hot/" + name + target, Server: cmd}
}
