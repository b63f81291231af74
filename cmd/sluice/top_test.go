package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/live"
)

// A node as `sluice top` asks it.
func liveNode(t *testing.T) string {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/live", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			w.Write([]byte(`{"detail": "the admin token is missing or wrong"}`))
			return
		}
		json.NewEncoder(w).Encode(&live.Snapshot{Node: live.Node{Listen: "http://here"}, Point: live.Point{Requests: 7}})
	})
	mux.HandleFunc("GET /api/v1/live/stream", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("event: history\ndata: [{\"p50_ms\":1}]\n\n: nothing\n\nevent: snapshot\ndata: {\"now\":{\"p50_ms\":2}}\n\n"))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func TestTopOnce(t *testing.T) {
	url := liveNode(t)
	ask := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := run(context.Background(), append([]string{"top", "--once", "--admin", url}, args...), &out, &errs)
		return code, out.String(), errs.String()
	}
	if code, out, errs := ask("--token", "s3cret"); code != 0 || !strings.Contains(out, "requests 7.00/s") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	code, out, errs := ask("--token", "s3cret", "--json")
	var s live.Snapshot
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 || s.Point.Requests != 7 {
		t.Errorf("%d %v %s %s", code, err, out, errs)
	}
	if code, out, errs := ask(); code != 1 || out != "" || !strings.Contains(errs, "token is missing") {
		t.Errorf("%d %s %s", code, out, errs)
	}
}

func TestLiveStream(t *testing.T) {
	stream := &liveStream{&adminAPI{base: liveNode(t)}}
	var points []live.Point
	var snapshots []*live.Snapshot
	err := stream.Follow(t.Context(), func(p []live.Point) { points = p }, func(s *live.Snapshot) { snapshots = append(snapshots, s) })
	if err == nil || isRefusal(err) {
		t.Errorf("a stream that ends may be asked for again: %v", err)
	}
	if len(points) != 1 || points[0].P50 != 1 || len(snapshots) != 1 || snapshots[0].Point.P50 != 2 {
		t.Errorf("%+v %+v", points, snapshots)
	}
}
