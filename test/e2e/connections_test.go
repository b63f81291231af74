package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// More clients than max_connections: they wait for their turn, and none is reset.
func TestConnectionCap(t *testing.T) {
	t.Parallel()
	const limit, clients = 4, 60
	var inFlight, most atomic.Int64
	release := make(chan struct{})
	g := serve(t, fmt.Sprintf("max_connections: %d\n", limit)+inFront([]string{serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		n := inFlight.Add(1)
		defer inFlight.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		io.WriteString(w, "served")
	})}))
	var waiting sync.WaitGroup
	for range clients {
		c := dial(t, g.addr()) // the kernel connects it, whether there is room or not
		c.send("GET / HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n\r\n")
		waiting.Go(func() {
			resp, err := http.ReadResponse(c.br, nil)
			if err != nil {
				t.Errorf("a client that had to wait: %v", err)
				return
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "served" {
				t.Errorf("a client that had to wait: %s %q, %v", resp.Status, body, err)
			}
		})
	}
	await(t, "the cap to be reached", func() bool { return inFlight.Load() == limit })
	if n := g.state().Connections; n != limit {
		t.Errorf("%d connections are open, expected %d", n, limit)
	}
	close(release)
	waiting.Wait()
	if n := most.Load(); n > limit {
		t.Errorf("%d requests were in flight at once, expected at most %d", n, limit)
	}
	if n := g.metric("sluice_connections_accepted_total"); n != clients {
		t.Errorf("%v connections were accepted, expected %d", n, clients)
	}
}

// Clients that send their heads byte by byte take up every connection there may be. They are cut off when their time
// is over, so that the others get their turn.
func TestSlowLoris(t *testing.T) {
	t.Parallel()
	const limit = 5
	g := serve(t, fmt.Sprintf("max_connections: %d\ntimeouts: {header: 500ms}\n", limit)+inFront([]string{serveHTTP(t, echo)}))
	var slow []*rawConn
	for range limit {
		c := dial(t, g.addr())
		c.send("GET / HTTP/1.1\r\nHost: e2e\r\nX-Slow: ")
		slow = append(slow, c)
	}
	stop := make(chan struct{})
	var dribbling sync.WaitGroup
	defer dribbling.Wait()
	defer close(stop)
	for _, c := range slow {
		dribbling.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond) // slowness is the attack
			}
		})
	}
	for range 2 * limit {
		c := dial(t, g.addr())
		c.ask("/patient").expect(t, 200, "GET /patient")
		c.Close()
	}
	for _, c := range slow {
		if resp, err := http.ReadResponse(c.br, nil); err == nil && resp.StatusCode != 408 {
			t.Errorf("a client that sends byte by byte got %s", resp.Status)
		}
	}
}

// The client leaves while the response is on its way.
func TestClientAbortsDownload(t *testing.T) {
	t.Parallel()
	noticed := make(chan error, 1)
	g := serve(t, inFront([]string{serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(struct{ io.Writer }{w}, noise(4, 1<<40))
		noticed <- err
	})}))
	c := dial(t, g.addr())
	c.send("GET / HTTP/1.1\r\nHost: e2e\r\n\r\n")
	if _, err := io.CopyN(io.Discard, c.br, 1<<20); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := receive(t, "the origin to notice", noticed); err == nil {
		t.Error("the origin believes that the client has got everything")
	}
	g.awaitQuiet()
}

// The client leaves in the middle of its upload: the origin must not take what came for all of it.
func TestClientAbortsUpload(t *testing.T) {
	t.Parallel()
	begun, read := make(chan struct{}, 1), make(chan error, 1)
	g := serve(t, inFront([]string{serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, 5)
		begun <- struct{}{}
		_, err := io.Copy(io.Discard, r.Body)
		read <- err
	})}))
	for _, framed := range []string{"Content-Length: 100\r\n\r\nhello and", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
		for _, how := range []string{"closed", "reset"} {
			c := dial(t, g.addr())
			c.send("PUT / HTTP/1.1\r\nHost: e2e\r\n" + framed)
			receive(t, "the upload to begin", begun)
			if how == "reset" {
				c.SetLinger(0)
			}
			c.Close()
			if err := receive(t, "the origin to notice", read); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s after %q, and the origin read to %v", how, framed, err)
			}
		}
	}
	g.awaitQuiet()
}

// The client leaves while the origin thinks: the call is given up.
func TestClientLeavesWhileWaiting(t *testing.T) {
	t.Parallel()
	begun, gone := make(chan struct{}, 1), make(chan struct{}, 1)
	g := serve(t, inFront([]string{serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	})}))
	for range 3 {
		c := dial(t, g.addr())
		c.send("GET / HTTP/1.1\r\nHost: e2e\r\n\r\n")
		receive(t, "the request at the origin", begun)
		c.Close()
		receive(t, "the origin to be told", gone)
	}
	g.awaitQuiet()
	if n := g.metric("sluice_requests_total", "route", "/*", "status", "4xx"); n != 3 {
		t.Errorf("/metrics counts %v requests whose client has left, expected 3", n)
	}
}

// awaitQuiet waits until nothing is under way.
func (g *gateway) awaitQuiet() {
	g.t.Helper()
	await(g.t, "nothing to be in flight", func() bool {
		m := g.metrics()
		return m["sluice_requests_in_flight"].GetMetric()[0].GetGauge().GetValue() == 0 &&
			m["sluice_connections_open"].GetMetric()[0].GetGauge().GetValue() == 0
	})
}

// An origin that breaks off must not look like one that is done.
func TestOriginBreaksOff(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer nc.Close()
		switch r.URL.Path {
		case "/known":
			io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
		case "/chunks":
			io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n")
		case "/bad-chunk":
			io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\nzz\r\n")
		}
	})}))
	for _, version := range []string{"1.1", "1.0"} {
		for _, path := range []string{"/known", "/chunks", "/bad-chunk"} {
			c := dial(t, g.addr())
			c.send("GET " + path + " HTTP/" + version + "\r\nHost: e2e\r\n\r\n")
			resp, err := http.ReadResponse(c.br, nil)
			if err != nil {
				continue // cut off before the client could read the head: that says it, too
			}
			if body, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("HTTP/%s %s: %q looks complete", version, path, body)
			}
		}
	}
}

// A connection that is reset right after the handshake must not stop the others.
func TestResetBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, echo)}))
	for range 50 {
		nc, err := net.Dial("tcp", g.addr())
		if err != nil {
			t.Fatal(err)
		}
		nc.(*net.TCPConn).SetLinger(0)
		nc.Close()
	}
	get(t, g.url).expect(t, 200, "GET /")
	g.awaitQuiet()
}
