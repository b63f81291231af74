package e2e_test

import (
	"strings"
	"testing"
)

func TestAdmin(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, echo)}))
	for range 3 {
		get(t, g.url+"/counted").expect(t, 200, "GET")
	}
	get(t, g.admin+"/").expect(t, 200, "/readyz")
	get(t, g.admin+"/healthz").expect(t, 200, "ok")
	get(t, g.admin+"/readyz").expect(t, 200, "ready")
	get(t, g.admin+"/api/v1/version").expect(t, 200, "{")
	get(t, g.admin+"/api/v1/status").expect(t, 200, `"draining": false`)
	get(t, g.admin+"/nothing").expect(t, 404, "")
	get(t, g.admin+"/api/v1/reload").expect(t, 405, "")
	get(t, g.admin+"/debug/pprof/").expect(t, 404, "")
	get(t, g.admin+"/debug/pprof/goroutine").expect(t, 404, "")
	get(t, g.url+"/metrics").expect(t, 200, "GET /metrics") // the clients' listener serves none of it

	m := g.metrics()
	for _, name := range []string{
		"sluice_build_info", "sluice_requests_total", "sluice_request_duration_seconds", "sluice_requests_in_flight",
		"sluice_connections_open", "sluice_connections_accepted_total", "sluice_client_requests_total",
		"sluice_upstream_calls_total", "sluice_upstream_in_flight", "sluice_upstream_healthy", "go_goroutines",
		"process_open_fds",
	} {
		if m[name] == nil {
			t.Errorf("/metrics has no %s", name)
		}
	}
	if n := g.metric("sluice_request_duration_seconds", "route", "/*"); n != 4 {
		t.Errorf("the latency histogram has %v requests, expected 4", n)
	}
}

func TestPProf(t *testing.T) {
	t.Parallel()
	g := serveFile(t, "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0, pprof: true}\n"+inFront([]string{serveHTTP(t, echo)}))
	get(t, g.admin+"/debug/pprof/").expect(t, 200, "goroutine")
	get(t, g.admin+"/debug/pprof/goroutine?debug=1").expect(t, 200, "goroutine profile: total")
}

func TestAdminToken(t *testing.T) {
	t.Parallel()
	g := serveFile(t, "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0, token: s3cret, pprof: true}\n"+inFront([]string{serveHTTP(t, echo)}))
	for _, path := range []string{"/", "/metrics", "/api/v1/status", "/debug/pprof/", "/nothing"} {
		for _, fields := range [][]string{nil, {"Authorization", "Bearer wrong"}, {"Authorization", "Basic s3cret"}, {"Authorization", "Bearer"}} {
			r := get(t, g.admin+path, fields...)
			r.expect(t, 401, "token")
			if !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s: WWW-Authenticate is %q", path, r.Header.Get("WWW-Authenticate"))
			}
		}
	}
	do(t, "POST", g.admin+"/api/v1/reload", "").expect(t, 401, "token")
	for _, path := range []string{"/metrics", "/api/v1/status", "/debug/pprof/"} {
		get(t, g.admin+path, "Authorization", "Bearer s3cret").expect(t, 200, "")
	}
	do(t, "POST", g.admin+"/api/v1/reload", "", "Authorization", "bearer s3cret").expect(t, 200, "reloaded")
	get(t, g.admin+"/healthz").expect(t, 200, "ok") // probes carry no token
	get(t, g.admin+"/readyz").expect(t, 200, "ready")
	if strings.Contains(g.stderr.String(), "s3cret") {
		t.Error("the token is in the log")
	}
}

// Beyond the machine itself the admin listener needs a token.
func TestAdminElsewhereNeedsToken(t *testing.T) {
	t.Parallel()
	config := inFront([]string{serveHTTP(t, echo)})
	path := t.TempDir() + "/sluice.yaml"
	for _, listen := range []string{"0.0.0.0:0", "'[::]:0'", "':0'"} {
		writeFile(t, path, "listen: 127.0.0.1:0\nadmin: {listen: "+listen+"}\n"+config)
		p := start(t, "serve", "-c", path)
		if code := p.wait(); code != 1 || !strings.Contains(p.stderr.String(), path+":2:") || !strings.Contains(p.stderr.String(), "token") {
			t.Errorf("%s: exit code %d with %s", listen, code, p.stderr.String())
		}
	}
	writeFile(t, path, "listen: 127.0.0.1:0\nadmin: {listen: 0.0.0.0:0, token: s3cret}\n"+config)
	p := start(t, "serve", "-c", path)
	p.awaitOutput(&p.stderr, `sluice is serving`)
}

// A page of another site cannot make the browser of an operator act.
func TestCrossSiteRequestsAreRefused(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, echo)}))
	for _, fields := range [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Origin", "https://evil.example"},
		{"Origin", "null"},
	} {
		if r := do(t, "POST", g.admin+"/api/v1/reload", "", fields...); r.StatusCode != 403 {
			t.Errorf("%v: got %s with %s, expected 403", fields, r.Status, r.body)
		}
	}
	if n := g.metric("sluice_config_reloads_total", "result", "success"); n != 0 {
		t.Errorf("%v reloads", n)
	}
	do(t, "POST", g.admin+"/api/v1/reload", "", "Sec-Fetch-Site", "same-origin").expect(t, 200, "reloaded")
}
