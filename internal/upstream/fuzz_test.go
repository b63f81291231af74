package upstream

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// canned is a connection that delivers given bytes and takes what is written to it.
type canned struct {
	net.Conn
	raw    io.Reader
	closed chan struct{}
}

func (c *canned) Read(b []byte) (int, error)       { return c.raw.Read(b) }
func (c *canned) Write(b []byte) (int, error)      { return len(b), nil }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }
func (c *canned) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *canned) Close() error {
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return nil
}

// handed is a listener that hands out the connections it is given.
type handed chan net.Conn

func (h handed) Accept() (net.Conn, error) {
	if c, ok := <-h; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (h handed) Close() error   { return nil }
func (h handed) Addr() net.Addr { return &net.TCPAddr{} }

// FuzzForward holds what a target gets against what net/http read of the client: whatever request is accepted, its head
// goes on as exactly one head, with the fields that may be passed on and those of the gateway, and no other.
func FuzzForward(f *testing.F) {
	for _, raw := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nConnection: x-b, keep-alive\r\nX-B: 3\r\n\r\n",
		"POST http://a/b?c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 1.2.3.4\r\nVia: 1.1 x\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.0\r\nX-Request-Id: a\r\nTE: b\r\nKeep-Alive: c\r\nProxy-Authorization: d\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: i\r\n\r\n",
	} {
		f.Add([]byte(raw), false)
		f.Add([]byte(raw), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, trusted bool) {
		ln := make(handed, 1)
		server := http1.NewServer(http1.Limits{MaxConns: 1, MaxHeader: 16 << 10, MaxURI: 8 << 10, HeaderTimeout: time.Hour, IdleTimeout: time.Hour, BodyTimeout: time.Hour, WriteTimeout: time.Hour},
			slog.New(slog.DiscardHandler), func(x *http1.Exchange) {
				if x.Refusal == nil {
					checkForwarded(t, x, raw, trusted)
				}
				x.Abort()
			})
		done := make(chan struct{})
		go func() { defer close(done); server.Serve(ln) }()
		c := &canned{raw: bytes.NewReader(raw), closed: make(chan struct{})}
		ln <- c
		<-c.closed
		close(ln)
		<-done
		if server.Stats().Panics > 0 {
			t.Error("panic")
		}
	})
}

func checkForwarded(t *testing.T, x *http1.Exchange, raw []byte, trusted bool) {
	hop := &Hop{Peer: netip.MustParseAddr("192.0.2.1"), Trusted: trusted, RequestID: []byte("id")}
	out := appendHead(nil, &x.Request, hop, "", "fallback")
	for bytes.HasPrefix(raw, []byte("\r\n")) {
		raw = raw[2:]
	}
	came, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return // an odd target or Trailer; that the two agree otherwise is FuzzRequest's business
	}
	rest := bufio.NewReader(bytes.NewReader(out))
	sent, err := http.ReadRequest(rest)
	if err != nil {
		t.Errorf("net/http cannot read %q: %v", out, err)
		return
	}
	if n := rest.Buffered(); n > 0 {
		t.Errorf("%d bytes behind the head: %q", n, out)
	}
	want := expectedFields(came, x, hop)
	for _, h := range []http.Header{want, sent.Header} {
		h.Del("Cache-Control") // of which net/http makes one itself
	}
	if sent.Method != came.Method || sent.ContentLength != came.ContentLength || !maps.EqualFunc(sent.Header, want, slices.Equal[[]string]) {
		t.Errorf("sent %s, length %d, %q\nwant %s, length %d, %q", sent.Method, sent.ContentLength, sent.Header, came.Method, came.ContentLength, want)
	}
	if came.Host != "" && sent.Host != came.Host {
		t.Errorf("host %q, want %q", sent.Host, came.Host)
	}
}

// expectedFields says in another way what appendHead does.
func expectedFields(came *http.Request, x *http1.Exchange, hop *Hop) http.Header {
	want := came.Header.Clone()
	for _, list := range came.Header["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			switch name = http.CanonicalHeaderKey(strings.Trim(name, " \t")); name {
			case "Content-Length", "Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host":
			default:
				delete(want, name)
			}
		}
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Upgrade", "Expect", "X-Request-Id"} {
		want.Del(name)
	}
	if x.Upgrades() {
		want["Connection"], want["Upgrade"] = []string{"Upgrade"}, came.Header["Upgrade"]
	}
	before := want["X-Forwarded-For"]
	want.Del("X-Forwarded-For")
	if !hop.Trusted {
		before = nil
		want.Del("X-Forwarded-Proto")
		want.Del("X-Forwarded-Host")
	}
	before = slices.DeleteFunc(before, func(s string) bool { return s == "" })
	want.Set("X-Forwarded-For", strings.Join(append(before, "192.0.2.1"), ", "))
	if len(want["X-Forwarded-Proto"]) == 0 {
		want.Set("X-Forwarded-Proto", "http")
	}
	if len(want["X-Forwarded-Host"]) == 0 && came.Host != "" {
		want.Set("X-Forwarded-Host", came.Host)
	}
	want.Add("Via", "1."+string(rune('0'+came.ProtoMinor))+" sluice")
	want.Set("X-Request-Id", "id")
	return want
}
