package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/internal/http1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// limits are generous, so that no test depends on them by accident.
func limits() http1.Limits {
	return http1.Limits{
		MaxConns: 100, MaxHeader: 16 << 10, MaxURI: 8 << 10,
		HeaderTimeout: patience, IdleTimeout: patience, BodyTimeout: patience, WriteTimeout: patience,
	}
}

// server is an http1.Server on a socket of its own.
type server struct {
	*http1.Server
	addr   string
	served chan error   // what Serve has returned
	good   atomic.Int64 // requests that were not refused
}

func serve(t *testing.T, l http1.Limits, handler func(*http1.Exchange)) *server {
	t.Helper()
	s := new(server)
	s.start(t, l, func(x *http1.Exchange) {
		if x.Refusal != nil {
			refuse(x, x.Refusal)
			return
		}
		s.good.Add(1)
		handler(x)
	})
	return s
}

// serveAll is serve with a handler that gets the requests to refuse, too.
func serveAll(t *testing.T, l http1.Limits, handler func(*http1.Exchange)) *server {
	t.Helper()
	s := new(server)
	s.start(t, l, handler)
	return s
}

func (s *server) start(t *testing.T, l http1.Limits, handler func(*http1.Exchange)) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr, s.served = ln.Addr().String(), make(chan error, 1)
	s.Server = http1.NewServer(l, slog.New(slog.DiscardHandler), handler)
	go func() { s.served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-s.served; err != http1.ErrServerClosed {
			t.Errorf("Serve returned %v", err)
		}
	})
}

func refuse(x *http1.Exchange, err *http1.Error) {
	x.CloseAfter()
	x.Begin(err.Status, nil)
	x.AddString("X-Reason", err.Reason)
	x.Respond(nil)
}

// echo answers with the body it gets, and says in its fields what it has read.
func echo(x *http1.Exchange) {
	body, err := readBody(x)
	var malformed *http1.Error
	switch {
	case errors.As(err, &malformed):
		refuse(x, malformed)
		return
	case err != nil:
		x.Abort()
		return
	}
	x.Begin(200, nil)
	x.Add([]byte("X-Method"), x.Method)
	x.Add([]byte("X-Target"), x.Target)
	x.Add([]byte("X-Host"), x.Host)
	for _, f := range x.Fields {
		x.Add(append([]byte("X-Field-"), f.Name...), f.Value)
	}
	for _, f := range x.Body.Trailer() {
		x.Add(append([]byte("X-Trailer-"), f.Name...), f.Value)
	}
	x.Respond(body)
}

func readBody(x *http1.Exchange) ([]byte, error) {
	var body []byte
	for {
		p, err := x.Body.Next()
		if err == io.EOF {
			return body, nil
		}
		if err != nil {
			return body, err
		}
		body = append(body, p...)
	}
}

// client is a raw connection to a server.
type client struct {
	*net.TCPConn
	t *testing.T
	r *bufio.Reader
}

func (s *server) dial(t *testing.T) *client {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	return &client{nc.(*net.TCPConn), t, bufio.NewReader(nc)}
}

// send writes s. An error is none of the test's business: the server may have closed already.
func (c *client) send(s string) { io.WriteString(c, s) }

// sendf is send with a format.
func (c *client) sendf(format string, args ...any) { c.send(fmt.Sprintf(format, args...)) }

// response reads one response to a request of the method, and its body.
func (c *client) response(method string) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("no response: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("body: %v", err)
	}
	return resp, string(body)
}

// expectEnd fails the test unless the server closes the connection in the ordinary way, without sending more.
func (c *client) expectEnd() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if err != nil || len(rest) > 0 {
		c.t.Errorf("behind the last response: %q, %v; want the end of the connection", rest, err)
	}
}

// expectBroken fails the test unless the connection ends with a reset.
func (c *client) expectBroken() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err == nil {
		c.t.Errorf("the connection ended as if all were well, after %q; want a reset", rest)
	}
}

// eventually waits for cond to become true.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestKeepAlive(t *testing.T) {
	s := serve(t, limits(), echo)
	tests := []struct {
		name, head string
		connection string // what the response's Connection field says
		open       bool
	}{
		{"1.1", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "", true},
		{"1.1 close", "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "close", false},
		{"1.1 close in a list", "GET / HTTP/1.1\r\nHost: h\r\nConnection: a , CLOSE\r\n\r\n", "close", false},
		{"1.1 close and keep-alive", "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", "close", false},
		{"1.0", "GET / HTTP/1.0\r\n\r\n", "close", false},
		{"1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "keep-alive", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := s.dial(t)
			c.send(tt.head)
			resp, _ := c.response("GET")
			if got := connection(resp); got != tt.connection {
				t.Errorf("Connection: %q, want %q", got, tt.connection)
			}
			if !tt.open {
				c.expectEnd()
				return
			}
			c.send(tt.head)
			c.response("GET")
		})
	}
}

// connection is the response's Connection field, of which net/http makes a flag if it says close.
func connection(resp *http.Response) string {
	if resp.Close {
		return "close"
	}
	return strings.Join(resp.Header["Connection"], ", ")
}

func TestPipelining(t *testing.T) {
	s := serve(t, limits(), echo)
	c := s.dial(t)
	const n = 200
	var all bytes.Buffer
	for i := range n {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i)
		case 1:
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", i, i*50, strings.Repeat("x", i*50))
		case 2:
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", i, i*50, strings.Repeat("x", i*50))
		}
	}
	go c.Write(all.Bytes())
	for i := range n {
		resp, body := c.response("GET")
		if got, want := resp.Header.Get("X-Target"), fmt.Sprintf("/%d", i); got != want {
			t.Fatalf("answer to %s, want %s", got, want)
		}
		want := i * 50
		if i%3 == 0 {
			want = 0
		}
		if len(body) != want {
			t.Fatalf("request %d: %d bytes of body came back, want %d", i, len(body), want)
		}
	}
}

// Fields reach the handler with their spelling, order, repetition and bytes.
func TestFieldsAsTheyCame(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) {
		var all []byte
		for _, f := range x.Fields {
			all = http1.AppendField(all, f.Name, f.Value)
		}
		x.Begin(200, nil)
		x.Respond(all)
	})
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\nx-b:  2 \t\r\nhOST:h\r\nX-A:\r\nX-B: a  b\tc\r\nX-Utf8: \xc3\xa9\xff\r\n\r\n")
	_, body := c.response("GET")
	if want := "x-b: 2\r\nhOST: h\r\nX-A: \r\nX-B: a  b\tc\r\nX-Utf8: \xc3\xa9\xff\r\n"; body != want {
		t.Errorf("fields:\n%q, want\n%q", body, want)
	}
}

func TestLeadingEmptyLines(t *testing.T) {
	s := serve(t, limits(), echo)
	c := s.dial(t)
	for range 3 {
		c.send("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
		c.response("GET")
	}
	c.send("\r")
	c.send("\n")
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	c.response("GET")
	c.send("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if resp, _ := c.response("GET"); resp.StatusCode != 400 {
		t.Errorf("three empty lines: %s, want 400", resp.Status)
	}
}

func TestTargets(t *testing.T) {
	s := serve(t, limits(), echo)
	tests := []struct{ line, host, wantTarget, wantHost string }{
		{"GET /a%2fb?x=%00&y HTTP/1.1", "h:1", "/a%2fb?x=%00&y", "h:1"},
		{"GET http://other:80/p?q HTTP/1.1", "h", "/p?q", "other:80"},
		{"GET HTTP://other HTTP/1.1", "h", "/", "other"},
		{"GET https://other?q HTTP/1.1", "h", "/?q", "other"},
		{"OPTIONS * HTTP/1.1", "h", "*", "h"},
		{"OPTIONS http://other HTTP/1.1", "h", "*", "other"},
		{"GET //double/slash HTTP/1.1", "h", "//double/slash", "h"},
		{"GET / HTTP/1.1", "[::1]:80", "/", "[::1]:80"},
		{"GET / HTTP/1.1", "", "/", ""},
	}
	c := s.dial(t)
	for _, tt := range tests {
		c.sendf("%s\r\nHost: %s\r\n\r\n", tt.line, tt.host)
		resp, _ := c.response("GET")
		if got := resp.Header.Get("X-Target"); got != tt.wantTarget {
			t.Errorf("%s: target %q, want %q", tt.line, got, tt.wantTarget)
		}
		if got := resp.Header.Get("X-Host"); got != tt.wantHost {
			t.Errorf("%s: host %q, want %q", tt.line, got, tt.wantHost)
		}
	}
}

func TestStats(t *testing.T) {
	s := serve(t, limits(), echo)
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	c.response("GET")
	if got := s.Stats(); got.Open != 1 || got.Accepted != 1 {
		t.Errorf("%+v, want one connection", got)
	}
	c.Close()
	eventually(t, "the connection is forgotten", func() bool { return s.Stats().Open == 0 })
}

// A listener that fails ends Serve with its error, without a Shutdown.
func TestServeReportsItsListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := http1.NewServer(limits(), slog.New(slog.DiscardHandler), echo)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	ln.Close()
	select {
	case err := <-served:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve returned %v", err)
		}
	case <-time.After(patience):
		t.Error("Serve goes on without a listener")
	}
}

// TestReadyMadeLines writes a head from lines that were made before.
func TestReadyMadeLines(t *testing.T) {
	lines := http1.AppendField(http1.AppendField(nil, "ETag", `"a"`), "x-b", "c")
	s := serve(t, limits(), func(x *http1.Exchange) {
		x.Begin(200, nil)
		x.AddLines(lines)
		x.AddSeconds("Age", 90*time.Second+time.Millisecond)
		x.CloseAfter()
		x.Respond([]byte("ok"))
	})
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	got, err := io.ReadAll(conn)
	const want = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nx-b: c\r\nAge: 90\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
	if err != nil || string(got) != want {
		t.Errorf("%v\ngot:\n%s\nwant:\n%s", err, got, want)
	}
}
