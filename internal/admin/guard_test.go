package admin_test

import (
	"context"
	"testing"

	"github.com/sluicegate/sluice/internal/admin"
)

// TestOwnHost asks as a page would whose name leads to the listener by DNS rebinding.
func TestOwnHost(t *testing.T) {
	open, closed := serve(t, admin.Options{}), serve(t, admin.Options{Token: "s3cret"})
	for _, host := range []string{"localhost", "LocalHost:8081", "localhost.:80", "127.0.0.1", "127.0.0.1:1", "10.0.0.1:8081", "[::1]", "[::1]:8081"} {
		if resp, body := ask(t, "GET", open+"/api/v1/status", "Host", host); resp.StatusCode != 200 {
			t.Errorf("%s: %s with %s", host, resp.Status, body)
		}
	}
	for _, host := range []string{"evil.example", "evil.example:8081", "127.0.0.1.evil.example", "localhost.evil.example:80", "evillocalhost", "[evil]"} {
		for _, path := range []string{"/", "/metrics", "/healthz", "/readyz", "/api/v1/status", "/nothing"} {
			resp, body := ask(t, "GET", open+path, "Host", host)
			expectProblem(t, resp, body, 403, "set admin.token")
		}
		if resp, body := ask(t, "GET", closed+"/api/v1/status", "Host", host, "Authorization", "Bearer s3cret"); resp.StatusCode != 200 {
			t.Errorf("%s with a token: %s with %s", host, resp.Status, body)
		}
	}
}

func TestCrossSite(t *testing.T) {
	for _, opts := range []admin.Options{{}, {Token: "s3cret"}} {
		reloads := 0
		opts.Reload = func(context.Context) error { reloads++; return nil }
		url := serve(t, opts)
		for _, field := range [][2]string{
			{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}, {"Origin", "http://127.0.0.1:1"},
		} {
			for _, call := range [][2]string{{"POST", "/api/v1/reload"}, {"PUT", "/api/v1/limits/overrides"}, {"DELETE", "/api/v1/limits/overrides"}} {
				resp, body := ask(t, call[0], url+call[1], field[0], field[1], "Authorization", "Bearer s3cret")
				expectProblem(t, resp, body, 403, "another site")
			}
		}
		if reloads != 0 {
			t.Errorf("%d reloads for other sites", reloads)
		}
		for _, field := range [][2]string{{"Sec-Fetch-Site", "same-origin"}, {"Origin", url}, {"X-None", ""}} {
			if resp, body := ask(t, "POST", url+"/api/v1/reload", field[0], field[1], "Authorization", "Bearer s3cret"); resp.StatusCode != 200 {
				t.Errorf("%v: %s with %s", field, resp.Status, body)
			}
		}
		if reloads != 3 {
			t.Errorf("%d reloads, expected 3", reloads)
		}
	}
}
