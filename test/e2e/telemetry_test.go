package e2e_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// A call that requests share is told in every way there is.
func TestTelemetry(t *testing.T) {
	t.Parallel()
	g := serveFile(t, "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0}\n"+upstream([]string{serveHTTP(t, echo)})+
		"routes: [{path: /*, upstream: app, coalesce: {policy: timer, hold: 1ms}}]\n")
	get(t, g.url+"/thing").expect(t, 200, "GET")

	events := stream(t, g.admin+"/api/v1/events?after=0")
	var e struct {
		Seq  int
		Kind string
		Data struct {
			Route, Reason, Key string
			Size, Answered     int
		}
	}
	if err := json.Unmarshal([]byte(events()), &e); err != nil {
		t.Fatal(err)
	}
	if d := e.Data; e.Seq != 1 || e.Kind != "flush" || d.Route != "/*" || d.Reason != "timer" || len(d.Key) != 16 || d.Size != 1 || d.Answered != 1 {
		t.Errorf("the event is %+v", e)
	}
	get(t, g.admin+"/api/v1/events", "Accept", "application/json").expect(t, 200, `"kind": "flush"`)
	get(t, g.admin+"/api/v1/arrivals").expect(t, 200, ",/*,0.000\n")
	if n := g.metric("sluice_flushes_total", "reason", "timer"); n != 1 {
		t.Errorf("%v calls counted, expected 1", n)
	}
	for _, name := range []string{
		"sluice_flush_batch_size", "sluice_flush_batch_age_seconds", "sluice_upstream_calls_saved_total", "sluice_policy_fallbacks_total",
		"sluice_coalesce_errors_total", "sluice_coalesce_slots", "sluice_coalesce_calls_in_flight", "sluice_coalesce_waiters",
		"sluice_coalesce_held_bytes", "sluice_coalesce_keys",
	} {
		if g.metrics()[name] == nil {
			t.Errorf("/metrics has no %s", name)
		}
	}
}

// stream opens a stream of events, and returns a function that waits for the next one's data.
func stream(t *testing.T, url string) func() string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := newClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	in := bufio.NewReader(resp.Body)
	return func() string {
		t.Helper()
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				return data
			}
		}
	}
}
