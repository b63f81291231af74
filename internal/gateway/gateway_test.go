package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/internal/arrivals"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/feed"
	"github.com/sluicegate/sluice/internal/meter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// collect gathers what c counts, by its labels.
func collect(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	return gather(t, reg)
}

func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

// target is a server that a test scripts byte by byte.
func target(t testing.TB, script func(nc net.Conn, r *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, nc)
			mu.Unlock()
			all.Go(func() { defer nc.Close(); script(nc, bufio.NewReader(nc)) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, nc := range conns {
			nc.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return ln.Addr().String()
}

// named is a target that answers every request with its name, and counts connections and whole requests.
type named struct {
	addr            string
	conns, requests atomic.Int64
}

func newNamed(t *testing.T, name string) *named {
	n := new(named)
	n.addr = target(t, func(nc net.Conn, r *bufio.Reader) {
		n.conns.Add(1)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			n.requests.Add(1)
			fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(name), name)
		}
	})
	return n
}

// gate is a running gateway.
type gate struct {
	*Gateway
	addr string
	reg  *prometheus.Registry
}

func parse(t testing.TB, yaml string, args ...any) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(fmt.Sprintf(strings.ReplaceAll(yaml, "\t", "  "), args...)), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func start(t testing.TB, cfg *config.Config, options ...func(*Options)) *gate {
	t.Helper()
	reg := prometheus.NewRegistry()
	log := slog.New(slog.DiscardHandler)
	counts, err := meter.Open(&cfg.Meter, meter.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(counts.Close)
	o := Options{Meter: counts, Feed: feed.New(16), Arrivals: arrivals.New(arrivals.Options{}), Log: log, Metrics: reg}
	for _, option := range options {
		option(&o)
	}
	g := &gate{New(cfg, o), "", reg}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- g.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := g.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		<-served
		if n := g.server.Stats().Panics; n > 0 {
			t.Errorf("%d panics", n)
		}
	})
	return g
}

// ask sends raw on a connection of its own and reads the first final response.
func (g *gate) ask(t *testing.T, raw string) (*http.Response, string) {
	t.Helper()
	nc, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	io.WriteString(nc, raw)
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatalf("%.80q: no response: %v", raw, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%.80q: %v", raw, err)
	}
	return resp, string(body)
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n" }

// No spelling of a path gets around the route that it belongs to.
func TestRoutes(t *testing.T) {
	admin, exact, rest := newNamed(t, "admin"), newNamed(t, "exact"), newNamed(t, "rest")
	g := start(t, parse(t, `
upstreams:
	admin: {targets: ["http://%s"]}
	exact: {targets: ["http://%s"]}
	rest: {targets: ["http://%s"]}
routes:
	- {path: /admin/*, upstream: admin}
	- {path: /exact, methods: [GET], upstream: exact}
	- {path: /rest/*, upstream: rest}
`, admin.addr, exact.addr, rest.addr))
	const refused = "refused" // with 400: what the path means depends on who reads it
	for _, tt := range []struct{ request, want string }{
		{get("/admin/"), "admin"}, {get("/admin/x"), "admin"}, {get("//admin/x"), "admin"}, {get("/./admin/x"), refused},
		{get("/rest/../admin/x"), refused}, {get("/rest/%2e%2e/admin/x"), refused}, {get("/%61dmin/x"), "admin"},
		{get("/rest/..%2fadmin/x"), refused}, {get("/admin%2fx"), "admin"}, {get("/rest/x/.%2E/../admin//"), refused},
		{get("http://other/admin/x"), "admin"}, {get("/admin/x?/../../rest/"), "admin"},
		{get("/exact"), "exact"}, {get("/exact?x"), "exact"}, {get("/%65xact"), "exact"}, {get("/rest/../exact"), refused},
		{get("/exact/"), ""}, {get("/exactly"), ""}, {strings.Replace(get("/exact"), "GET", "DELETE", 1), ""},
		{strings.Replace(get("/exact"), "GET", "get", 1), ""},
		{get("/admin"), ""}, {get("/"), ""}, {get("/ADMIN/"), ""}, {get("/rest/../../admin/x"), refused}, {get("/rest/%zz"), refused}, {get("/rest/%"), refused},
		{get("/rest/x"), "rest"}, {get("/rest/%252e%252e/admin/"), "rest"}, {get("/admin/../rest/"), refused},
	} {
		resp, body := g.ask(t, tt.request)
		status, fails := map[string]int{"": 404, refused: 400}[tt.want]
		if fails && resp.StatusCode != status || !fails && body != tt.want {
			t.Errorf("%.60q: %s %q, want %q", tt.request, resp.Status, body, tt.want)
		}
	}
}

// Every error of the gateway's own is a problem with its type and the request's id.
func TestProblems(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().String()
	ln.Close()
	mute := target(t, func(nc net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) })
	lost := target(t, func(nc net.Conn, r *bufio.Reader) { http.ReadRequest(r) })
	bad := target(t, func(nc net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
	})
	g := start(t, parse(t, `
max_uri: 100B
upstreams:
	closed: {targets: ["http://%s"]}
	mute: {targets: ["http://%s"], timeouts: {header: 20ms}}
	lost: {targets: ["http://%s"]}
	bad: {targets: ["http://%s"]}
	sick: {targets: ["http://%[1]s"], health: {path: /, interval: 3s, unhealthy_after: 1, healthy_after: 2}}
routes:
	- {path: /closed, upstream: closed}
	- {path: /mute, upstream: mute, max_body: 10B}
	- {path: /lost, upstream: lost}
	- {path: /bad, upstream: bad}
	- {path: /sick, upstream: sick}
`, closed, mute, lost, bad))
	for end := time.Now().Add(patience); g.settings.Load().pools["sick"].Available(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the target that is not there is never unhealthy")
		}
	}
	tests := []struct {
		request string
		status  int
		name    string
		close   bool
		retry   string
	}{
		{"GET / HTTP/1.1\r\nX-Request-Id: mine\r\n\r\n", 400, "bad-request", true, ""},
		{"GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: mine\r\nX : y\r\n\r\n", 400, "bad-request", true, ""},
		{get("/nowhere"), 404, "no-route", false, ""},
		{"POST /mute HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n12345678901", 413, "body-too-large", false, ""},
		{"POST /mute HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n", 413, "body-too-large", false, ""},
		{"POST /mute HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\n1\r\n0\r\n\r\n", 400, "bad-request", true, ""},
		{get("/" + strings.Repeat("a", 100)), 414, "uri-too-long", true, ""},
		{"GET / HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r\n", 417, "expectation-failed", true, ""},
		{"GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("a", 20<<10) + "\r\n\r\n", 431, "header-too-large", true, ""},
		{"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", 501, "not-implemented", true, ""},
		{get("/closed"), 502, "upstream-unreachable", false, ""},
		{get("/lost"), 502, "upstream-unreachable", false, ""},
		{get("/bad"), 502, "upstream-bad-response", false, ""},
		{get("/sick"), 503, "upstream-unavailable", false, "6"},
		{get("/mute"), 504, "upstream-timeout", false, ""},
	}
	for _, tt := range tests {
		resp, body := g.ask(t, tt.request)
		var p struct {
			Type, Title string
			Status      int
			Detail      string
			RequestID   string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Errorf("%.60q: %s %q: %v", tt.request, resp.Status, body, err)
			continue
		}
		if resp.StatusCode != tt.status || p.Status != tt.status || !strings.HasSuffix(p.Type, "#"+tt.name) || p.Title == "" || p.Detail == "" {
			t.Errorf("%.60q: %s %+v, want %d %s", tt.request, resp.Status, p, tt.status, tt.name)
		}
		if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("%.60q: Content-Type %s", tt.request, ct)
		}
		id := resp.Header.Get("X-Request-Id")
		if id == "" || id != p.RequestID || strings.Contains(tt.request, "mine") && strings.Contains(tt.request, "Host") && id != "mine" {
			t.Errorf("%.60q: request id %q, in the body %q", tt.request, id, p.RequestID)
		}
		if resp.Header.Get("Retry-After") != tt.retry || tt.close && !resp.Close {
			t.Errorf("%.60q: Retry-After %q, close %v, want %q, %v", tt.request, resp.Header.Get("Retry-After"), resp.Close, tt.retry, tt.close)
		}
	}
}

// What net/http would let through, or read in another way than others, never reaches a target as a whole request.
func TestNothingIsSmuggled(t *testing.T) {
	n := newNamed(t, "n")
	g := start(t, parse(t, "upstreams:\n\tn: {targets: [\"http://%s\"]}\nroutes:\n\t- {path: /*, upstream: n}\n", n.addr))
	const head = "POST / HTTP/1.1\r\nHost: h\r\n"
	const second = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
	for _, raw := range []string{
		head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second,
		head + "Content-Length: 0\r\nContent-Length: 37\r\n\r\n" + second,
		head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + second,
		head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + second,
		head + "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second,
		head + "Transfer-Encoding: chunked\r\n\r\n1;\n\r\nx\r\n0\r\n\r\n" + second,
		head + "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + second,
		head + "Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n" + second,
		head + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length : 5\r\n\r\n" + second,
	} {
		resp, _ := g.ask(t, raw)
		if resp.StatusCode != 400 || !resp.Close {
			t.Errorf("%q: %s, close %v", raw, resp.Status, resp.Close)
		}
	}
	if got := n.requests.Load(); got != 0 {
		t.Errorf("the target got %d requests", got)
	}
}

// A new configuration leaves an unchanged upstream its pool and its connections, and clients theirs.
func TestApply(t *testing.T) {
	same, other := newNamed(t, "same"), newNamed(t, "other")
	const yaml = `
upstreams:
	same: {targets: ["http://%s"]}
	other: {targets: ["http://%s"], timeouts: {header: %ds}}
routes:
	- {path: /same, upstream: same}
	- {path: /other, upstream: other}
`
	g := start(t, parse(t, yaml, same.addr, other.addr, 10))
	nc, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(nc)
	before := g.settings.Load().pools
	for i := range 5 {
		for _, path := range []string{"/same", "/other"} {
			io.WriteString(nc, get(path))
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(resp.Body); "/"+string(body) != path {
				t.Errorf("%s: %q", path, body)
			}
		}
		g.Apply(parse(t, yaml, same.addr, other.addr, 11+i))
	}
	after := g.settings.Load().pools
	if before["same"] != after["same"] || before["other"] == after["other"] {
		t.Error("the unchanged upstream got a new pool, or the changed one kept its own")
	}
	if n := same.conns.Load(); n != 1 {
		t.Errorf("%d connections to the unchanged upstream, want 1", n)
	}
	g.Apply(parse(t, "upstreams:\n\tsame: {targets: [\"http://%s\"]}\nroutes:\n\t- {path: /same, upstream: same}\n", same.addr))
	if resp, _ := g.ask(t, get("/other")); resp.StatusCode != 404 {
		t.Errorf("a route that is gone: %s", resp.Status)
	}
}

func TestMetrics(t *testing.T) {
	n := newNamed(t, "n")
	g := start(t, parse(t, `
identify: {max_names: 2, sources: [{header: X-Client}]}
upstreams:
	n: {targets: ["http://%s"]}
routes:
	- {path: /n, upstream: n}
`, n.addr))
	for _, client := range []string{"a", "b", "a", "c", "d"} {
		g.ask(t, "GET /n HTTP/1.1\r\nHost: h\r\nX-Client: "+client+"\r\n\r\n")
	}
	g.ask(t, get("/nowhere"))
	want := map[string]float64{
		"sluice_requests_total /n 2xx":                 5,
		"sluice_requests_total none 4xx":               1,
		"sluice_request_duration_seconds /n":           5,
		"sluice_client_requests_total a":               2,
		"sluice_client_requests_total b":               1,
		"sluice_client_requests_total other":           3,
		"sluice_requests_in_flight":                    0,
		"sluice_connections_accepted_total":            6,
		"sluice_upstream_calls_total " + n.addr + " n": 5,
	}
	g.expect(t, want)
}

// expect waits for metrics: a request is counted after its client has the answer.
func (g *gate) expect(t *testing.T, want map[string]float64) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got := gather(t, g.reg)
		wrong := ""
		for name, v := range want {
			if got[name] != v {
				wrong = fmt.Sprintf("%s is %v, want %v", name, got[name], v)
			}
		}
		if wrong == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatal(wrong)
		}
	}
}
