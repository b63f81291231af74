package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// canned is a connection that delivers given bytes in reads of random sizes, and takes what is written to it.
type canned struct {
	net.Conn
	dripping
}

func (c *canned) Read(b []byte) (int, error)       { return c.dripping.Read(b) }
func (c *canned) Write(b []byte) (int, error)      { return len(b), nil }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }
func (c *canned) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// FuzzRequest holds the server against net/http: whatever is accepted, net/http reads as the same requests with the
// same bodies, which end at the same byte.
func FuzzRequest(f *testing.F) {
	for _, raw := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.0\r\n\r\n",
		"\r\nPOST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET http://g/ HTTP/1.1\r\nHost: h\r\nX: a\r\nx: b\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n00a\r\n0123456789\r\n0\r\nT: u\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nConnection: a, b ,close\r\nA: 1\r\nExpect: 100-continue\r\nUpgrade: x\r\n\r\n",
		"PUT /%61 HTTP/1.1\r\nHost:\r\nContent-Length: 0007\r\nTE: trailers\r\n\r\n1234567\r\n\r\nHEAD https://x?y HTTP/1.1\r\nHost: h\r\n\r\n",
	} {
		f.Add([]byte(raw), uint64(1))
	}
	f.Fuzz(func(t *testing.T, raw []byte, seed uint64) {
		limits := Limits{MaxConns: 1, MaxHeader: 16 << 10, MaxURI: 8 << 10, HeaderTimeout: time.Hour, IdleTimeout: time.Hour, BodyTimeout: time.Hour, WriteTimeout: time.Hour}
		srv := NewServer(limits, slog.New(slog.DiscardHandler), nil)
		c := newConn(srv, &canned{dripping: dripping{rng: rand.New(rand.NewPCG(seed, 6)), left: raw}})
		reference := bytes.NewReader(raw)
		other := bufio.NewReaderSize(reference, 64<<10)
		for c.next() && c.x.Refusal == nil {
			if !sameRequest(t, &c.x, other) {
				return
			}
			c.inBody = false
		}
	})
}

// sameRequest compares the exchange with what net/http reads. It reports whether there can be another request.
func sameRequest(t *testing.T, x *Exchange, other *bufio.Reader) bool {
	for range 2 { // net/http leaves the empty lines before a request to its server
		if p, _ := other.Peek(2); string(p) == crlf {
			other.Discard(2)
		}
	}
	want, err := http.ReadRequest(other)
	var uri *url.Error
	switch {
	case errors.As(err, &uri):
		return false // an odd target, which is passed on as it came
	case err != nil && hasField(x, Trailer):
		return false // net/http reads what Trailer announces, too
	case err != nil:
		t.Fatalf("accepted, but net/http says: %v", err)
	}
	if string(x.Method) != want.Method || x.Minor != want.ProtoMinor || string(x.Host) != want.Host {
		t.Fatalf("method %q, version 1.%d, host %q; net/http: %q, 1.%d, %q", x.Method, x.Minor, x.Host, want.Method, want.ProtoMinor, want.Host)
	}
	if target := want.URL.RequestURI(); string(x.Target) != target && !strings.HasPrefix(want.RequestURI, "/") && !(string(x.Target) == "*") {
		t.Fatalf("target %q, net/http: %q", x.Target, target)
	} else if strings.HasPrefix(want.RequestURI, "/") && string(x.Target) != want.RequestURI {
		t.Fatalf("target %q, net/http: %q", x.Target, want.RequestURI)
	}
	sameFields(t, x, want)
	return sameBody(t, x, want)
}

func hasField(x *Exchange, k Kind) bool {
	return slices.ContainsFunc(x.Fields, func(f Field) bool { return f.Kind == k })
}

// sameFields compares the values of each name. net/http takes some fields out and keeps them elsewhere.
func sameFields(t *testing.T, x *Exchange, want *http.Request) {
	got := http.Header{}
	for _, f := range x.Fields {
		got.Add(string(f.Name), string(f.Value))
	}
	for _, name := range []string{"Host", "Transfer-Encoding", "Trailer"} {
		got.Del(name)
		want.Header.Del(name)
	}
	if len(got["Pragma"]) > 0 { // net/http makes a Cache-Control of it
		got.Del("Cache-Control")
		want.Header.Del("Cache-Control")
	}
	if len(got) != len(want.Header) {
		t.Fatalf("fields %q, net/http: %q", got, want.Header)
	}
	for name, values := range want.Header {
		if !slices.Equal(got[name], values) {
			t.Fatalf("%s: %q, net/http: %q", name, got[name], values)
		}
	}
	if chunked := len(want.TransferEncoding) > 0; chunked != (x.Length == Chunked) || !chunked && x.Length != want.ContentLength {
		t.Fatalf("length %d, net/http: %d %v", x.Length, want.ContentLength, want.TransferEncoding)
	}
}

func sameBody(t *testing.T, x *Exchange, want *http.Request) bool {
	var got []byte
	var err error
	for err == nil {
		var p []byte
		p, err = x.Body.Next()
		got = append(got, p...)
	}
	wanted, wantErr := io.ReadAll(want.Body)
	if err != io.EOF {
		return false
	}
	if wantErr != nil {
		t.Fatalf("body %q, net/http after %q: %v", got, wanted, wantErr)
	}
	if !bytes.Equal(got, wanted) {
		t.Fatalf("body %q, net/http: %q", got, wanted)
	}
	for _, f := range x.Body.Trailer() {
		if values := want.Trailer[http.CanonicalHeaderKey(string(f.Name))]; !slices.Contains(values, string(f.Value)) {
			t.Fatalf("trailer %s: %s, net/http: %q", f.Name, f.Value, want.Trailer)
		}
	}
	return true
}

// FuzzResponse feeds any bytes to a Stream, with a response behind them: whatever it makes of them, it does not panic,
// and where it accepts a message it agrees with net/http about its status and body, and about where the next begins.
func FuzzResponse(f *testing.F) {
	for _, raw := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nuntil the end",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nany bytes",
	} {
		f.Add([]byte(raw), uint64(1), false)
		f.Add([]byte(raw), uint64(2), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, seed uint64, head bool) {
		const next = "HTTP/1.1 299 Next\r\nContent-Length: 2\r\n\r\nab"
		all := append(bytes.Clone(raw), next...)
		var s Stream
		s.Reset(&dripping{rng: rand.New(rand.NewPCG(seed, 7)), left: all})
		other := bufio.NewReaderSize(bytes.NewReader(all), 64<<10)
		method := "GET"
		if head {
			method = "HEAD"
		}
		for s.Next(16<<10, head) == nil {
			if s.Response.Upgraded() || !sameResponse(t, &s, other, method) {
				return
			}
			s.Release()
		}
	})
}

// sameResponse compares the stream's response with what net/http reads. It reports whether there can be another.
func sameResponse(t *testing.T, s *Stream, other *bufio.Reader, method string) bool {
	want, err := http.ReadResponse(other, &http.Request{Method: method})
	if err != nil {
		if s.Response.Status < 200 || slices.ContainsFunc(s.Response.Fields, func(f Field) bool { return f.Kind == Trailer }) {
			return false
		}
		t.Fatalf("accepted, but net/http says: %v", err)
	}
	if s.Response.Status != want.StatusCode || s.Response.Minor != want.ProtoMinor {
		t.Fatalf("status %d, version 1.%d; net/http: %d, 1.%d", s.Response.Status, s.Response.Minor, want.StatusCode, want.ProtoMinor)
	}
	var got []byte
	for err == nil {
		var p []byte
		p, err = s.Body.Next()
		got = append(got, p...)
	}
	wanted, wantErr := io.ReadAll(want.Body)
	if err != io.EOF {
		return false
	}
	if wantErr != nil || !bytes.Equal(got, wanted) {
		t.Fatalf("body %q, net/http: %q, %v", got, wanted, wantErr)
	}
	return true
}
