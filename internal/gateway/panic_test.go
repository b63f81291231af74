package gateway

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/internal/arrivals"
	"github.com/sluicegate/sluice/internal/feed"
	"github.com/sluicegate/sluice/internal/meter"
)

// faultyLog keeps records, and panics when it is to keep the message fault.
type faultyLog struct {
	fault string
	mu    *sync.Mutex
	kept  *[]map[string]any
}

func (faultyLog) Enabled(context.Context, slog.Level) bool { return true }
func (l faultyLog) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l faultyLog) WithGroup(string) slog.Handler          { return l }
func (l faultyLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == l.fault {
		panic("a test")
	}
	entry := map[string]any{"msg": r.Message}
	r.Attrs(func(a slog.Attr) bool { entry[a.Key] = a.Value.Any(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.kept = append(*l.kept, entry)
	return nil
}

// A defect that shows when the response has begun is in the metrics and in both logs, as any other request is.
func TestPanicWithinResponse(t *testing.T) {
	broken := target(t, func(nc net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello")
	})
	cfg := parse(t, "upstreams:\n\tu: {targets: [\"http://%s\"]}\nroutes: [{path: /*, upstream: u}]\nlog: {access: true}\n", broken)
	log := faultyLog{"response broken off", new(sync.Mutex), new([]map[string]any)}
	counts, err := meter.Open(&cfg.Meter, meter.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer counts.Close()
	reg := prometheus.NewRegistry()
	g := New(cfg, Options{Meter: counts, Feed: feed.New(16), Arrivals: arrivals.New(arrivals.Options{}), Log: slog.New(log), Metrics: reg})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(ln) }()

	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, "GET /x HTTP/1.1\r\nHost: h\r\nX-Request-Id: its-id\r\n\r\n")
	if rest, err := io.ReadAll(nc); err == nil {
		t.Errorf("the response looks whole: %q", rest)
	}
	if err := g.Shutdown(t.Context()); err != nil { // waits for the connection's goroutine
		t.Error(err)
	}
	<-served

	values := gather(t, reg)
	for name, want := range map[string]float64{
		"sluice_requests_total none 5xx": 1, "sluice_request_duration_seconds none": 1, "sluice_requests_in_flight": 0, "sluice_handler_panics_total": 1,
	} {
		if values[name] != want {
			t.Errorf("%s is %v, expected %v", name, values[name], want)
		}
	}
	seen := map[any]bool{}
	for _, entry := range *log.kept {
		if entry["request_id"] == "its-id" {
			seen[entry["msg"]] = true
		}
		if entry["msg"] == "request" && entry["status"] != int64(500) {
			t.Errorf("the access log says %v", entry)
		}
	}
	if !seen["a handler panicked"] || !seen["request"] {
		t.Errorf("logged %v", *log.kept)
	}
}
