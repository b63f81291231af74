package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluicegate/sluice/internal/jobs"
)

// Admin answers operators: /metrics, /healthz, /readyz, and the API below /api/v1/. It answers before there is a storage, so that probes can tell
// a node that replays its log from one that is dead. Make one with NewAdmin.
type Admin struct {
	http     http.Server
	registry *prometheus.Registry
	mux      *http.ServeMux
	log      *slog.Logger
	token    string
	server   atomic.Pointer[Server] // nil while the log is replayed
	served   chan struct{}          // closed when the listener is
}

// NewAdmin makes what answers operators. The API, which changes things, asks for token; without one it is for listeners on a loopback address only.
func NewAdmin(token string, log *slog.Logger) *Admin {
	a := &Admin{registry: prometheus.NewRegistry(), mux: http.NewServeMux(), log: log, token: token}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics := promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)})
	a.mux.Handle("GET /metrics", metrics)
	a.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	a.mux.HandleFunc("GET /readyz", a.ready)
	a.mux.Handle("GET /api/v1/quotas", a.guard(http.HandlerFunc(a.listQuotas)))
	a.mux.Handle("PUT /api/v1/quotas", a.guard(http.HandlerFunc(a.setQuota)))
	a.mux.Handle("DELETE /api/v1/quotas", a.guard(http.HandlerFunc(a.unsetQuota)))
	a.http = http.Server{
		Handler: a.mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return a
}

// Registry is where metrics are kept.
func (a *Admin) Registry() *prometheus.Registry { return a.registry }

// MountJobs has api answer below /api/v1/jobs, once there is a storage. Call it before Start.
func (a *Admin) MountJobs(api func(*jobs.Service) http.Handler) {
	h := a.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s := a.storage(w); s != nil {
			api(s.jobs).ServeHTTP(w, r)
		}
	}))
	a.mux.Handle("/api/v1/jobs", h)
	a.mux.Handle("/api/v1/jobs/", h)
}

// Start answers on ln until Stop.
func (a *Admin) Start(ln net.Listener) {
	a.served = make(chan struct{})
	go func() {
		defer close(a.served)
		a.http.Serve(ln)
	}()
}

// Serving says that the storage is there.
func (a *Admin) Serving(v *Server) {
	a.registry.MustRegister(v.storage, v.stage)
	a.server.Store(v)
}

// Stop ends what Start began, and waits for requests until ctx ends.
func (a *Admin) Stop(ctx context.Context) {
	if a.http.Shutdown(ctx) != nil {
		a.http.Close()
	}
	if a.served != nil {
		<-a.served
	}
}

var errStarting = errors.New("starting: the log is not read to its end yet")

func (a *Admin) ready(w http.ResponseWriter, _ *http.Request) {
	err := errStarting
	if v := a.server.Load(); v != nil {
		err = v.Ready()
	}
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ready")
}
