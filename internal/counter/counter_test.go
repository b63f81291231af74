package counter_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/internal/counter"
	"github.com/sluicegate/sluice/window"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func options(t testing.TB) counter.Options {
	return counter.Options{
		Timeframe: time.Hour, Precision: time.Second, SyncInterval: time.Hour,
		File: filepath.Join(t.TempDir(), "persistence.bin"),
	}
}

// serve starts a counter, and returns it, a connection to it, and what stops it and returns Serve's error.
func serve(t *testing.T, opts counter.Options) (c *counter.Counter, conn net.Conn, stop func() error) {
	t.Helper()
	c, _, err := counter.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		err := c.Serve(ctx, ln)
		c.Close()
		served <- err
	}()
	conn, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-served
	}
	t.Cleanup(func() { stop(); conn.Close() })
	return c, conn, stop
}

func TestAnswers(t *testing.T) {
	_, conn, _ := serve(t, options(t))
	r := bufio.NewReader(conn)
	n := 0
	for _, c := range []struct {
		name, request string
		counts        bool
	}{
		{"GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"query", "GET /?a=/b HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"absolute form", "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"absolute form without a path", "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"HEAD", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"DELETE", "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"own method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", true},
		{"long body", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1000000), true},
		{"chunks", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},

		{"other path", "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"other path with a body", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", false},
		{"two slashes", "GET // HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"a path that resolves to /", "GET /a/.. HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"other path, absolute form", "GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"the server itself", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.counts {
				n++
			}
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			method, _, _ := strings.Cut(c.request, " ")
			resp, err := http.ReadResponse(r, &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			check(t, resp, string(body), c.counts, method, n)
		})
	}
}

func check(t *testing.T, resp *http.Response, body string, counts bool, method string, n int) {
	want := fmt.Sprintf(`{"requestCount":%d}`, n)
	switch kind := resp.Header.Get("Content-Type"); {
	case !counts:
		if resp.StatusCode != 404 || kind != "application/problem+json" || !strings.Contains(body, `"status":404`) {
			t.Errorf("got %s, %s, %q", resp.Status, kind, body)
		}
	case resp.StatusCode != 200 || kind != "application/json; charset=utf-8" || resp.ContentLength != int64(len(want)):
		t.Errorf("got %s, %s, %d bytes", resp.Status, kind, resp.ContentLength)
	case method == "HEAD" && body != "" || method != "HEAD" && body != want:
		t.Errorf("got %q, want %q", body, want)
	}
}

// exchange sends one GET and returns the answer.
func exchange(conn net.Conn) (string, error) {
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func expect(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	if got, err := exchange(conn); got != want || err != nil {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func TestBrokenRequestsDoNotCount(t *testing.T) {
	for name, request := range map[string]string{
		"malformed":         "GET /\r\n\r\n",
		"body breaks off":   "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nhello",
		"chunks break off":  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"headers break off": "GET / HTTP/1.1\r\nHost:",
		"header too large":  "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 20_000) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, conn, _ := serve(t, options(t))
			broken, err := net.Dial("tcp", conn.RemoteAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer broken.Close()
			io.WriteString(broken, request)
			broken.(*net.TCPConn).CloseWrite()
			if answer, _ := io.ReadAll(broken); strings.Contains(string(answer), "200 OK") { // to its end: the request is done with
				t.Errorf("answered %q", answer)
			}
			expect(t, conn, `{"requestCount":1}`)
		})
	}
}

func TestStopAnswersWhatHasArrivedAndSavesIt(t *testing.T) {
	opts := options(t)
	_, conn, stop := serve(t, opts)
	expect(t, conn, `{"requestCount":1}`)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || len(answer) != 0 {
		t.Errorf("an idle connection ended with %q, %v", answer, err)
	}
	c, restored, err := counter.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !restored.Found || restored.Count != 1 || restored.Expired != 0 || restored.SetAside != nil || restored.Age < 0 {
		t.Errorf("restored %+v", restored)
	}
}

func TestOneProcessPerFile(t *testing.T) {
	opts := options(t)
	c, _, err := counter.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := counter.Open(opts); !errors.Is(err, counter.ErrInUse) {
		t.Errorf("second: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c, _, err = counter.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestOpenRefusesOptionsThatMakeNoWindow(t *testing.T) {
	opts := options(t)
	opts.Precision = 2 * opts.Timeframe
	if _, _, err := counter.Open(opts); !errors.Is(err, window.ErrConfig) {
		t.Errorf("got %v", err)
	}
	opts.Precision = time.Second
	c, _, err := counter.Open(opts) // the lock was given back
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// BenchmarkServe is one request after another on one connection; it allocates nothing.
func BenchmarkServe(b *testing.B) {
	c, _, err := counter.Open(options(b))
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		err := c.Serve(ctx, ln)
		c.Close()
		served <- err
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	request, buf := []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		conn.Write(request)
		if _, err := conn.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	conn.Close()
	cancel()
	if err := <-served; err != nil {
		b.Fatal(err)
	}
}
