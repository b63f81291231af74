package upstream_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/upstream"
)

// counted counts the connections of a target.
func counted(script func(w *wire), n *counter) func(w *wire) {
	return func(w *wire) { n.add(); script(w) }
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add()     { c.mu.Lock(); c.n++; c.mu.Unlock() }
func (c *counter) get() int { c.mu.Lock(); defer c.mu.Unlock(); return c.n }

// Connections are used again after every kind of complete exchange, one client's after another's.
func TestReuse(t *testing.T) {
	var conns counter
	f := newFront(t, settings(target(t, counted(func(w *wire) {
		for {
			r, err := http.ReadRequest(w.r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			switch r.URL.Path {
			case "/chunked":
				w.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: u\r\n\r\n")
			case "/204":
				w.send("HTTP/1.1 204 No Content\r\n\r\n")
			case "/304":
				w.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n")
			case "/head":
				w.send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
			case "/103":
				w.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			case "/1.0":
				w.send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
			default:
				w.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}
	}, &conns))))
	for _, raw := range []string{
		get, post, "GET /chunked HTTP/1.1\r\nHost: h\r\n\r\n", "GET /204 HTTP/1.1\r\nHost: h\r\n\r\n", "GET /304 HTTP/1.1\r\nHost: h\r\n\r\n",
		"HEAD /head HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "GET /103 HTTP/1.1\r\nHost: h\r\n\r\n", "GET /1.0 HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", get,
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000), get,
	} {
		c := f.dial()
		c.send("%s", raw)
		c.head()
		f.idle(1)
		c.Close()
	}
	if n := conns.get(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// idle waits until no call is under way and want connections are kept.
func (f *front) idle(want int) {
	f.t.Helper()
	eventually(f.t, "the call is over", func() bool {
		n, calls := 0, int64(0)
		for _, target := range f.Status().Targets {
			n, calls = n+target.Idle, calls+target.InFlight
		}
		return f.busy.Load() == 0 && calls == 0 && n == want
	})
}

// After these, a connection is not used again.
func TestNoReuse(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
		"HTTP/1.1 204 No Content\r\n\r\nevil",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
	} {
		var conns counter
		f := newFront(t, settings(target(t, counted(func(w *wire) {
			for w.head() != "" {
				w.send("%s", answer)
			}
		}, &conns))))
		for range 3 {
			if got := f.ask(get); got.status >= 500 || got.body == "evil" {
				t.Errorf("%q: %+v", answer, got)
			}
			f.idle(0)
		}
		if n := conns.get(); n != 3 {
			t.Errorf("%q: %d connections, want 3", answer, n)
		}
	}
}

// Bytes that a target sends unasked, after an answer was complete, are nobody's answer.
func TestUnsolicitedBytes(t *testing.T) {
	strayed := make(chan struct{}, 1)
	stray := make(chan struct{})
	f := newFront(t, settings(target(t, func(w *wire) {
		for w.head() != "" {
			w.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
			<-stray
			w.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			strayed <- struct{}{}
		}
	})))
	for _, request := range []string{get, post, get} {
		got := f.ask("%s", request)
		f.idle(1)
		stray <- struct{}{}
		<-strayed
		if got.body != "good" {
			t.Errorf("%q", got.body)
		}
	}
}

// A kept connection that the target has closed is replaced, for any request.
func TestStaleConnection(t *testing.T) {
	end, ended := make(chan struct{}), make(chan struct{})
	f := newFront(t, settings(target(t, func(w *wire) {
		w.head()
		w.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		<-end
		w.Close()
		ended <- struct{}{}
	})))
	for _, request := range []string{get, post, get, post} {
		if got := f.ask("%s", request); got.body != "ok" {
			t.Errorf("%q: %+v", request, got)
		}
		f.idle(1)
		end <- struct{}{}
		<-ended
	}
}

// A target that closes the connection on the next request, which cannot be foreseen: only what is idempotent is
// repeated.
func TestStaleConnectionNotForeseen(t *testing.T) {
	f := newFront(t, settings(target(t, func(w *wire) {
		w.head()
		w.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		w.head()
	})))
	if got := f.ask(get); got.body != "ok" {
		t.Errorf("%+v", got)
	}
	f.idle(1)
	if got := f.ask(get); got.body != "ok" {
		t.Errorf("%+v", got)
	}
	f.idle(1)
	if got := f.ask(post); got.kind != "lost" {
		t.Errorf("POST: %+v, want lost: it may have been worked on", got)
	}
}

func TestBadResponses(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: y\rz\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: y\x00z\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n", "HTTP/1.1 +20 OK\r\n\r\n",
		"HTTP/1.1  200 OK\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.12 200 OK\r\n\r\n", "http/1.1 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n",
		"220 smtp.example ESMTP\r\n\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 70<<10) + "\r\n\r\n",
		"HTTP/1.1 103 Early\r\nContent-Length: 2, 3\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	} {
		f := newFront(t, settings(target(t, func(w *wire) { w.head(); w.send("%s", answer); w.head() })))
		if got := f.ask(get); got.kind != "bad_response" {
			t.Errorf("%.60q: %+v, want bad_response", answer, got)
		}
		f.idle(0)
	}
}

// A body that ends too early, or whose chunks are broken, does not look whole to the client.
func TestBrokenBodies(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0x0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
	} {
		for _, version := range []string{"1.0", "1.1"} {
			f := newFront(t, settings(target(t, func(w *wire) { w.head(); w.send("%s", answer) })))
			c := f.dial()
			c.send("GET / HTTP/%s\r\nHost: h\r\n\r\n", version)
			resp, err := http.ReadResponse(c.r, nil)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
			}
			if err == nil {
				t.Errorf("%q looks whole to a client of HTTP/%s", answer, version)
			}
			f.idle(0)
		}
	}
}

func TestTimeouts(t *testing.T) {
	mute := func(w *wire) { io.Copy(io.Discard, w.r) }
	const short = 30 * time.Millisecond
	hints := func(w *wire) { w.head(); w.send("HTTP/1.1 103 Early Hints\r\n\r\n"); w.head() }
	tests := []struct {
		name    string
		script  func(w *wire)
		set     func(u *config.Upstream)
		request string
		status  int
		kind    string
	}{
		{"header", mute, func(u *config.Upstream) { u.Timeouts.Header = short }, get, 599, "header_timeout"},
		{"header after a body", mute, func(u *config.Upstream) { u.Timeouts.Header = short }, post, 599, "header_timeout"},
		{"header after a long body", mute, func(u *config.Upstream) { u.Timeouts.Header = short },
			"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + strings.Repeat("x", 100000) + "\r\n0\r\n\r\n", 599, "header_timeout"},
		{"header after a part of it", func(w *wire) { w.head(); w.send("HTTP/1.1 2"); w.head() },
			func(u *config.Upstream) { u.Timeouts.Header = short }, get, 599, "header_timeout"},
		{"header after an interim response", hints, func(u *config.Upstream) { u.Timeouts.Header = 300 * time.Millisecond }, get, 598, ""},
		{"total", mute, func(u *config.Upstream) { u.Timeouts.Total = short }, get, 599, "total_timeout"},
		{"total while the body is sent", mute, func(u *config.Upstream) { u.Timeouts.Total = short },
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf", 599, "total_timeout"},
		{"total, retried never", mute, func(u *config.Upstream) { u.Timeouts.Total = short; u.Retries = config.Retries{Max: 5, Budget: 100} }, get, 599, "total_timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := settings(target(t, tt.script))
			tt.set(cfg)
			f := newFront(t, cfg)
			c := f.dial()
			c.send("%s", tt.request)
			resp, err := http.ReadResponse(c.r, nil)
			for err == nil && resp.StatusCode == 103 {
				resp, err = http.ReadResponse(c.r, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status || resp.Header.Get("X-Kind") != tt.kind {
				t.Errorf("%s %s, want %d %s", resp.Status, resp.Header.Get("X-Kind"), tt.status, tt.kind)
			}
			f.idle(0)
		})
	}
}

func TestConnectTimeout(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // it speaks no TLS, and nothing at all
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg := settings(ln.Addr().String())
	cfg.Targets[0].Scheme = "https"
	cfg.Timeouts.Connect = 30 * time.Millisecond
	f := newFront(t, cfg)
	if got := f.ask(post); got.kind != "connect" {
		t.Errorf("%+v, want connect", got)
	}
}

// A pause within a body that is longer than the idle timeout breaks the response off.
func TestIdleTimeoutWithinBody(t *testing.T) {
	cfg := settings(target(t, func(w *wire) { w.head(); w.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"); w.head() }))
	cfg.Timeouts.Idle = 30 * time.Millisecond
	if got := newFront(t, cfg).ask(get); got.err == nil {
		t.Errorf("%+v, want a broken body", got)
	}
}

// A target may answer before it has the whole body: the client gets the answer and the upload is given up, also when
// the target does not read on.
func TestEarlyResponse(t *testing.T) {
	for _, reads := range []bool{true, false} {
		release := make(chan struct{})
		f := newFront(t, settings(target(t, func(w *wire) {
			w.head()
			w.send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
			if reads {
				io.Copy(io.Discard, w.r)
			} else {
				<-release
			}
		})))
		c := f.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			piece := append(append([]byte("10000\r\n"), make([]byte, 1<<16)...), "\r\n"...)
			for {
				if _, err := c.Write(piece); err != nil {
					return
				}
			}
		}()
		if got := f.reply(c); got.status != 403 || got.body != "no" {
			t.Errorf("reads %v: %+v", reads, got)
		}
		f.idle(0)
		<-stopped
		close(release)
	}
}

// The same when nothing but the end of the exchange's time makes the gateway give up.
func TestTotalTimeoutWhileTargetDoesNotRead(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	cfg := settings(target(t, func(w *wire) { <-release }))
	cfg.Timeouts.Total = 200 * time.Millisecond
	f := newFront(t, cfg)
	c := f.dial()
	go func() {
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n")
		io.CopyN(c, zeros{}, 1e8)
	}()
	if got := f.reply(c); got.kind != "total_timeout" {
		t.Errorf("%+v, want total_timeout", got)
	}
	f.idle(0)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A client that leaves, or sends nonsense, in the middle of its body: the target never sees a complete request.
func TestUploadFails(t *testing.T) {
	tests := []struct {
		name, body string
		leave      bool
		maxBody    int64
		kind       string
	}{
		{"leaves", "Content-Length: 10\r\n\r\nhalf", true, 0, "client_body"},
		{"leaves within chunks", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", true, 0, "client_body"},
		{"bad chunk", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n-1\r\n", false, 0, "client_body"},
		{"bad trailer", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX : y\r\n\r\n", false, 0, "client_body"},
		{"too long", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n4\r\nmore\r\n0\r\n\r\n", false, 6, "body_too_large"},
		{"too long at once", "Transfer-Encoding: chunked\r\n\r\n8\r\nhalfmore\r\n0\r\n\r\n", false, 6, "body_too_large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan string, 1)
			started := make(chan struct{}, 1)
			f := newFront(t, settings(target(t, func(w *wire) {
				w.head()
				started <- struct{}{}
				body, _ := io.ReadAll(w.r)
				got <- string(body)
			})))
			f.hop.MaxBody = tt.maxBody
			c := f.dial()
			c.send("POST / HTTP/1.1\r\nHost: h\r\n%s", tt.body)
			<-started
			if tt.leave {
				c.Close()
			}
			if body := <-got; strings.Contains(body, "0\r\n\r\n") || len(body) >= 10 && strings.HasPrefix(tt.body, "Content") {
				t.Errorf("the target got %q", body)
			}
			f.idle(0)
			if failure := f.failed.Load(); failure == nil || failure.Kind.Label() != tt.kind {
				t.Errorf("%v, want %s", failure, tt.kind)
			}
		})
	}
}

func TestClientGone(t *testing.T) {
	arrived := make(chan struct{})
	f := newFront(t, settings(target(t, func(w *wire) {
		w.head()
		arrived <- struct{}{}
		if w.head() != "" {
			t.Error("another request on a connection whose client left")
		}
		arrived <- struct{}{}
	})))
	c := f.dial()
	c.send(get)
	<-arrived
	c.Close()
	<-arrived
	f.idle(0)
	if failure := f.failed.Load(); failure == nil || failure.Kind != upstream.ClientGone {
		t.Errorf("%v, want client gone", failure)
	}
}

// A kept connection carries no deadline over from the call before.
func TestDeadlinesEnd(t *testing.T) {
	const idle = 300 * time.Millisecond
	cfg := settings(target(t, answers("")))
	cfg.Timeouts.Idle = idle
	f := newFront(t, cfg)
	for range 2 {
		c := f.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
		if got := f.reply(c); got.status != 200 {
			t.Fatalf("%+v", got)
		}
		f.idle(1)
		time.Sleep(idle + idle/2) // what was set for the body before has passed now
		if got := f.ask(get); got.status != 200 {
			t.Errorf("%+v", got)
		}
		f.idle(1)
	}
}

// Large bodies pass both ways, unchanged, on connections that are shared by many clients, while others misbehave.
func TestBodiesAreNotMixed(t *testing.T) {
	f := newFront(t, settings(target(t, mirror), target(t, mirror)))
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			body := bytes.Repeat([]byte{byte('a' + i)}, 1+i*37*1021)
			for range 8 {
				c := f.dial()
				go func() {
					c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", len(body))
					if i%4 == 3 { // leaves in the middle
						c.Write(body[:len(body)/2])
						c.Close()
						return
					}
					c.Write(body)
				}()
				if i%4 == 3 {
					io.Copy(io.Discard, c.r)
					continue
				}
				if got := f.reply(c); got.body != string(body) {
					t.Errorf("client %d: %d bytes came back of %d, or another's", i, len(got.body), len(body))
				}
				c.Close()
			}
		})
	}
	all.Wait()
}

// mirror answers with the body it gets.
func mirror(w *wire) {
	for {
		r, err := http.ReadRequest(w.r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.send("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body))
		w.Write(body)
	}
}
