package origin_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluicegate/sluice/internal/origin"
)

// upload is a request held in flight: its body is sent but for the end.
type upload struct {
	io.ReadWriteCloser
	w *world
}

func openUpload(w *world, path string) upload {
	w.Helper()
	conn := w.dial()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: o\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", path)
	return upload{conn, w}
}

// finish sends the end of the body and returns the answer.
func (u upload) finish() string {
	u.w.Helper()
	fmt.Fprint(u, "0\r\n\r\n")
	answer, err := io.ReadAll(u)
	if err != nil {
		u.w.Fatal(err)
	}
	u.Close()
	return string(answer)
}

func TestLargestNumberInFlight(t *testing.T) {
	w := start(t, origin.Options{})
	var a, b []upload
	for range 7 {
		a = append(a, openUpload(w, "/a"))
	}
	for range 3 {
		b = append(b, openUpload(w, "/b"))
	}
	w.until("ten in flight", func(st origin.Stats) bool { return st.InFlight == 10 })
	for _, u := range append(a[:4:4], b...) {
		u.finish()
	}
	w.do("GET", "/a?bytes=1MB", nil)
	st := w.server.Stats()
	if st.Counts != (origin.Counts{Served: 11, InFlight: 3, MaxInFlight: 10}) {
		t.Errorf("in all: %+v", st.Counts)
	}
	if got := st.Paths["/a"]; got != (origin.Counts{Served: 8, InFlight: 3, MaxInFlight: 7}) {
		t.Errorf("/a: %+v", got)
	}
	if got := st.Paths["/b"]; got != (origin.Counts{Served: 3, InFlight: 0, MaxInFlight: 3}) {
		t.Errorf("/b: %+v", got)
	}

	w.server.Reset() // what is in flight stays so
	st = w.server.Stats()
	if st.Counts != (origin.Counts{InFlight: 3, MaxInFlight: 3}) || len(st.Paths) != 1 || st.Paths["/a"] != st.Counts {
		t.Errorf("after the reset: %+v", st)
	}
	for _, u := range a[4:] {
		u.finish()
	}
	if st = w.server.Stats(); st.Counts != (origin.Counts{MaxInFlight: 3}) {
		t.Errorf("at the end: %+v", st)
	}
}

// watchedListener notes how many requests are in flight each time that something is written to a connection.
type watchedListener struct {
	net.Listener
	server *origin.Server
	last   atomic.Int64 // number in flight at the last write
}

type watchedConn struct {
	net.Conn
	ln *watchedListener
}

func (l *watchedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return watchedConn{conn, l}, err
}

func (c watchedConn) Write(p []byte) (int, error) {
	c.ln.last.Store(c.ln.server.Stats().InFlight)
	return c.Conn.Write(p)
}

// A request is out of flight before the last of its answer is written. Otherwise a client that sends one request after
// the other, on several connections, could be in flight twice.
func TestOutOfFlightBeforeTheAnswerEnds(t *testing.T) {
	server := origin.New(origin.Options{})
	ln := &watchedListener{Listener: listen(t), server: server}
	w := startOn(t, server, ln)
	queries := []string{"", "chunked=1", "status=204", "status=404", "sse=2&interval=0s", "sse=0", "bytes=x",
		"bytes=0", "bytes=10", "bytes=4096", "bytes=64KiB", "bytes=200001", "bytes=1MiB", "bytes=0&chunked=1", "bytes=1MiB&chunked=1"}
	for _, query := range queries {
		for _, method := range []string{"GET", "HEAD"} {
			w.do(method, "/one?"+query, nil)
			if n := ln.last.Load(); n != 0 {
				t.Errorf("%s %s: %d in flight when the end of the answer is written", method, query, n)
			}
		}
	}
	served := int64(2 * len(queries))
	if st := server.Stats(); st.Counts != (origin.Counts{Served: served, MaxInFlight: 1}) || st.Paths["/one"] != st.Counts {
		t.Errorf("%+v", st)
	}
}

func TestStatsAreExactUnderConcurrency(t *testing.T) {
	const clients, rounds = 32, 100
	w := start(t, origin.Options{})
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for j := range rounds {
				w.do("GET", fmt.Sprintf("/p%d", (i+j)%4), nil)
				w.do("GET", fmt.Sprintf("/own/%d", i), nil)
				if j%10 == 0 {
					w.server.Stats()
				}
			}
		})
	}
	wg.Wait()
	st := w.server.Stats()
	if st.Served != clients*rounds*2 || st.InFlight != 0 || st.MaxInFlight < 1 || st.MaxInFlight > clients || len(st.Paths) != 4+clients {
		t.Errorf("%+v", st)
	}
	for path, c := range st.Paths {
		want := origin.Counts{Served: rounds, MaxInFlight: 1}
		if strings.HasPrefix(path, "/p") {
			want = origin.Counts{Served: clients * rounds / 4, MaxInFlight: c.MaxInFlight}
		}
		if c != want {
			t.Errorf("%s: %+v, want %+v", path, c, want)
		}
	}
}

// Resets among the requests lose none: every request is in the counts before one reset or after it, and none stays in flight.
func TestResetUnderConcurrency(t *testing.T) {
	w := start(t, origin.Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for j := range 200 {
				if w.do("GET", "/r", nil); j%20 == 0 {
					w.server.Reset()
				}
			}
		})
	}
	wg.Wait()
	w.server.Reset()
	if st := w.server.Stats(); st.Counts != (origin.Counts{}) || len(st.Paths) != 0 {
		t.Errorf("%+v", st)
	}
}

func TestControlPaths(t *testing.T) {
	w := start(t, origin.Options{Fail: 1})
	w.do("GET", "/a", nil)
	w.do("GET", "/healthz", nil)
	for range 2 { // the second time it has not counted the first
		resp, text := w.do("GET", "/_origin/stats", nil)
		want := `{"served":2,"in_flight":0,"max_in_flight":1,"paths":{` +
			`"/a":{"served":1,"in_flight":0,"max_in_flight":1},"/healthz":{"served":1,"in_flight":0,"max_in_flight":1}}}` + "\n"
		if resp.StatusCode != 200 || text != want || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%d\n%s\n%s", resp.StatusCode, text, want)
		}
	}
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"POST", "/_origin/stats", 405, "GET, HEAD"},
		{"GET", "/_origin/reset", 405, "POST"},
		{"GET", "/_origin/else", 404, ""},
		{"POST", "/_origin/reset", 204, ""},
	} {
		if resp, _ := w.do(c.method, c.path, nil); resp.StatusCode != c.status || resp.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q", c.method, c.path, resp.StatusCode, resp.Header.Get("Allow"))
		}
	}
	_, text := w.do("GET", "/_origin/stats", nil)
	var st origin.Stats
	if err := json.Unmarshal([]byte(text), &st); err != nil || st.Served != 0 || len(st.Paths) != 0 {
		t.Errorf("%v %s", err, text)
	}
	if _, text := w.do("GET", "/a", nil); decode(t, text).Counter != 3 {
		t.Errorf("the counter of the bodies goes on after a reset: %s", text)
	}
}

func TestPathTableIsBounded(t *testing.T) {
	w := start(t, origin.Options{})
	w.do("GET", "/"+strings.Repeat("long", 300), nil)
	for i := range 10_050 {
		w.do("GET", fmt.Sprintf("/n/%d", i), nil)
	}
	w.do("GET", "/n/0", nil)
	st := w.server.Stats()
	if len(st.Paths) != 10_001 || st.Paths["other"].Served != 51 || st.Paths["/n/0"].Served != 2 || st.Served != 10_052 {
		t.Errorf("%d paths, other %+v, /n/0 %+v, in all %+v", len(st.Paths), st.Paths["other"], st.Paths["/n/0"], st.Counts)
	}
	w.server.Reset()
	w.do("GET", "/new", nil)
	if st := w.server.Stats(); len(st.Paths) != 1 || st.Paths["/new"].Served != 1 {
		t.Errorf("after the reset: %+v", st)
	}
}
