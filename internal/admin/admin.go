// Package admin is what operators talk to: health, readiness, metrics, profiles, and an API in JSON. It is served by
// net/http on a listener of its own, away from the traffic.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/internal/arrivals"
	"github.com/sluicegate/sluice/internal/feed"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/live"
	"github.com/sluicegate/sluice/internal/meter"
	"github.com/sluicegate/sluice/internal/version"
)

// Options say what there is to administrate.
type Options struct {
	Token   string // must come as "Authorization: Bearer TOKEN" with every request but the probes; "" asks for none
	PProf   bool   // serve /debug/pprof/
	Metrics prometheus.Gatherer
	Log     *slog.Logger

	Ready  func() (ok bool, text string, verbose any) // what /readyz answers, in one line and in JSON
	Limits *limit.Stage
	Status func() any                      // what /api/v1/status answers
	Reload func(ctx context.Context) error // applies the configuration file anew

	// Meters lists what /api/v1/meters answers. Its error is a *meter.QueryError or wraps meter.ErrUnreachable.
	Meters func(ctx context.Context, q meter.Query) (*meter.Page, error)

	Jobs       *jobs.Service                                              // what /api/v1/jobs answers from; nil: there are none
	JobRequest func(ctx context.Context, id jobs.ID) (*JobRequest, error) // what a job that isn't done keeps; nil: nobody knows

	Events   *feed.Feed         // what /api/v1/events tells; nil: it isn't there
	Arrivals *arrivals.Recorder // what /api/v1/arrivals dumps; likewise
	Live     *live.Sampler      // what /api/v1/live tells; likewise
}

// ErrNoFile is what Reload returns when there is no file to read.
var ErrNoFile = errors.New("there is no configuration file to reload: this process was started without one")

// Server is the admin listener. Make one with New.
type Server struct {
	opts Options
	http http.Server

	long     chan struct{}   // filled by the answers under way that take long
	stopping context.Context // ends when the server is to stop
}

// New makes a server. Nothing is served before Serve.
func New(opts Options) *Server {
	stopping, stop := context.WithCancel(context.Background())
	s := &Server{opts: opts, long: make(chan struct{}, maxLong), stopping: stopping}
	s.http = http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(opts.Log.Handler(), slog.LevelDebug),
	}
	s.http.RegisterOnShutdown(stop)
	return s
}

// Serve answers on ln until Shutdown.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown stops the server, and waits for its requests until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// ready answers with 200 or 503: a line, or JSON with ?verbose.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ok, text, verbose := s.opts.Ready()
	status := http.StatusOK
	if !ok {
		status = http.StatusServiceUnavailable
	}
	if r.URL.Query().Has("verbose") {
		writeJSON(w, status, verbose)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	w.Write([]byte(text + "\n"))
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, version.Get())
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.opts.Status())
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	switch err := s.opts.Reload(r.Context()); {
	case err == nil:
		writeJSON(w, http.StatusOK, map[string]string{"status": "reloaded"})
	case errors.Is(err, ErrNoFile):
		writeError(w, http.StatusConflict, err.Error())
	default:
		writeError(w, http.StatusUnprocessableEntity, err.Error())
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(v)
}

// writeError answers with an RFC 9457 problem whose title is its status.
func writeError(w http.ResponseWriter, status int, detail string) {
	writeProblem(w, status, map[string]any{"detail": detail})
}

// writeProblem is writeError with members of its own.
func writeProblem(w http.ResponseWriter, status int, members map[string]any) {
	members["type"], members["title"], members["status"] = "about:blank", http.StatusText(status), status
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(members)
}
