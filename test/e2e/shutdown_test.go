package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// slowOrigin answers /slow in two halves, the second when it is released, and any other path at once with the SHA-256
// of the request's body. It says on begun when a request for /slow or a piece of a body has arrived.
type slowOrigin struct {
	url     string
	begun   chan struct{}
	release chan struct{}
}

func newSlowOrigin(t *testing.T) *slowOrigin {
	o := &slowOrigin{begun: make(chan struct{}, 100), release: make(chan struct{})}
	o.url = serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/slow" {
			if r.ContentLength != 0 {
				first := make([]byte, 1)
				io.ReadFull(r.Body, first)
				o.begun <- struct{}{}
				r.Body = io.NopCloser(io.MultiReader(strings.NewReader(string(first)), r.Body))
			}
			echo(w, r)
			return
		}
		o.begun <- struct{}{}
		io.WriteString(w, "first half, ")
		w.(http.Flusher).Flush()
		select {
		case <-o.release:
		case <-r.Context().Done():
		}
		io.WriteString(w, "second half")
	})
	return o
}

func (g *gateway) awaitDraining() {
	g.t.Helper()
	await(g.t, "/readyz to fail", func() bool { return get(g.t, g.admin+"/readyz").StatusCode == 503 })
}

func TestShutdownFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			o := newSlowOrigin(t)
			g := serve(t, "shutdown_timeout: 10m\n"+inFront([]string{o.url}))
			idle := dial(t, g.addr())
			idle.ask("/").expect(t, 200, "GET /")
			slow := dial(t, g.addr())
			slow.send("GET /slow HTTP/1.1\r\nHost: e2e\r\n\r\n")
			receive(t, "the slow request at the origin", o.begun)
			upload := dial(t, g.addr())
			upload.send("PUT /up HTTP/1.1\r\nHost: e2e\r\nContent-Length: 10\r\n\r\nhello")
			receive(t, "the upload at the origin", o.begun)
			chunked := dial(t, g.addr())
			chunked.send("PUT /up HTTP/1.1\r\nHost: e2e\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
			receive(t, "the upload in chunks at the origin", o.begun)
			head := dial(t, g.addr())
			head.send("GET /half-a-head HTTP/1.1\r\n")
			await(t, "five connections", func() bool { return g.state().Connections == 5 })

			g.signal(sig)
			g.awaitDraining()
			get(t, g.admin+"/healthz").expect(t, 200, "ok")
			get(t, g.admin+"/readyz").expect(t, 503, "draining")
			idle.expectClosed()
			await(t, "new connections to be refused", func() bool {
				nc, err := net.Dial("tcp", g.addr())
				if err == nil {
					nc.Close()
				}
				return refused(err)
			})
			if !g.running() {
				t.Fatal("the process has ended with requests in flight")
			}

			upload.send("world")
			r := upload.read("PUT")
			r.expect(t, 200, "sha256="+sum("helloworld"))
			if !r.Close {
				t.Error("a response while draining does not announce the close")
			}
			upload.expectClosed()
			chunked.send("5\r\nworld\r\n0\r\n\r\n")
			chunked.read("PUT").expect(t, 200, "sha256="+sum("helloworld"))
			chunked.expectClosed()
			head.send("Host: e2e\r\n\r\n")
			head.read("GET").expect(t, 200, "GET /half-a-head")
			head.expectClosed()
			close(o.release)
			slow.read("GET").expect(t, 200, "first half, second half")
			if code := g.wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if n := len(g.logged("stopped")); n != 1 {
				t.Errorf("%d lines say that the process has stopped", n)
			}
		})
	}
}

func TestShutdownWithNothingToDo(t *testing.T) {
	t.Parallel()
	g := serve(t, "shutdown_timeout: 10m\n"+inFront([]string{serveHTTP(t, echo)}))
	g.signal(syscall.SIGTERM)
	if code := g.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	for _, second := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		o := newSlowOrigin(t)
		g := serve(t, "shutdown_timeout: 10m\n"+inFront([]string{o.url}))
		dial(t, g.addr()).send("GET /slow HTTP/1.1\r\nHost: e2e\r\n\r\n")
		receive(t, "the request at the origin", o.begun)
		g.signal(syscall.SIGTERM)
		g.awaitDraining()
		g.signal(second)
		g.endedBy(second)
	}
}

// When shutdown_timeout has passed, what is left is cut off, and the process ends all the same.
func TestShutdownTimeout(t *testing.T) {
	t.Parallel()
	for _, timeout := range []string{"200ms", "0s"} {
		o := newSlowOrigin(t)
		g := serve(t, "shutdown_timeout: "+timeout+"\n"+inFront([]string{o.url}))
		slow := dial(t, g.addr())
		slow.send("GET /slow HTTP/1.1\r\nHost: e2e\r\n\r\n")
		receive(t, "the request at the origin", o.begun)
		upload := dial(t, g.addr())
		upload.send("PUT /up HTTP/1.1\r\nHost: e2e\r\nContent-Length: 10\r\n\r\nhello")
		receive(t, "the upload at the origin", o.begun)
		g.signal(syscall.SIGTERM)
		if code := g.wait(); code != 0 {
			t.Errorf("%s: exit code %d", timeout, code)
		}
		if n := len(g.logged("stopped with requests in flight: shutdown_timeout has passed")); n != 1 {
			t.Errorf("%s: %d warnings about requests in flight", timeout, n)
		}
		if resp, err := http.ReadResponse(slow.br, nil); err == nil {
			if body, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("%s: a response that was cut off looks complete: %q", timeout, body)
			}
		}
	}
}

// A tunnel has no end of its own: shutdown_timeout ends it.
func TestShutdownCutsTunnels(t *testing.T) {
	t.Parallel()
	closed := make(chan websocket.StatusCode, 1)
	g := serve(t, "shutdown_timeout: 200ms\n"+inFront([]string{serveWebSocket(t, closed)}))
	c, ctx := dialWebSocket(t, g)
	g.signal(syscall.SIGTERM)
	if code := g.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, _, err := c.Read(ctx); err == nil {
		t.Error("the WebSocket still delivers messages")
	}
	receive(t, "the origin to notice", closed)
}

// Load goes on while the process stops. Whatever the origin has seen was answered in full, and no response is torn.
// A connection that is refused, or an idle one that is closed just as the client sends, is no fault: nothing was
// accepted.
func TestShutdownUnderLoad(t *testing.T) {
	t.Parallel()
	const workers, enough = 50, 3000
	var mu sync.Mutex
	seen := make(map[string]bool) // requests at the origin; guarded by mu
	origin := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.URL.Path] = true
		mu.Unlock()
		io.Copy(w, strings.NewReader(strings.Repeat("x", 20<<10)+r.URL.Path))
	})
	g := serve(t, "shutdown_timeout: 10m\n"+inFront([]string{origin}))

	var done atomic.Int64
	var answered, closedIdle sync.Map // paths
	var running sync.WaitGroup
	for worker := range workers {
		running.Go(func() {
			w := loader{t: t, addr: g.addr(), name: fmt.Sprint("/", worker)}
			for w.next() {
				done.Add(1)
				answered.Store(w.path, true)
			}
			if w.unanswered {
				closedIdle.Store(w.path, true)
			}
		})
	}
	await(t, "the load to be under way", func() bool { return done.Load() > enough || t.Failed() })
	g.signal(syscall.SIGTERM)
	running.Wait()
	if code := g.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	idle := 0
	closedIdle.Range(func(path, _ any) bool {
		idle++
		if seen[path.(string)] {
			t.Errorf("%v has reached the origin and was not answered", path)
		}
		return true
	})
	for path := range seen {
		if _, ok := answered.Load(path); !ok {
			t.Errorf("%s has reached the origin and was not answered", path)
		}
	}
	t.Logf("%d requests answered; %d met a connection that was just being closed", done.Load(), idle)
}

// loader is a client with keep-alive that connects again when it is told to close.
type loader struct {
	t          *testing.T
	addr, name string
	count      int
	path       string // of the last request
	nc         net.Conn
	br         *bufio.Reader
	unanswered bool // the last request was sent, and the connection was closed without a byte of response
}

// next makes one request. It reports false when the gateway takes no more, and fails the test for a response that is
// not what it should be.
func (l *loader) next() bool {
	if l.nc == nil && !l.connect() {
		return false
	}
	l.count++
	l.path = fmt.Sprintf("%s/%d", l.name, l.count)
	fmt.Fprintf(l.nc, "GET %s HTTP/1.1\r\nHost: e2e\r\n\r\n", l.path) // if it fails, so will the read
	if _, err := l.br.Peek(1); err != nil {
		l.nc.Close()
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			l.unanswered = true
		} else {
			l.t.Errorf("%s: %v", l.path, err)
		}
		return false
	}
	resp, err := http.ReadResponse(l.br, nil)
	if err != nil {
		l.t.Errorf("%s: a torn head: %v", l.path, err)
		return false
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !strings.HasSuffix(string(body), "x"+l.path) {
		l.t.Errorf("%s: %s with %d bytes, %v", l.path, resp.Status, len(body), err)
		return false
	}
	if resp.Close {
		l.nc.Close()
		l.nc = nil
	}
	return true
}

// connect reports false when the gateway takes no more connections: they are refused, or reset if the handshake is
// under way as the listener closes.
func (l *loader) connect() bool {
	nc, err := net.Dial("tcp", l.addr)
	if err != nil {
		if !refused(err) && !errors.Is(err, syscall.ECONNRESET) {
			l.t.Errorf("connecting: %v", err)
		}
		return false
	}
	l.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(2 * patience))
	l.nc, l.br = nc, bufio.NewReader(nc)
	return true
}
