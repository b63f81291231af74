package market

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Admin answers operators: /metrics, /healthz and /readyz. It answers before there is a market, so that probes can tell a node that replays its
// log from one that is dead. Make one with NewAdmin.
type Admin struct {
	http     http.Server
	registry *prometheus.Registry
	server   atomic.Pointer[Server] // nil while the log is replayed
	served   chan struct{}          // closed when the listener is
}

// NewAdmin makes what answers operators. dir is the directory whose size is reported.
func NewAdmin(dir string, log *slog.Logger) *Admin {
	a := &Admin{registry: prometheus.NewRegistry()}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sluice_market_data_bytes", Help: "Size of the files below --data-dir: the log, if it is embedded, and snapshots.",
		}, func() float64 { return float64(sizeOf(dir)) }))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", a.ready)
	a.http = http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return a
}

// Start answers on ln until Stop.
func (a *Admin) Start(ln net.Listener) {
	a.served = make(chan struct{})
	go func() {
		defer close(a.served)
		a.http.Serve(ln)
	}()
}

// Serving says that the market is there.
func (a *Admin) Serving(m *Market, s *Server) {
	a.registry.MustRegister(m)
	a.server.Store(s)
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

func (a *Admin) ready(w http.ResponseWriter, _ *http.Request) {
	err := errors.New("starting: the log is not read to its end yet")
	if s := a.server.Load(); s != nil {
		err = s.Ready()
	}
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ready")
}

// sizeOf adds up the sizes of the files below dir. Files that are gone before they are looked at count as nothing.
func sizeOf(dir string) (size int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size
}
