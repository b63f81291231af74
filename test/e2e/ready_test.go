package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
)

// readiness reads /readyz?verbose: the status, whether it says ready, and the upstreams with whether they are available.
func (g *gateway) readiness() string {
	g.t.Helper()
	r := get(g.t, g.admin+"/readyz?verbose")
	var answer struct {
		Ready, Draining bool
		Upstreams       []struct {
			Name         string
			Available    bool
			HealthChecks bool `json:"health_checks"`
		}
	}
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
		g.t.Fatalf("%s: %v", r.body, err)
	}
	text := fmt.Sprint(r.StatusCode, " ", answer.Ready)
	for _, u := range answer.Upstreams {
		text += fmt.Sprintf(" %s:%v,%v", u.Name, u.Available, u.HealthChecks)
	}
	return text
}

// One upstream after the other goes: first the one with health checks, then, by ejection, the one without.
func TestReadyNamesUpstreams(t *testing.T) {
	t.Parallel()
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	g := serve(t, fmt.Sprintf(`upstreams:
  checked: {targets: ["%s"], health: {path: /, interval: 20ms, unhealthy_after: 1}}
  plain: {targets: ["%s", "%s"], eject: {failures: 1, for: 1h}, retries: {max: 0}}
  single: {targets: ["%s"], eject: {failures: 1, for: 1h}, retries: {max: 0}}
routes:
  - {path: /single, upstream: single}
  - {path: /*, upstream: plain}
`, nobody(t), serveHTTP(t, abort), serveHTTP(t, abort), nobody(t)))
	await(t, "the health checks to fail", func() bool { return g.readiness() == "200 true checked:false,true plain:true,false single:true,false" })
	if r := get(t, g.admin+"/readyz"); r.body != "ready; no healthy target: checked\n" {
		t.Errorf("got %q", r.body)
	}
	for range 3 {
		get(t, g.url+"/single").expectProblem(t, 502, "upstream-unreachable") // without health checks and others to turn to, it stays
	}
	for range 4 {
		get(t, g.url).expectProblem(t, 502, "upstream-unreachable")
	}
	if got := g.readiness(); got != "200 true checked:false,true plain:false,false single:true,false" {
		t.Errorf("got %s", got)
	}
	if r := get(t, g.admin+"/readyz"); r.body != "ready; no healthy target: checked, plain\n" {
		t.Errorf("got %q", r.body)
	}
}

// When none is available the answer is 503 and names them all.
func TestNotReady(t *testing.T) {
	t.Parallel()
	g := serve(t, fmt.Sprintf(`upstreams:
  b: {targets: ["%s"], health: {path: /, interval: 20ms, unhealthy_after: 1}}
  a: {targets: ["%s"], health: {path: /, interval: 20ms, unhealthy_after: 1}}
routes:
  - {path: /*, upstream: a}
`, nobody(t), nobody(t)))
	await(t, "the health checks to fail", func() bool { return g.readiness() == "503 false b:false,true a:false,true" })
	if r := get(t, g.admin+"/readyz"); r.StatusCode != 503 || r.body != "no healthy target: b, a\n" {
		t.Errorf("%s with %q", r.Status, r.body)
	}
}
