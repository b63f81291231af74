package origin_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/internal/origin"
)

func TestMain(m *testing.M) {
	// fasthttp's clock for the Date field: one goroutine for the whole process, which nothing stops.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// world is an origin on a free port and a client for it.
type world struct {
	*testing.T
	server *origin.Server
	addr   string
	client *http.Client
	served chan error // what Serve returned
}

func start(t *testing.T, opts origin.Options) *world {
	t.Helper()
	return startOn(t, origin.New(opts), listen(t))
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func startOn(t *testing.T, server *origin.Server, ln net.Listener) *world {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	w := &world{t, server, ln.Addr().String(), &http.Client{Transport: transport}, make(chan error, 1)}
	go func() { w.served <- w.server.Serve(ln) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := w.server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// do sends one request and returns its response with the body read.
func (w *world) do(method, target string, body io.Reader) (*http.Response, string) {
	w.Helper()
	req, err := http.NewRequest(method, "http://"+w.addr+target, body)
	if err != nil {
		w.Fatal(err)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatalf("%s %s: %v", method, target, err)
	}
	return resp, string(text)
}

// raw sends text on a connection of its own and returns what comes back up to the end of the connection.
func (w *world) raw(text string) string {
	w.Helper()
	conn := w.dial()
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		w.Fatal(err)
	}
	reply, err := io.ReadAll(conn)
	if err != nil {
		w.Fatal(err)
	}
	return string(reply)
}

func (w *world) dial() net.Conn {
	w.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.Fatal(err)
	}
	return conn
}

// until polls the server's counts until they are as wanted; a count that never comes is the test's own timeout.
func (w *world) until(what string, ok func(origin.Stats) bool) {
	w.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok(w.server.Stats()) {
		if time.Now().After(deadline) {
			w.Fatalf("never seen: %s; stats %+v", what, w.server.Stats())
		}
		w.do("GET", "/_origin/stats", nil)
	}
}

type reply struct {
	Path     string
	Method   string
	Counter  int64
	Received *struct {
		Bytes  int64
		SHA256 string
	}
	Headers [][2]string
	Error   string
}

func decode(t *testing.T, text string) reply {
	t.Helper()
	var r reply
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return r
}

func TestAnyPathAndMethod(t *testing.T) {
	w := start(t, origin.Options{})
	for i, c := range []struct{ method, target, path string }{
		{"GET", "/", "/"},
		{"GET", "/a/b?x=1", "/a/b"},
		{"DELETE", "/a%20b/../c", "/a%20b/../c"},
		{"PATCH", "//double//", "//double//"},
		{"PURGE", "/%22quoted%22", "/%22quoted%22"},
		{"OPTIONS", "/é", "/%C3%A9"},
	} {
		resp, text := w.do(c.method, c.target, nil)
		got := decode(t, text)
		if resp.StatusCode != 200 || got.Path != c.path || got.Method != c.method || got.Counter != int64(i+1) || got.Received != nil {
			t.Errorf("%s %s: %d %s", c.method, c.target, resp.StatusCode, text)
		}
		if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("content type %q", ct)
		}
		if _, err := http.ParseTime(resp.Header.Get("Date")); err != nil {
			t.Errorf("Date: %v", err)
		}
	}
	resp, text := w.do("HEAD", "/", nil)
	if text != "" || resp.ContentLength <= 0 {
		t.Errorf("HEAD: length %d, body %q", resp.ContentLength, text)
	}
}

func TestRequestTargetForms(t *testing.T) {
	w := start(t, origin.Options{})
	for _, c := range []struct{ line, path string }{
		{"OPTIONS * HTTP/1.1", "*"},
		{"GET http://elsewhere/p/q?status=200 HTTP/1.1", "/p/q"},
		{"GET //p/q?status=200 HTTP/1.1", "//p/q"},
	} {
		text := w.raw(c.line + "\r\nHost: o\r\nConnection: close\r\n\r\n")
		_, body, _ := strings.Cut(text, "\r\n\r\n")
		if got := decode(t, body); got.Path != c.path {
			t.Errorf("%s: path %q", c.line, got.Path)
		}
	}
}

func TestReceivedBody(t *testing.T) {
	w := start(t, origin.Options{})
	big := bytes.Repeat([]byte("sluice"), 100_000)
	for name, body := range map[string]func(b []byte) io.Reader{
		"known length": func(b []byte) io.Reader { return bytes.NewReader(b) },
		"in chunks":    func(b []byte) io.Reader { return struct{ io.Reader }{bytes.NewReader(b)} },
	} {
		for _, method := range []string{"POST", "GET", "DELETE"} {
			for _, n := range []int{1, 100, 64 << 10, 64<<10 + 1, len(big)} {
				_, text := w.do(method, "/up", body(big[:n]))
				got := decode(t, text)
				want := fmt.Sprintf("%x", sha256.Sum256(big[:n]))
				if got.Received == nil || got.Received.Bytes != int64(n) || got.Received.SHA256 != want {
					t.Errorf("%s of %d bytes, %s: %s", method, n, name, text)
				}
			}
		}
	}
}

func TestExpectContinue(t *testing.T) {
	w := start(t, origin.Options{})
	conn := w.dial()
	defer conn.Close()
	fmt.Fprint(conn, "POST /up HTTP/1.1\r\nHost: o\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	r := bufio.NewReader(conn)
	interim, err := r.ReadString('\n')
	if err != nil || interim != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", interim, err)
	}
	fmt.Fprint(conn, "hello")
	if _, err := r.ReadString('\n'); err != nil { // the empty line after it
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if got := decode(t, string(text)); got.Received.Bytes != 5 {
		t.Errorf("%s", text)
	}
}

func TestBrokenBodyIsRefused(t *testing.T) {
	w := start(t, origin.Options{})
	for name, text := range map[string]string{
		"ends early": "POST / HTTP/1.1\r\nHost: o\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 9000),
		"bad chunk":  "POST / HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		conn := w.dial().(*net.TCPConn)
		fmt.Fprint(conn, text)
		conn.CloseWrite()
		answer, err := io.ReadAll(conn)
		if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) || !bytes.Contains(answer, []byte("broke off")) {
			t.Errorf("%s: %q, %v", name, answer, err)
		}
		conn.Close()
	}
}

func TestPipelinedRequestsAfterABody(t *testing.T) {
	w := start(t, origin.Options{})
	text := w.raw("POST /1 HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" +
		"GET /2 HTTP/1.1\r\nHost: o\r\nContent-Length: 3\r\n\r\nabc" +
		"GET /3?bytes=10 HTTP/1.1\r\nHost: o\r\n\r\n" +
		"GET /4 HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n")
	if n := strings.Count(text, "HTTP/1.1 200 OK\r\n"); n != 4 || !strings.Contains(text, `"path":"/4"`) {
		t.Errorf("%d answers: %s", n, text)
	}
}

func TestStatus(t *testing.T) {
	w := start(t, origin.Options{})
	for _, status := range []int{200, 201, 299, 301, 400, 404, 429, 500, 503, 599} {
		if resp, text := w.do("GET", fmt.Sprintf("/s?status=%d", status), nil); resp.StatusCode != status || decode(t, text).Path != "/s" {
			t.Errorf("status %d: got %d, %s", status, resp.StatusCode, text)
		}
	}
	for _, status := range []int{204, 304} {
		resp, text := w.do("GET", fmt.Sprintf("/s?status=%d&bytes=5", status), nil)
		if resp.StatusCode != status || text != "" {
			t.Errorf("status %d: got %d, body %q", status, resp.StatusCode, text)
		}
	}
	for _, status := range []int{101, 103, 199} {
		text := w.raw(fmt.Sprintf("GET /s?status=%d HTTP/1.1\r\nHost: o\r\n\r\n", status))
		if !strings.HasPrefix(text, fmt.Sprintf("HTTP/1.1 %d ", status)) || !strings.HasSuffix(text, "\r\n\r\n") {
			t.Errorf("status %d: %q", status, text)
		}
	}
}

func TestBadParameters(t *testing.T) {
	w := start(t, origin.Options{})
	for _, c := range []struct{ query, want string }{
		{"status=100", `query parameter status="100": expected a whole number from 101 to 599`},
		{"status=600", "from 101 to 599"},
		{"status=", "from 101 to 599"},
		{"status=2e2", "from 101 to 599"},
		{"status=99999999999999999999", "from 101 to 599"},
		{"bytes=-1", "expected a size"},
		{"bytes=", "expected a size"},
		{"bytes=MB", "expected a size"},
		{"bytes=1XB", "expected a size"},
		{"bytes=1.5MB", "expected a size"},
		{"bytes=2TiB", "expected a size"},
		{"bytes=99999999TiB", "expected a size"},
		{"sleep=1", "expected a duration"},
		{"sleep=-1s", "expected a duration"},
		{"sleep=11m", "expected a duration"},
		{"sse=1000001", "whole number"},
		{"sse=1&interval=-1s", "parameter interval="},
		{"sse=1&bytes=1", "exclude each other"},
		{"chunked=maybe", "expected 1 or 0"},
		{"echo=maybe", "expected 1 or 0"},
		{"cache=a%0d%0aSet-Cookie:%20x=1", "printable ASCII"},
		{"cache=a%0aX:%20y", "printable ASCII"},
		{"cache=a%0dX:%20y", "printable ASCII"},
		{"cache=%00", "printable ASCII"},
		{"cache=%09", "printable ASCII"},
		{"cache=%C3%A9", "printable ASCII"},
	} {
		resp, text := w.do("GET", "/p?"+c.query, nil)
		if got := decode(t, text); resp.StatusCode != 400 || !strings.Contains(got.Error, c.want) {
			t.Errorf("%s: %d %s", c.query, resp.StatusCode, text)
		}
		if resp.Header.Get("Cache-Control") != "" || resp.Header.Get("Set-Cookie") != "" || resp.Header.Get("X") != "" {
			t.Errorf("%s: let a field through: %v", c.query, resp.Header)
		}
	}
}

func TestCacheControl(t *testing.T) {
	w := start(t, origin.Options{})
	resp, _ := w.do("GET", "/?cache=public,%20max-age=60", nil)
	if got := resp.Header.Values("Cache-Control"); len(got) != 1 || got[0] != "public, max-age=60" {
		t.Errorf("%q", got)
	}
}

func TestRequestHeadersAreListed(t *testing.T) {
	w := start(t, origin.Options{})
	text := w.raw("GET /?headers=1 HTTP/1.1\r\nHost: o\r\nx-lOWER: a: b \r\nX-Twice: 1\r\nX-Twice: 2\r\nX-Empty:\r\nConnection: close\r\n\r\n")
	_, body, _ := strings.Cut(text, "\r\n\r\n")
	want := "[[Host o] [x-lOWER a: b] [X-Twice 1] [X-Twice 2] [X-Empty ] [Connection close]]"
	if got := fmt.Sprint(decode(t, body).Headers); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEcho(t *testing.T) {
	w := start(t, origin.Options{})
	for _, text := range []string{"[1,2]", strings.Repeat("x", 1<<20)} {
		resp, got := w.do("POST", "/?echo=1&status=201", strings.NewReader(text))
		if resp.StatusCode != 201 || got != text {
			t.Errorf("%d bytes: %d with %d bytes", len(text), resp.StatusCode, len(got))
		}
	}
	for _, text := range []string{"", strings.Repeat("x", 1<<20+1)} {
		if resp, got := w.do("POST", "/?echo=1", strings.NewReader(text)); resp.StatusCode != 400 || !strings.Contains(got, "at most 1048576 bytes") {
			t.Errorf("%d bytes: %d %.100q", len(text), resp.StatusCode, got)
		}
	}
}

func TestServerSentEvents(t *testing.T) {
	w := start(t, origin.Options{})
	resp, text := w.do("GET", "/?sse=3&interval=1ms", nil)
	want := "id: 1\ndata: {\"event\":1,\"of\":3}\n\nid: 2\ndata: {\"event\":2,\"of\":3}\n\nid: 3\ndata: {\"event\":3,\"of\":3}\n\n"
	if resp.Header.Get("Content-Type") != "text/event-stream" || text != want {
		t.Errorf("%v\n%q", resp.Header, text)
	}
	if _, text := w.do("GET", "/?sse=0", nil); text != "" {
		t.Errorf("no events: %q", text)
	}
}

// The first event is there while the second is still ten minutes away.
func TestEventsAreSentOneByOne(t *testing.T) {
	w := start(t, origin.Options{})
	conn := w.dial()
	fmt.Fprint(conn, "GET /?sse=2&interval=10m HTTP/1.1\r\nHost: o\r\n\r\n")
	r := bufio.NewReader(conn)
	for line := ""; line != "id: 1\n"; {
		var err error
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown with a stream under way: %v", err)
	}
	conn.Close()
}

func TestStreamsNeedHTTP11(t *testing.T) {
	w := start(t, origin.Options{})
	for _, query := range []string{"sse=1", "bytes=5&chunked=1"} {
		if text := w.raw("GET /?" + query + " HTTP/1.0\r\n\r\n"); !strings.Contains(text, " 400 ") || !strings.Contains(text, "need HTTP/1.1") {
			t.Errorf("%s: %q", query, text)
		}
	}
	if text := w.raw("GET /?bytes=5 HTTP/1.0\r\n\r\n"); !strings.HasSuffix(text, "\r\n\r\n01234") {
		t.Errorf("%q", text)
	}
}

func TestFail(t *testing.T) {
	w := start(t, origin.Options{Fail: 1})
	if resp, text := w.do("GET", "/?status=204&bytes=7", nil); resp.StatusCode != 500 || decode(t, text).Path != "/" {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if resp, _ := w.do("GET", "/healthz", nil); resp.StatusCode != 200 {
		t.Errorf("healthz: %d", resp.StatusCode)
	}
	if resp, _ := w.do("GET", "/healthz?status=503", nil); resp.StatusCode != 503 {
		t.Errorf("healthz asked to be 503: %d", resp.StatusCode)
	}
}

// Of 2,000 requests with an even chance, fewer than 800 or more than 1,200 fail once in 10¹⁸ runs.
func TestFailIsAShare(t *testing.T) {
	w := start(t, origin.Options{Fail: 0.5})
	failed := 0
	for range 2000 {
		if resp, _ := w.do("GET", "/", nil); resp.StatusCode == 500 {
			failed++
		}
	}
	if failed < 800 || failed > 1200 {
		t.Errorf("%d of 2000 failed", failed)
	}
}

// With a latency of ten minutes only /healthz and /_origin answer; the others wait until they are cut.
func TestLatencySparesHealthAndControl(t *testing.T) {
	w := start(t, origin.Options{Latency: origin.MaxWait})
	conn := w.dial()
	defer conn.Close()
	fmt.Fprint(conn, "GET /slow HTTP/1.1\r\nHost: o\r\n\r\n")
	w.until("the slow request in flight", func(st origin.Stats) bool { return st.Paths["/slow"].InFlight == 1 })
	if resp, _ := w.do("GET", "/healthz", nil); resp.StatusCode != 200 {
		t.Errorf("healthz: %d", resp.StatusCode)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if st := w.server.Stats(); st.InFlight != 0 {
		t.Errorf("after the cut: %+v", st)
	}
}

// Only the lower bound is looked at, which holds on a busy machine too.
func TestLatencyAndJitterHoldBack(t *testing.T) {
	for _, opts := range []origin.Options{
		{Latency: 30 * time.Millisecond},
		{Latency: 40 * time.Millisecond, Jitter: 10 * time.Millisecond},
	} {
		w := start(t, opts)
		began := time.Now()
		w.do("GET", "/", nil)
		if took := time.Since(began); took < opts.Latency-opts.Jitter {
			t.Errorf("%+v: answered after %v", opts, took)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, bad := range []origin.Options{
		{Latency: -1}, {Latency: origin.MaxWait + 1},
		{Jitter: -1}, {Jitter: origin.MaxWait + 1},
		{Fail: -0.1}, {Fail: 1.1}, {Fail: math.NaN()}, {Fail: math.Inf(1)},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	if err := (origin.Options{Latency: origin.MaxWait, Jitter: 1, Fail: 1}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestShutdownFinishesWhatIsInFlight(t *testing.T) {
	w := start(t, origin.Options{})
	up := openUpload(w, "/up")
	defer up.Close()
	w.until("the upload in flight", func(st origin.Stats) bool { return st.InFlight == 1 })
	stopped := make(chan error, 1)
	go func() { stopped <- w.server.Shutdown(context.Background()) }()
	if err := <-w.served; !errors.Is(err, origin.ErrClosed) { // it no longer listens
		t.Errorf("Serve: %v", err)
	}
	if answer := up.finish(); !strings.HasPrefix(answer, "HTTP/1.1 200 ") || !strings.Contains(answer, "Connection: close") {
		t.Errorf("%q", answer)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestServeAfterShutdown(t *testing.T) {
	s := origin.New(origin.Options{})
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	if err := s.Serve(ln); !errors.Is(err, origin.ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is left open: %v", err)
	}
}
