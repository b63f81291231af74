package market_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/market"
)

// A listener is a client of /events.
type listener struct {
	t    testing.TB
	body io.ReadCloser
	r    *bufio.Reader
	head http.Header
}

type event struct{ id, name, data string }

// listen opens a stream, and waits until it has begun.
func (n *node) listen(query string, head ...string) *listener {
	n.t.Helper()
	req, err := http.NewRequest("GET", n.url+"/events"+query, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Add(head[i], head[i+1])
	}
	resp, err := n.client.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		n.t.Fatalf("/events answered %s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	d, err := readDescription()
	if err == nil {
		err = d.check("GET", "/events", 200, resp.Header, "")
	}
	if err != nil {
		n.t.Error(err)
	}
	l := &listener{t: n.t, body: resp.Body, r: bufio.NewReader(resp.Body), head: resp.Header}
	n.t.Cleanup(l.close)
	if line, err := l.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, ": fills after ") {
		n.t.Fatalf("the stream begins with %q, %v", line, err)
	}
	return l
}

func (l *listener) close() { l.body.Close() }

// next waits for an event. At the end of the stream it returns none.
func (l *listener) next() (e event) {
	l.t.Helper()
	for {
		line, err := l.r.ReadString('\n')
		if err != nil {
			return event{}
		}
		line = strings.TrimSuffix(line, "\n")
		switch name, value, _ := strings.Cut(line, ": "); name {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if line == "" && e.name != "" {
				return e
			}
		}
	}
}

// fill waits for the fill with a sequence.
func (l *listener) fill(sequence int, says string) {
	l.t.Helper()
	e := l.next()
	if e.name != "fill" || e.id != strconv.Itoa(sequence) || !strings.HasPrefix(e.data, fmt.Sprintf(`{"sequence":%d,"time":`, sequence)) ||
		!strings.HasSuffix(e.data, says) {
		l.t.Errorf("event %+v, want fill %d with %s", e, sequence, says)
	}
}

func TestEvents(t *testing.T) {
	path := t.TempDir()
	n := serve(t, path)
	live := n.listen("")
	n.buy("u1", 10, 3)
	n.buy("u2", 10, 2)
	n.sell(15)
	one, two := `"bid":1,"username":"u1","price":3,"volume":10,"open":0}`, `"bid":2,"username":"u2","price":2,"volume":5,"open":5}`
	live.fill(1, one)
	live.fill(2, two)
	n.sell(5)
	live.fill(3, `"volume":5,"open":0}`)

	all := n.listen("?after=0")
	all.fill(1, one)
	all.fill(2, two)
	resumed := n.listen("?after=0", "Last-Event-ID", "1")
	resumed.fill(2, two)
	n.sell(3)
	ahead := n.listen("?after=4") // of a node that is ahead: this one comes to it
	n.buy("u3", 1, 0)
	n.buy("u4", 1, 0)
	ahead.fill(5, `"bid":4,"username":"u4","price":0,"volume":1,"open":0}`)

	n.stop() // ends the streams
	if e := resumed.next(); e.name != "fill" {
		t.Errorf("%+v, want the fills before the end", e)
	}
	n = serve(t, path)
	resumed = n.listen("", "Last-Event-ID", "1")
	resumed.fill(2, two)
}

func TestEventsRefuse(t *testing.T) {
	n := serve(t, t.TempDir())
	n.get("/events?after=x").problem(t, 400, "invalid-parameter", `"field":"after"`)
	n.get("/events?after=1&after=2").problem(t, 400, "invalid-parameter", `"field":"after"`)
	n.ask("GET", "/events", "", "Last-Event-ID", "x").problem(t, 400, "invalid-parameter", `"field":"Last-Event-ID"`)
	n.ask("GET", "/events", "", "Last-Event-ID", "1000000").problem(t, 400, "invalid-parameter", "belongs to another one")
	if a := n.ask("HEAD", "/events", ""); a.status != 200 || a.body != "" {
		t.Errorf("HEAD: %+v", a)
	}
}

// A listener who was away for too long is told how many fills it has missed.
func TestLostEvents(t *testing.T) {
	s := market.NewState()
	s.Apply(market.Command{Kind: "sell", Volume: market.MaxFills + 3}.Encode())
	for range market.MaxFills + 3 {
		s.Apply(market.Command{Kind: "buy", Name: "a", Volume: 1}.Encode())
	}
	n := serve(t, t.TempDir(), func(o *market.Options) { o.Begin(s) })
	l := n.listen("?after=1")
	if e := l.next(); e.name != "lost" || e.data != `{"lost":2}` || e.id != "" {
		t.Errorf("%+v, want 2 that are lost", e)
	}
	l.fill(4, `"open":0}`)
}

func TestTooManyListeners(t *testing.T) {
	n := serve(t, t.TempDir())
	var all []*listener
	for range market.Streams {
		all = append(all, n.listen(""))
	}
	a := n.get("/events")
	a.problem(t, 503, "too-many-streams")
	if a.head.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	n.sell(1)
	n.buy("a", 1, 1)
	for _, l := range all {
		l.fill(1, `"open":0}`)
	}
}
