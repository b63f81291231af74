package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sluicegate/sluice/internal/feed"
)

// Bounds of answers that take long: streams of events, and dumps.
const (
	maxLong      = 16               // at once
	writeTimeout = 10 * time.Second // for a client to take some of it
	dumpTimeout  = 2 * time.Minute  // for a client to take a dump
	heartbeat    = 15 * time.Second // after which a stream without events says that it lives

	// A stream sends at most batch events at a time, and waits for pace then: so listening costs little, however much happens.
	batch = 500
	pace  = 50 * time.Millisecond
)

// Bounds of a page of events.
const (
	defaultPage = 100
	maxPage     = 1000
)

// bounded runs an answer that takes long, unless there are too many of those.
func (s *Server) bounded(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.long <- struct{}{}:
			defer func() { <-s.long }()
			answer(w, r)
		default:
			w.Header().Set("Retry-After", "5")
			writeError(w, http.StatusServiceUnavailable, fmt.Sprintf("%d clients are listening already", maxLong))
		}
	}
}

// events answers with a page in JSON if the request says which, or that it wants JSON; and with a stream otherwise.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	accept := r.Header.Get("Accept")
	asked := strings.Contains(accept, "application/json") || q.Has("after") || q.Has("limit")
	if asked && !strings.Contains(accept, "text/event-stream") {
		s.eventPage(w, r)
		return
	}
	s.bounded(s.eventStream)(w, r)
}

// A page is some of the events. Next is the ?after= of the next page.
type page struct {
	Since  time.Time    `json:"since"` // when the feed began: if it changes, the process is another one, and sequences begin anew
	Last   uint64       `json:"last"`  // sequence of the latest event
	Next   uint64       `json:"next"`
	Lost   uint64       `json:"lost"` // events after ?after= that are no longer kept
	Events []feed.Event `json:"events"`
}

// eventPage answers with the events after ?after=, or without that the latest.
func (s *Server) eventPage(w http.ResponseWriter, r *http.Request) {
	f := s.opts.Events
	p := page{Since: f.Since(), Last: f.Last(), Events: []feed.Event{}}
	limit, err := number(r, "limit", defaultPage)
	if err == nil && (limit < 1 || limit > maxPage) {
		err = fmt.Errorf("limit: expected 1 to %d", maxPage)
	}
	after, e := number(r, "after", p.Last-min(p.Last, limit))
	if err := errors.Join(err, e); err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	events, lost := f.Read(after, int(limit))
	p.Next, p.Lost = after, lost
	if len(events) > 0 {
		p.Events, p.Next = events, events[len(events)-1].Seq
		p.Last = max(p.Last, p.Next)
	} else if after > p.Last {
		p.Next = p.Last
	}
	writeJSON(w, http.StatusOK, p)
}

// number is a parameter of the query.
func number(r *http.Request, name string, otherwise uint64) (uint64, error) {
	if !r.URL.Query().Has(name) {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(r.URL.Query().Get(name), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: expected a whole number", name)
	}
	return n, nil
}

// eventStream sends events as they come, as server-sent events (HTML, section 9.2), until the client leaves or the server stops. It begins
// after the one that Last-Event-ID or ?after= names, or without that with the next.
func (s *Server) eventStream(w http.ResponseWriter, r *http.Request) {
	after, err := s.resumeAt(r)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // for proxies that would wait for more
	if r.Method == http.MethodHead {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	st := stream{feed: s.opts.Events, out: http.NewResponseController(w), w: w, after: after}
	st.run(ctx)
}

// resumeAt is the sequence after which a stream begins.
func (s *Server) resumeAt(r *http.Request) (uint64, error) {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		after, err := strconv.ParseUint(id, 10, 64)
		if err != nil {
			return 0, errors.New("Last-Event-ID: expected the id of an event, a whole number")
		}
		return after, nil
	}
	return number(r, "after", s.opts.Events.Last())
}

// A stream is one listener's.
type stream struct {
	feed  *feed.Feed
	w     http.ResponseWriter
	out   *http.ResponseController
	after uint64
	buf   bytes.Buffer
}

// run sends until ctx ends or the client is gone.
func (s *stream) run(ctx context.Context) {
	fmt.Fprintf(&s.buf, ": the feed began at %s\n\n", s.feed.Since().UTC().Format(time.RFC3339Nano))
	pause := time.NewTicker(pace)
	defer pause.Stop()
	for s.send() {
		s.wait(ctx)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		s.fill()
	}
}

// wait waits for events, but no longer than the client should hear nothing.
func (s *stream) wait(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	s.feed.Wait(ctx, s.after)
}

// fill takes the events that are there, or a heartbeat.
func (s *stream) fill() {
	events, lost := s.feed.Read(s.after, batch)
	if lost > 0 {
		fmt.Fprintf(&s.buf, "event: lost\ndata: {\"lost\":%d}\n\n", lost)
	}
	for _, e := range events {
		data, err := json.Marshal(e)
		if err != nil { // the publisher's mistake; the sequence shows that one is missing
			continue
		}
		fmt.Fprintf(&s.buf, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Kind, data)
	}
	if len(events) == 0 {
		s.buf.WriteString(": heartbeat\n\n")
		return
	}
	s.after = events[len(events)-1].Seq
}

// send reports false if the client doesn't take it.
func (s *stream) send() bool {
	s.out.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := s.w.Write(s.buf.Bytes())
	s.buf.Reset()
	return err == nil && s.out.Flush() == nil
}

// arrivals answers with what is recorded of arrivals, to train a flush policy on.
func (s *Server) arrivals(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="arrivals.csv"`)
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(dumpTimeout))
	if err := s.opts.Arrivals.WriteCSV(w); err != nil {
		s.opts.Log.Debug("a client didn't take the arrivals", "error", err)
	}
}
