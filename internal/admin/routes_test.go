package admin_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/admin"
)

// endpointsOf are those that a problem lists.
func endpointsOf(t *testing.T, body string) []string {
	t.Helper()
	var p struct{ Endpoints []string }
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(err)
	}
	return p.Endpoints
}

func TestNothingHere(t *testing.T) {
	url := serve(t, admin.Options{})
	for _, path := range []string{"/nothing", "/api/v1/limit", "/api/v1/status/", "/debug/pprof/", "/healthz/x"} {
		resp, body := ask(t, "GET", url+path)
		expectProblem(t, resp, body, 404, "endpoints lists")
		if all := endpointsOf(t, body); !slices.Contains(all, "GET /healthz") || !slices.Contains(all, "DELETE /api/v1/limits/overrides") ||
			slices.Contains(all, "/debug/pprof/") {
			t.Errorf("%s: lists %q", path, all)
		}
	}
	for _, c := range []struct{ method, path, allow string }{
		{"GET", "/api/v1/reload", "POST"},
		{"DELETE", "/api/v1/status", "GET, HEAD"},
		{"PATCH", "/api/v1/limits/overrides", "GET, PUT, DELETE, HEAD"},
		{"POST", "/", "GET, HEAD"},
		{"POST", "/healthz", "GET, HEAD"},
	} {
		resp, body := ask(t, c.method, url+c.path)
		expectProblem(t, resp, body, 405, "expected the method")
		if allow := resp.Header.Get("Allow"); allow != c.allow {
			t.Errorf("%s %s: allows %q, expected %q", c.method, c.path, allow, c.allow)
		}
	}
}

// What is listed is there, and who has no token is not told.
func TestEndpoints(t *testing.T) {
	url := serve(t, admin.Options{PProf: true})
	_, index := ask(t, "GET", url+"/")
	_, body := ask(t, "GET", url+"/nothing")
	for _, e := range endpointsOf(t, body) {
		_, path, found := strings.Cut(e, " ")
		if !found {
			path = e
		}
		if !strings.Contains(index, path) {
			t.Errorf("%s is not in the index", e)
		}
	}
	if resp, _ := ask(t, "GET", url+"/debug/pprof/"); resp.StatusCode != 200 {
		t.Errorf("profiles: %s", resp.Status)
	}
	resp, body := ask(t, "GET", serve(t, admin.Options{Token: "s3cret"})+"/nothing")
	expectProblem(t, resp, body, 401, "token")
	if all := endpointsOf(t, body); all != nil {
		t.Errorf("lists %q without a token", all)
	}
}
