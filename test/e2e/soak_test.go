package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// soak is how much the soak test does.
type soak struct{ requests, aborts int64 }

func soakSize() soak {
	switch {
	case os.Getenv("SLUICE_SOAK") == "1":
		return soak{1_000_000, 10_000}
	case raceEnabled:
		return soak{6_000, 300}
	default:
		return soak{20_000, 500}
	}
}

// What a process may have more of after the soak than before it.
const (
	moreGoroutines  = 5
	moreDescriptors = 5
	moreHeap        = 4 << 20  // bytes in use after a collection
	moreResident    = 32 << 10 // KiB
)

// footprint is what a process holds when nothing is under way.
type footprint struct {
	goroutines, heap int
	descriptors      int
	resident         int64 // KiB
}

func (f footprint) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d KiB of heap, %d KiB resident", f.goroutines, f.descriptors, f.heap>>10, f.resident)
}

// After many requests and many aborted connections the process holds no more goroutines, descriptors and memory than
// after a few.
func TestSoak(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t)
	g := serveFile(t, "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0, pprof: true}\n"+
		inFront([]string{origin}, "keep_alive: {idle: 1s}"))
	size := soakSize()
	g.soak(soak{size.requests / 10, size.aborts / 10}, nil)
	before := g.footprint()
	t.Logf("warm: %v", before)

	begun := time.Now()
	g.soak(size, func(done int64) {
		t.Logf("%v: %d of %d requests; %v goroutines, %d descriptors, %d KiB resident", time.Since(begun).Round(time.Second),
			done, size.requests, g.metric("go_goroutines"), g.descriptors(), g.status("VmRSS"))
	})
	after := g.footprint()
	t.Logf("after %d requests and %d aborted connections in %v: %v", size.requests, size.aborts, time.Since(begun).Round(time.Millisecond), after)
	for _, c := range []struct {
		what                 string
		before, after, extra int64
	}{
		{"goroutines", int64(before.goroutines), int64(after.goroutines), moreGoroutines},
		{"descriptors", int64(before.descriptors), int64(after.descriptors), moreDescriptors},
		{"bytes of heap", int64(before.heap), int64(after.heap), moreHeap},
		{"KiB of resident memory", before.resident, after.resident, moreResident},
	} {
		if c.after > c.before+c.extra {
			t.Errorf("%d %s, %d before, expected at most %d more", c.after, c.what, c.before, c.extra)
		}
	}
}

// footprint waits until nothing is under way and no connection to the origin is kept, and then measures.
func (g *gateway) footprint() footprint {
	g.t.Helper()
	g.awaitQuiet()
	await(g.t, "the kept connections to be closed", func() bool { return g.metric("sluice_upstream_idle_connections") == 0 })
	get(g.t, g.admin+"/debug/pprof/heap?gc=1").expect(g.t, 200, "")
	m := g.metrics()
	return footprint{
		goroutines:  int(m["go_goroutines"].GetMetric()[0].GetGauge().GetValue()),
		heap:        int(m["go_memstats_heap_alloc_bytes"].GetMetric()[0].GetGauge().GetValue()),
		descriptors: g.descriptors(),
		resident:    g.status("VmRSS"),
	}
}

// soak makes requests and aborts connections beside them. progress, if it is not nil, hears of every tenth part.
func (g *gateway) soak(size soak, progress func(done int64)) {
	g.t.Helper()
	var requests, aborts atomic.Int64
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for requests.Load() < size.requests && !g.t.Failed() {
				if err := g.converse(&requests, size.requests, progress); err != nil {
					g.t.Errorf("a request: %v", err)
				}
			}
		})
	}
	for range 8 {
		workers.Go(func() {
			for n := aborts.Add(1); n <= size.aborts && !g.t.Failed(); n = aborts.Add(1) {
				if err := g.abort(int(n)); err != nil {
					g.t.Errorf("an aborted connection: %v", err)
				}
			}
		})
	}
	workers.Wait()
}

// converse makes up to 500 requests on one connection.
func (g *gateway) converse(count *atomic.Int64, total int64, progress func(int64)) error {
	nc, err := net.Dial("tcp", g.addr())
	if err != nil {
		return err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * patience))
	br := bufio.NewReader(nc)
	for i := range 500 {
		n := count.Add(1)
		if n > total {
			return nil
		}
		again, err := exchange(nc, br, i)
		if err != nil {
			return err
		}
		if progress != nil && n%max(total/10, 1) == 0 {
			progress(n)
		}
		if !again {
			return nil
		}
	}
	return nil
}

// exchange makes one of several kinds of requests, reads the response, and reports whether the connection can carry
// another.
func exchange(nc net.Conn, br *bufio.Reader, kind int) (again bool, err error) {
	request := []string{
		"GET /a HTTP/1.1\r\nHost: e2e\r\n\r\n",
		"GET /?bytes=20000 HTTP/1.1\r\nHost: e2e\r\nX-Request-Id: mine\r\n\r\n",
		"POST /b HTTP/1.1\r\nHost: e2e\r\nContent-Length: 5\r\n\r\nhello",
		"GET /?bytes=5000&chunked=1 HTTP/1.1\r\nHost: e2e\r\n\r\n",
		"PUT /c HTTP/1.1\r\nHost: e2e\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	}[kind%5]
	if _, err := io.WriteString(nc, request); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return false, err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return false, err
	}
	if resp.StatusCode != 200 {
		return false, fmt.Errorf("%.30q was answered with %s", request, resp.Status)
	}
	return !resp.Close, nil
}

// abort opens a connection and breaks it off, in one of several ways.
func (g *gateway) abort(kind int) error {
	nc, err := net.Dial("tcp", g.addr())
	if err != nil {
		return err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	if kind%2 == 0 {
		nc.(*net.TCPConn).SetLinger(0) // a reset
	}
	piece := strings.Repeat("x", 64<<10)
	c := []struct {
		request string
		read    int64 // bytes of response to wait for
	}{
		{"", 0},
		{"GET / HTTP/1.1\r\nHost:", 0},
		{"GET /?bytes=100MB HTTP/1.1\r\nHost: e2e\r\n\r\n", 100_000},
		{"GET /?bytes=100MB&chunked=1 HTTP/1.1\r\nHost: e2e\r\n\r\n", 100_000},
		{"GET /?sleep=300ms HTTP/1.1\r\nHost: e2e\r\n\r\n", 0},
		{"GET /?sse=1000000&interval=20ms HTTP/1.1\r\nHost: e2e\r\n\r\n", 300},
		{"PUT / HTTP/1.1\r\nHost: e2e\r\nContent-Length: 1000000\r\n\r\n" + piece, 0},
		{"PUT / HTTP/1.1\r\nHost: e2e\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n" + piece + "\r\nff", 0},
		{"PUT / HTTP/1.1\r\nHost: e2e\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n", 20},
		{strings.Repeat("GET /?bytes=20000 HTTP/1.1\r\nHost: e2e\r\n\r\n", 10), 30_000},
		{"POST /?sleep=300ms HTTP/1.1\r\nHost: e2e\r\nContent-Length: 5\r\n\r\nhello", 0},
	}[kind/2%11]
	if _, err := io.WriteString(nc, c.request); err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, nc, c.read)
	return err
}
