package admin_test

import (
	"bufio"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/internal/admin"
	"github.com/sluicegate/sluice/internal/live"
)

func sampler() *live.Sampler {
	return live.New(live.Options{Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler), Node: live.Node{ID: "abc"}})
}

// The page is for browsers, and holds nothing that the token protects.
func TestPage(t *testing.T) {
	url := serve(t, admin.Options{Token: "s3cret", Live: sampler()})
	resp, page := ask(t, "GET", url+"/", "Accept", "text/html,*/*;q=0.8")
	if resp.StatusCode != 200 || !strings.Contains(page, "<title>Sluice</title>") || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	for _, file := range []string{"app.js", "api.js", "dom.js", "chart.js", "style.css", "icon.svg"} {
		resp, body := ask(t, "GET", url+"/ui/"+file)
		if resp.StatusCode != 200 || len(body) == 0 || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %s %v", file, resp.Status, resp.Header)
		}
	}
	if resp, _ := ask(t, "GET", url+"/ui/nothing"); resp.StatusCode != 404 {
		t.Errorf("a file that is not there: %s", resp.Status)
	}
	resp, body := ask(t, "GET", url+"/")
	expectProblem(t, resp, body, 401, "token")
	resp, body = ask(t, "GET", url+"/api/v1/live", "Accept", "text/html")
	expectProblem(t, resp, body, 401, "token")
	if _, index := ask(t, "GET", url+"/", "Authorization", "Bearer s3cret"); !strings.Contains(index, "/api/v1/live") {
		t.Errorf("programs get %q", index)
	}
}

func TestLive(t *testing.T) {
	s := sampler()
	url := serve(t, admin.Options{Live: s})
	_, body := ask(t, "GET", url+"/api/v1/live?history")
	var got live.Snapshot
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Node.ID != "abc" {
		t.Errorf("%v: %s", err, body)
	}
	resp, err := http.Get(url + "/api/v1/live/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, want := range []string{"event: history", "data: ", "", "event: snapshot", "data: {"} {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), want) {
			t.Fatalf("%q, expected %q; %v", lines.Text(), want, lines.Err())
		}
	}
}
