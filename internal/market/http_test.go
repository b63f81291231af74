package market_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/journal"
	"github.com/sluicegate/sluice/internal/market"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A node is a market that serves, with all that it stands on.
type node struct {
	t      testing.TB
	market *market.Market
	server *market.Server
	broker *journal.Broker
	dir    *datadir.Dir
	url    string
	client *http.Client
	stop   func()
}

// testLog shows what a node logs when the test fails.
func testLog(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// serve starts a node with an embedded log below path, and stops it with the test.
func serve(t testing.TB, path string, options ...func(*market.Options)) *node {
	t.Helper()
	n := newNode(t, path)
	var err error
	if n.broker, err = journal.Embed(journal.EmbedConfig{Dir: n.dir, Log: testLog(t)}); err != nil {
		t.Fatal(err)
	}
	n.start(options)
	return n
}

// join starts a node whose log is on NATS servers.
func join(t testing.TB, path, servers string, options ...func(*market.Options)) *node {
	t.Helper()
	n := newNode(t, path)
	var err error
	n.broker, err = journal.Dial(journal.DialConfig{URL: servers, Log: testLog(t), Options: []nats.Option{nats.IgnoreDiscoveredServers()}})
	if err != nil {
		t.Fatal(err)
	}
	n.start(options)
	return n
}

func newNode(t testing.TB, path string) *node {
	t.Helper()
	dir, err := datadir.Open(path)
	for errors.Is(err, datadir.ErrInUse) { // by what another test starts, between its fork and its exec
		dir, err = datadir.Open(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &node{t: t, dir: dir, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
}

func (n *node) start(options []func(*market.Options)) {
	n.t.Helper()
	opts := market.Options{Dir: n.dir, Broker: n.broker, Log: testLog(n.t)}
	for _, option := range options {
		option(&opts)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var err error
	if n.market, err = market.Open(ctx, opts); err != nil {
		n.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.url = "http://" + ln.Addr().String()
	n.server = market.NewServer(n.market)
	serving, end := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- n.server.Serve(serving, ln) }()
	n.stop = sync.OnceFunc(func() {
		n.client.CloseIdleConnections()
		end()
		if err := errors.Join(<-served, n.market.Close()); err != nil {
			n.t.Error(err)
		}
		n.broker.Close()
		n.dir.Close()
	})
	n.t.Cleanup(n.stop)
}

// An answer is a response that was read to its end.
type answer struct {
	status int
	head   http.Header
	body   string
}

// ask sends a request; head is names and values of fields in turn.
func (n *node) ask(method, target, body string, head ...string) answer {
	n.t.Helper()
	a, err := n.try(method, target, body, head...)
	if err != nil {
		n.t.Fatal(err)
	}
	return a
}

func (n *node) try(method, target, body string, head ...string) (answer, error) {
	req, err := http.NewRequest(method, n.url+target, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Add(head[i], head[i+1])
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{resp.StatusCode, resp.Header, string(text)}
	if method == "HEAD" {
		return a, nil
	}
	d, err := readDescription()
	if err != nil {
		return a, err
	}
	return a, d.check(method, target, a.status, a.head, a.body)
}

func (n *node) get(target string) answer { n.t.Helper(); return n.ask("GET", target, "") }

func (n *node) buy(username string, volume, price uint64, head ...string) answer {
	n.t.Helper()
	return n.ask("POST", "/buy", fmt.Sprintf(`{"username":%q,"volume":%d,"price":%d}`, username, volume, price), head...)
}

func (n *node) sell(volume uint64, head ...string) answer {
	n.t.Helper()
	return n.ask("POST", "/sell", fmt.Sprintf(`{"volume":%d}`, volume), head...)
}

// is checks the status and the whole body.
func (a answer) is(t testing.TB, status int, body string) {
	t.Helper()
	if a.status != status || strings.TrimSuffix(a.body, "\n") != body {
		t.Errorf("answered %d %s, want %d %s", a.status, a.body, status, body)
	}
}

// problem checks an error: its type, and what its detail and its field say.
func (a answer) problem(t testing.TB, status int, name string, says ...string) {
	t.Helper()
	if a.status != status || a.head.Get("Content-Type") != "application/problem+json" || !strings.Contains(a.body, "problems.md#"+name+`"`) {
		t.Errorf("answered %d %s, want %d %s", a.status, a.body, status, name)
	}
	for _, text := range says {
		if !strings.Contains(a.body, text) {
			t.Errorf("answered %s, want it to say %s", a.body, text)
		}
	}
}

// The example of the rules, and what is there after a restart.
func TestTheRules(t *testing.T) {
	path := t.TempDir()
	n := serve(t, path)
	n.buy("u1", 100, 3).is(t, 200, `{"id":1,"allocated":0,"open":100}`)
	n.buy("u2", 150, 2).is(t, 200, `{"id":2,"allocated":0,"open":150}`)
	n.buy("u3", 50, 4).is(t, 200, `{"id":3,"allocated":0,"open":50}`)
	n.get("/allocation?username=u1").is(t, 200, "0")
	n.sell(250).is(t, 200, `{"allocated":250,"left":0}`)
	check := func() {
		t.Helper()
		n.get("/allocation?username=u1").is(t, 200, "100")
		n.get("/allocation?username=u2").is(t, 200, "100")
		n.get("/allocation?username=u3").is(t, 200, "50")
		n.get("/book").is(t, 200, `{"left":0,"open":50,"bids":1,"prices":1,"levels":[{"price":2,"volume":50,"bids":1}]}`)
	}
	check()
	n.stop()
	n = serve(t, path)
	check()
	n.sell(60).is(t, 200, `{"allocated":50,"left":10}`)
	n.buy("u4", 4, 0).is(t, 200, `{"id":4,"allocated":4,"open":0}`) // leftover supply serves any price
	n.get("/book").is(t, 200, `{"left":6,"open":0,"bids":0,"prices":0,"levels":[]}`)
}
