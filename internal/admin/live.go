package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/sluicegate/sluice/internal/live"
)

// glance answers with the latest snapshot, and with ?history with the points of the last minutes too.
func (s *Server) glance(w http.ResponseWriter, r *http.Request) {
	current, _ := s.opts.Live.Current()
	answer := struct {
		*live.Snapshot
		History []live.Point `json:"history,omitempty"`
	}{Snapshot: current}
	if r.URL.Query().Has("history") {
		answer.History = s.opts.Live.History()
	}
	writeJSON(w, http.StatusOK, answer)
}

// liveStream sends snapshots as they are made, as server-sent events: first "history" with the points of the last minutes, then "snapshot" once
// a second. A client that is slow misses some, and gets the latest.
func (s *Server) liveStream(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // for proxies that would wait for more
	if r.Method == http.MethodHead {
		return
	}
	out := http.NewResponseController(w)
	send := func(kind string, v any) bool {
		var buf bytes.Buffer
		fmt.Fprintf(&buf, "event: %s\ndata: ", kind)
		json.NewEncoder(&buf).Encode(v) // on one line, which it ends
		buf.WriteByte('\n')
		out.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, err := w.Write(buf.Bytes())
		return err == nil && out.Flush() == nil
	}
	current, next := s.opts.Live.Current()
	for ok := send("history", s.opts.Live.History()) && send("snapshot", current); ok; ok = send("snapshot", current) {
		select {
		case <-next:
		case <-r.Context().Done():
			return
		case <-s.stopping.Done():
			return
		}
		current, next = s.opts.Live.Current()
	}
}
