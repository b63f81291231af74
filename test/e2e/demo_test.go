package e2e_test

import (
	"encoding/json"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// demo runs `sluice demo` and returns the URLs that it prints: the gateway, the origin, the admin listener.
func demo(t *testing.T, args ...string) (p *process, gateway, origin, admin string) {
	t.Helper()
	p = start(t, append([]string{"demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...)...)
	p.awaitOutput(&p.stdout, `ctrl-C`)
	urls := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindAllString(p.stdout.String(), -1)
	if len(urls) < 4 {
		t.Fatalf("expected URLs in %s", p.stdout.String())
	}
	return p, urls[2], urls[3], urls[0] // the dashboard comes first, twice
}

// originServed asks `sluice origin` how many requests it has served.
func originServed(t *testing.T, url string) int64 {
	t.Helper()
	var stats struct{ Served int64 }
	r := get(t, url+"/_origin/stats")
	if err := json.Unmarshal([]byte(r.body), &stats); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
	return stats.Served
}

func TestDemo(t *testing.T) {
	t.Parallel()
	p, url, origin, admin := demo(t)
	get(t, url+"/hello").expect(t, 200, `"path":"/hello"`)
	await(t, "traffic to reach the origin", func() bool { return originServed(t, origin) > 10 })
	g := &gateway{process: p, url: url, admin: admin}
	await(t, "named clients in the metrics", func() bool {
		return len(g.metrics()["sluice_client_requests_total"].GetMetric()) > 2
	})
	await(t, "alice to go beyond her limit", func() bool {
		return g.metric("sluice_limit_decisions_total", "rule", "client", "outcome", "refused") > 0
	})
	get(t, url+"/mine", "X-User", "bob").expect(t, 200, "/mine")
	get(t, admin+"/api/v1/limits").expect(t, 200, `"name": "client"`)
	get(t, admin+"/healthz").expect(t, 200, "ok")
	await(t, "jobs and trade on the dashboard", func() bool {
		shown := get(t, admin+"/api/v1/live").body
		return strings.Contains(shown, `"done": `) && !strings.Contains(shown, `"done": 0,`) && strings.Contains(shown, `"username": `)
	})
	p.signal(syscall.SIGINT)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d after ctrl-C", code)
	}
}

func TestDemoWithoutTraffic(t *testing.T) {
	t.Parallel()
	p, url, origin, _ := demo(t, "--no-traffic")
	for range 10 {
		get(t, url+"/mine").expect(t, 200, "/mine")
	}
	if n := originServed(t, origin); n != 10 {
		t.Errorf("%d requests reached the origin, expected the 10 of this test", n)
	}
	await(t, "alice's limit", func() bool { return get(t, url+"/mine", "X-User", "alice").StatusCode == 429 })
	get(t, url+"/mine", "X-User", "bob").expect(t, 200, "/mine")
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A second ctrl-C ends the demo although a request is still in flight.
func TestDemoSecondSignal(t *testing.T) {
	t.Parallel()
	p, url, _, admin := demo(t, "--no-traffic")
	c := dial(t, strings.TrimPrefix(url, "http://"))
	c.send("GET /?sleep=10m HTTP/1.1\r\nHost: e2e\r\n\r\n")
	g := &gateway{process: p, url: url, admin: admin}
	await(t, "the request to be in flight", func() bool { return g.metric("sluice_requests_in_flight") == 1 })
	p.signal(syscall.SIGINT)
	await(t, "/readyz to fail", func() bool { return get(t, admin+"/readyz").StatusCode == http.StatusServiceUnavailable })
	p.signal(syscall.SIGINT)
	p.endedBy(syscall.SIGINT)
}

func TestDemoPortTaken(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := start(t, "demo", "--listen", ln.Addr().String(), "--admin", "127.0.0.1:0")
	if code := p.wait(); code != 1 || !strings.Contains(p.stderr.String(), "address already in use") {
		t.Errorf("exit code %d with %s", code, p.stderr.String())
	}
}
