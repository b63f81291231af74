package upstream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// settings are generous, so that no test depends on them by accident.
func settings(targets ...string) *config.Upstream {
	u := &config.Upstream{
		Name:      "u",
		Balance:   config.LeastLoaded,
		Host:      config.HostPreserve,
		Timeouts:  config.UpstreamTimeouts{Connect: patience, Header: patience, Idle: time.Hour},
		KeepAlive: config.KeepAlive{MaxIdle: 10, Idle: time.Hour},
	}
	for _, t := range targets {
		u.Targets = append(u.Targets, &url.URL{Scheme: "http", Host: t})
	}
	return u
}

// target is a server that a test scripts byte by byte: script gets every connection.
func target(t *testing.T, script func(c *wire)) string {
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
			all.Go(func() { defer nc.Close(); script(newWire(nc)) })
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

// wire is either end of a connection.
type wire struct {
	*net.TCPConn
	r *bufio.Reader
}

func newWire(nc net.Conn) *wire {
	nc.SetDeadline(time.Now().Add(patience))
	return &wire{nc.(*net.TCPConn), bufio.NewReader(nc)}
}

func (w *wire) send(format string, args ...any) { fmt.Fprintf(w, format, args...) }

// head reads a head as it is on the wire, "" at the end of the connection.
func (w *wire) head() string {
	var head strings.Builder
	for {
		line, err := w.r.ReadString('\n')
		if err != nil {
			return ""
		}
		head.WriteString(line)
		if line == "\r\n" {
			return head.String()
		}
	}
}

// answers reads requests with their bodies and answers every one with a body.
func answers(body string) func(w *wire) {
	return func(w *wire) {
		for {
			r, err := http.ReadRequest(w.r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			w.send("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body))
			if r.Method != "HEAD" {
				w.send("%s", body)
			}
		}
	}
}

// front is a server that hands its requests to a pool, and passes on what comes back.
type front struct {
	*upstream.Pool
	t      *testing.T
	addr   string
	hop    upstream.Hop
	failed atomic.Pointer[upstream.Error] // the last failure
	busy   atomic.Int64                   // handlers at work
}

func newFront(t *testing.T, cfg *config.Upstream) *front {
	t.Helper()
	f := &front{Pool: upstream.New(cfg, slog.New(slog.DiscardHandler)), t: t}
	f.hop = upstream.Hop{Peer: netip.MustParseAddr("192.0.2.1"), RequestID: []byte("id")}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	s := http1.NewServer(http1.Limits{
		MaxConns: 100, MaxHeader: 16 << 10, MaxURI: 8 << 10,
		HeaderTimeout: patience, IdleTimeout: patience, BodyTimeout: patience, WriteTimeout: patience,
	}, slog.New(slog.DiscardHandler), f.handle)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		<-served
		if n := s.Stats().Panics; n > 0 {
			t.Errorf("%d handlers panicked", n)
		}
		f.Pool.Close()
		for _, target := range f.Status().Targets {
			if target.InFlight != 0 || target.Idle != 0 {
				t.Errorf("%s: %d calls and %d idle connections are left", target.Address, target.InFlight, target.Idle)
			}
		}
	})
	return f
}

func (f *front) handle(x *http1.Exchange) {
	f.busy.Add(1)
	defer f.busy.Add(-1)
	if x.Refusal != nil {
		x.Begin(x.Refusal.Status, nil)
		x.Respond(nil)
		return
	}
	call, failure := f.Do(of(x), &f.hop)
	if failure != nil {
		f.failed.Store(failure)
		x.Begin(599, []byte("failed"))
		x.AddString("X-Kind", failure.Kind.Label())
		x.Respond(nil)
		return
	}
	defer call.Close()
	if err := pass(x, call); err != nil {
		x.Abort()
	}
}

// of is the request of a client.
func of(x *http1.Exchange) *upstream.Request {
	return &upstream.Request{Request: &x.Request, Body: &x.Body, Start: x.Start, From: x}
}

// pass passes a response on, simply.
func pass(x *http1.Exchange, call *upstream.Call) error {
	resp := call.Response()
	for resp.Status < 200 && !resp.Upgraded() {
		x.Interim(resp.Status, resp.Reason, resp.Fields)
		if err := call.NextInterim(); err != nil {
			x.Begin(598, []byte("failed late"))
			return x.Respond([]byte(err.Error()))
		}
	}
	x.Begin(resp.Status, resp.Reason)
	x.AddString("X-Target", call.Target())
	x.EndHead(resp.Length)
	for {
		x.Flush()
		p, err := call.Body().Next()
		if err == io.EOF {
			return x.Finish(call.Body().Trailer())
		}
		if err != nil {
			return err
		}
		x.Write(p)
	}
}

// dial connects a client.
func (f *front) dial() *wire {
	f.t.Helper()
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { nc.Close() })
	return newWire(nc)
}

// reply is what a client got.
type reply struct {
	status       int
	kind, target string
	body         string
	err          error // of the body
}

// ask sends a request on a connection of its own.
func (f *front) ask(format string, args ...any) reply {
	f.t.Helper()
	c := f.dial()
	defer c.Close()
	c.send(format, args...)
	return f.reply(c)
}

func (f *front) reply(c *wire) reply {
	f.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		f.t.Errorf("no response: %v", err)
		return reply{err: err}
	}
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header.Get("X-Kind"), resp.Header.Get("X-Target"), string(body), err}
}

const (
	get  = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
)

// eventually waits for cond to become true.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// closedPort is an address that refuses connections.
func closedPort(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestRoundRobin(t *testing.T) {
	cfg := settings(target(t, answers("a")), target(t, answers("b")), target(t, answers("c")))
	cfg.Balance = config.RoundRobin
	f := newFront(t, cfg)
	got := map[string]int{}
	for range 30 {
		got[f.ask(get).body]++
	}
	if got["a"] != 10 || got["b"] != 10 || got["c"] != 10 {
		t.Errorf("%v, want ten each", got)
	}
}

func TestLeastLoaded(t *testing.T) {
	arrived, release := make(chan string), make(chan struct{})
	hold := func(name string) string {
		return target(t, func(w *wire) {
			w.head()
			arrived <- name
			<-release
			w.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		})
	}
	f := newFront(t, settings(hold("a"), hold("b"), hold("c")))
	got := map[string]int{}
	for range 12 {
		f.dial().send(get)
		got[<-arrived]++
	}
	close(release)
	if got["a"] != 4 || got["b"] != 4 || got["c"] != 4 {
		t.Errorf("%v at once, want four each", got)
	}
}

func TestRetryOnAnotherTarget(t *testing.T) {
	lose := target(t, func(w *wire) { w.head() })
	tests := []struct {
		name, first, request string
		retries              int
		budget               config.Percent
		want                 reply
	}{
		{"GET, lost", lose, get, 1, 100, reply{status: 200, body: "ok"}},
		{"PUT with its body at hand, lost", lose, strings.Replace(post, "POST", "PUT", 1), 1, 100, reply{status: 200, body: "ok"}},
		{"POST, lost", lose, post, 1, 100, reply{status: 599, kind: "lost"}},
		{"GET, refused", closedPort(t), get, 1, 100, reply{status: 200, body: "ok"}},
		{"POST, refused", closedPort(t), post, 1, 100, reply{status: 200, body: "ok"}},
		{"upgrade, lost", lose, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 1, 100, reply{status: 599, kind: "lost"}},
		{"no retries", lose, get, 0, 100, reply{status: 599, kind: "lost"}},
		{"no budget", lose, get, 1, 0, reply{status: 599, kind: "lost"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			good := target(t, answers("ok"))
			cfg := settings(tt.first, good)
			cfg.Balance = config.RoundRobin
			cfg.Retries = config.Retries{Max: tt.retries, Budget: tt.budget}
			f := newFront(t, cfg)
			var seen bool
			for range 2 { // one of the two begins at the bad target
				got := f.ask("%s", tt.request)
				if got.target == good && tt.want.status != 200 {
					continue // it began at the good one
				}
				got.target = ""
				if got != tt.want {
					t.Errorf("%+v, want %+v", got, tt.want)
				}
				seen = true
			}
			if !seen {
				t.Error("the bad target was never tried")
			}
		})
	}
}

// When every target fails, a request is tried Max times more, on a target each, and then fails.
func TestRetriesEnd(t *testing.T) {
	var tries atomic.Int64
	lose := func() string { return target(t, func(w *wire) { w.head(); tries.Add(1) }) }
	cfg := settings(lose(), lose(), lose(), lose())
	cfg.Retries = config.Retries{Max: 2, Budget: 100}
	f := newFront(t, cfg)
	if got := f.ask(get); got.kind != "lost" {
		t.Errorf("%+v, want lost", got)
	}
	if n := tries.Load(); n != 3 {
		t.Errorf("tried %d times, want 3", n)
	}
	cfg = settings(lose(), lose())
	cfg.Retries = config.Retries{Max: 10, Budget: 100}
	tries.Store(0)
	if got := newFront(t, cfg).ask(get); got.kind != "lost" {
		t.Errorf("%+v, want lost", got)
	}
	if n := tries.Load(); n != 2 {
		t.Errorf("tried %d times, want every target once", n)
	}
}

// The retries of many failing requests stay within the budget and its reserve.
func TestRetryBudget(t *testing.T) {
	lose := func() string { return target(t, func(w *wire) { w.head() }) }
	cfg := settings(lose(), lose())
	cfg.Retries = config.Retries{Max: 1, Budget: 10}
	f := newFront(t, cfg)
	for range 100 {
		f.ask(get)
	}
	if n := f.Status().Retries; n < 15 || n > 20 {
		t.Errorf("%d retries of 100 requests, want about ten, and a reserve of ten", n)
	}
}

func TestEjection(t *testing.T) {
	var failing atomic.Bool
	failing.Store(true)
	ok := answers("ok")
	flaky := target(t, func(w *wire) {
		if failing.Load() {
			return
		}
		ok(w)
	})
	cfg := settings(flaky, target(t, answers("ok")))
	cfg.Balance = config.RoundRobin
	cfg.Retries = config.Retries{Max: 1, Budget: 100}
	cfg.Eject = config.Eject{Failures: 3, For: time.Hour}
	f := newFront(t, cfg)
	for range 20 {
		if got := f.ask(get); got.status != 200 {
			t.Fatalf("%+v", got)
		}
	}
	status := f.Status().Targets[0]
	if !status.Ejected || status.Healthy || status.Ejections != 1 || status.Calls != 3 {
		t.Errorf("%+v, want it ejected after 3 calls", status)
	}
	if !f.Available() {
		t.Error("not available, with one good target")
	}
}

// A lonely target is never ejected, and when all are, they are tried all the same.
func TestEjectionIsNoOutage(t *testing.T) {
	for _, n := range []int{1, 2} {
		var failing atomic.Bool
		failing.Store(true)
		ok := answers("ok")
		var targets []string
		for range n {
			targets = append(targets, target(t, func(w *wire) {
				if !failing.Load() {
					ok(w)
				}
			}))
		}
		cfg := settings(targets...)
		cfg.Eject = config.Eject{Failures: 1, For: time.Hour}
		f := newFront(t, cfg)
		for range 5 {
			f.ask(get)
		}
		failing.Store(false)
		if got := f.ask(get); got.status != 200 {
			t.Errorf("%d targets: %+v", n, got)
		}
	}
}

func TestHealthChecks(t *testing.T) {
	var sick [2]atomic.Bool
	var targets []string
	for i := range sick {
		targets = append(targets, target(t, func(w *wire) {
			for {
				head := w.head()
				switch {
				case head == "":
					return
				case strings.HasPrefix(head, "GET /healthz ") && sick[i].Load():
					w.send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
				default:
					w.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}
		}))
	}
	cfg := settings(targets...)
	cfg.Health = &config.Health{Path: "/healthz", Interval: 2 * time.Millisecond, Timeout: patience, UnhealthyAfter: 2, HealthyAfter: 3}
	f := newFront(t, cfg)
	healthy := func(i int) func() bool { return func() bool { return f.Status().Targets[i].Healthy } }
	unhealthy := func(i int) func() bool { return func() bool { return !healthy(i)() } }

	sick[0].Store(true)
	eventually(t, "the first is unhealthy", unhealthy(0))
	for range 10 {
		if got := f.ask(get); got.target != targets[1] {
			t.Errorf("%+v, want the healthy target", got)
		}
	}
	sick[1].Store(true)
	eventually(t, "the second is unhealthy", unhealthy(1))
	if got := f.ask(get); got.kind != "no_target" || f.Available() {
		t.Errorf("%+v, available %v: want none", got, f.Available())
	}
	sick[0].Store(false)
	eventually(t, "the first is healthy", healthy(0))
	if got := f.ask(get); got.target != targets[0] {
		t.Errorf("%+v, want the healthy target", got)
	}
}

// Close during requests: they finish, and their connections are not kept.
func TestCloseWithCallsUnderWay(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	f := newFront(t, settings(target(t, func(w *wire) {
		w.head()
		arrived <- struct{}{}
		<-release
		w.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		if w.head() != "" {
			t.Error("the connection was used again")
		}
	})))
	c := f.dial()
	c.send(get)
	<-arrived
	f.Close()
	f.Close()
	close(release)
	if got := f.reply(c); got.body != "ok" {
		t.Errorf("%+v", got)
	}
}

func TestErrorText(t *testing.T) {
	err := &upstream.Error{Kind: upstream.Connect, Target: "h:1", Err: errors.New("no")}
	if got := err.Error(); got != "h:1: cannot connect: no" {
		t.Error(got)
	}
}
