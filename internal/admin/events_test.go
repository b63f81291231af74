package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/internal/admin"
	"github.com/sluicegate/sluice/internal/arrivals"
	"github.com/sluicegate/sluice/internal/feed"
)

// pipes is a listener in memory, so that a test with virtual time may use it.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p.conns <- there
	return here, nil
}

// inBubble runs a test in virtual time, with an admin listener that has a feed of eight events.
func inBubble(t *testing.T, test func(t *testing.T, b *bubble)) {
	synctest.Test(t, func(t *testing.T) {
		ln := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		b := &bubble{feed: feed.New(8)}
		b.server = admin.New(admin.Options{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Events: b.feed})
		served := make(chan error, 1)
		go func() { served <- b.server.Serve(ln) }()
		b.client.Transport = &http.Transport{DialContext: ln.dial, DisableKeepAlives: true}
		test(t, b)
		if err := b.server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

type bubble struct {
	feed   *feed.Feed
	server *admin.Server
	client http.Client
}

func (b *bubble) publish(n int) {
	for range n {
		b.feed.Publish("tick", map[string]int{"n": 1})
	}
}

// do sends a request. fields are pairs of names and values.
func (b *bubble) do(t *testing.T, method, path string, fields ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// listener is a client of the stream.
type listener struct {
	resp *http.Response
	in   *bufio.Reader
}

// listen opens a stream, and reads what it begins with.
func (b *bubble) listen(t *testing.T, path string, fields ...string) *listener {
	t.Helper()
	resp := b.do(t, "GET", path, fields...)
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("%s of type %q", resp.Status, got)
	}
	l := &listener{resp, bufio.NewReader(resp.Body)}
	if first, want := l.next(t), ": the feed began at "+b.feed.Since().UTC().Format(time.RFC3339Nano); first != want {
		t.Fatalf("the stream begins with %q, expected %q", first, want)
	}
	return l
}

// next is the next block of the stream, without the empty line that ends it.
func (l *listener) next(t *testing.T) string {
	t.Helper()
	var lines []string
	for {
		line, err := l.in.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", lines, err)
		}
		if line == "\n" {
			return strings.Join(lines, "\n")
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
}

// expect fails the test unless the next of the stream are the events from first to last.
func (l *listener) expect(t *testing.T, first, last int) {
	t.Helper()
	for seq := first; seq <= last; seq++ {
		want := fmt.Sprintf("id: %d\nevent: tick\ndata: {\"seq\":%d,\"time\":\"", seq, seq)
		if got := l.next(t); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, `"kind":"tick","data":{"n":1}}`) {
			t.Fatalf("got\n%s\nexpected\n%s…", got, want)
		}
	}
}

func (l *listener) expectLost(t *testing.T, n int) {
	t.Helper()
	if got, want := l.next(t), fmt.Sprintf("event: lost\ndata: {\"lost\":%d}", n); got != want {
		t.Fatalf("got\n%s\nexpected\n%s", got, want)
	}
}

func TestEventStream(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.publish(10) // of which 2 are lost
		for _, c := range []struct {
			path   string
			fields []string
			lost   int
			first  int
		}{
			{"/api/v1/events", nil, 0, 11},
			{"/api/v1/events", []string{"Last-Event-ID", "7"}, 0, 8},
			{"/api/v1/events", []string{"Last-Event-ID", "2"}, 0, 3},
			{"/api/v1/events", []string{"Last-Event-ID", "1"}, 1, 3},
			{"/api/v1/events", []string{"Last-Event-ID", "999"}, 2, 3}, // of another process
			{"/api/v1/events?after=0", []string{"Accept", "text/event-stream"}, 2, 3},
			{"/api/v1/events?after=0", []string{"Accept", "text/event-stream", "Last-Event-ID", "9"}, 0, 10}, // came again
		} {
			l := b.listen(t, c.path, c.fields...)
			last := int(b.feed.Last())
			if c.lost > 0 {
				l.expectLost(t, c.lost)
			}
			l.expect(t, c.first, last)
			l.resp.Body.Close()
		}
		l := b.listen(t, "/api/v1/events")
		defer l.resp.Body.Close()
		for range 3 {
			last := int(b.feed.Last())
			b.publish(3)
			l.expect(t, last+1, last+3)
		}
		synctest.Wait() // until it waits for more
		b.publish(11)
		l.expectLost(t, 3)
	})
}

func TestHeartbeat(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		l := b.listen(t, "/api/v1/events")
		defer l.resp.Body.Close()
		for range 3 {
			began := time.Now()
			if got, took := l.next(t), time.Since(began); got != ": heartbeat" || took < 14*time.Second || took > 16*time.Second {
				t.Errorf("after %v: %q", took, got)
			}
		}
		b.publish(1)
		l.expect(t, 1, 1)
	})
}

func TestStreamEndsWithTheServer(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		l := b.listen(t, "/api/v1/events")
		ended := make(chan error, 1)
		go func() {
			rest, err := io.ReadAll(l.in)
			if err == nil && len(rest) > 0 {
				err = fmt.Errorf("the stream ends with %q", rest)
			}
			ended <- err
		}()
		began := time.Now()
		if err := b.server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the server took %v to stop", took)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Listeners are bounded, and one that leaves or takes nothing makes room.
func TestListeners(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		const most = 16
		var all []*listener
		for range most {
			all = append(all, b.listen(t, "/api/v1/events"))
		}
		refused := func() {
			t.Helper()
			resp := b.do(t, "GET", "/api/v1/events")
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			expectProblem(t, resp, string(body), 503, "16 clients")
			if resp.Header.Get("Retry-After") == "" {
				t.Error("it does not say when to come again")
			}
		}
		refused()
		if resp := b.do(t, "GET", "/api/v1/events?after=0"); resp.StatusCode != 200 { // a page is no stream
			t.Error(resp.Status)
		} else {
			resp.Body.Close()
		}
		all[0].resp.Body.Close()
		synctest.Wait()
		all[0] = b.listen(t, "/api/v1/events")
		refused()

		b.feed.Publish("large", strings.Repeat("x", 1<<20)) // which nobody reads
		time.Sleep(11 * time.Second)
		synctest.Wait()
		for i := range all {
			all[i].resp.Body.Close()
			all[i] = b.listen(t, "/api/v1/events")
		}
		for _, l := range all {
			l.resp.Body.Close()
		}
	})
}

func TestEventsHead(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		resp := b.do(t, "HEAD", "/api/v1/events")
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("%s with %v", resp.Status, resp.Header)
		}
	})
}

type page struct {
	Since            time.Time
	Last, Next, Lost uint64
	Events           []feed.Event
}

func TestEventPages(t *testing.T) {
	f := feed.New(8)
	url := serve(t, admin.Options{Events: f}) + "/api/v1/events"
	check := func(query string, lost, next uint64, first, n int, fields ...string) {
		t.Helper()
		resp, body := ask(t, "GET", url+query, fields...)
		var p page
		if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %s with %s", query, resp.Status, body)
		}
		if p.Lost != lost || p.Next != next || p.Last != f.Last() || !p.Since.Equal(f.Since()) || p.Events == nil || len(p.Events) != n {
			t.Errorf("%s: %+v, expected %d lost, %d next, and %d events", query, p, lost, next, n)
		}
		for i, e := range p.Events {
			if e.Seq != uint64(first+i) || e.Kind != "tick" || e.Data != "data" {
				t.Errorf("%s: event %d is %+v, expected the sequence %d", query, i, e, first+i)
			}
		}
	}
	check("?after=0", 0, 0, 0, 0)
	check("?after=7", 0, 0, 0, 0)
	for range 10 {
		f.Publish("tick", "data")
	}
	check("?after=0", 2, 10, 3, 8)
	check("?after=0&limit=3", 2, 5, 3, 3)
	check("?after=5&limit=3", 0, 8, 6, 3)
	check("?after=10", 0, 10, 0, 0)
	check("?after=999", 2, 10, 3, 8) // of another process
	check("?limit=2", 0, 10, 9, 2)
	check("", 2, 10, 3, 8, "Accept", "application/json")
	for query, text := range map[string]string{
		"?after=x": "after: expected a whole number", "?after=-1": "after", "?limit=0": "limit: expected 1 to 1000", "?limit=1001": "limit", "?limit=": "limit",
	} {
		resp, body := ask(t, "GET", url+query)
		expectProblem(t, resp, body, 400, text)
	}
	resp, body := ask(t, "GET", url, "Last-Event-ID", "x")
	expectProblem(t, resp, body, 400, "Last-Event-ID: expected")
}

func TestArrivals(t *testing.T) {
	r := arrivals.New(arrivals.Options{})
	r.Note(255, "/a", time.Now())
	resp, body := ask(t, "GET", serve(t, admin.Options{Arrivals: r})+"/api/v1/arrivals")
	if resp.StatusCode != 200 || body != "key,route,time_ms\n00000000000000ff,/a,0.000\n" {
		t.Errorf("%s with %q", resp.Status, body)
	}
	if got := resp.Header.Get("Content-Type"); got != "text/csv; charset=utf-8" {
		t.Errorf("of type %q", got)
	}
	if got := resp.Header.Get("Content-Disposition"); got != `attachment; filename="arrivals.csv"` {
		t.Errorf("disposed %q", got)
	}
}

func TestTelemetryIsGuarded(t *testing.T) {
	r := arrivals.New(arrivals.Options{})
	with := serve(t, admin.Options{Token: "s3cret", Events: feed.New(1), Arrivals: r})
	without := serve(t, admin.Options{})
	for _, path := range []string{"/api/v1/events", "/api/v1/arrivals"} {
		resp, body := ask(t, "GET", with+path)
		expectProblem(t, resp, body, 401, "token")
		resp, body = ask(t, "GET", without+path)
		expectProblem(t, resp, body, 404, "nothing is here")
	}
}
