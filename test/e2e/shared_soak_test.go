package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// sharedSoakSize is how many requests the soak test of shared answers sends.
func sharedSoakSize() int64 {
	switch {
	case os.Getenv("SLUICE_SOAK") == "1":
		return 1_000_000
	case raceEnabled:
		return 30_000
	default:
		return 100_000
	}
}

// sharedKind is a kind of request that the soak test sends, for one of so many keys.
type sharedKind struct {
	weight   int
	method   string
	query    string
	fields   string
	keys     int
	route    string // "" is any of sharedSoakRoutes
	statuses []int  // that may be the answer
	length   int    // of the body of a 200, 0 for the origin's own
}

var sharedKinds = []sharedKind{
	{weight: 300, method: "GET", query: "", keys: 8, statuses: []int{200}},
	{weight: 300, method: "GET", query: "cache=max-age=60", keys: 256, statuses: []int{200}},
	{weight: 60, method: "GET", query: "cache=max-age%3d1,stale-while-revalidate%3d60", keys: 64, statuses: []int{200}},
	{weight: 60, method: "GET", query: "cache=max-age=60", fields: "Cache-Control: no-cache\r\n", keys: 64, statuses: []int{200}},
	{weight: 60, method: "GET", query: "cache=private", keys: 16, statuses: []int{200}},
	{weight: 30, method: "GET", query: "sleep=20ms", keys: 4, statuses: []int{200}},
	{weight: 30, method: "GET", query: "status=503", keys: 4, statuses: []int{503}},
	{weight: 10, method: "GET", query: "status=101", keys: 4, statuses: []int{502}}, // the origin closes the connection
	{weight: 10, method: "GET", query: "sleep=2s", keys: 4, route: "stalls", statuses: []int{504, 200}},
	{weight: 30, method: "GET", query: "bytes=20000&cache=max-age=60", keys: 16, statuses: []int{200}, length: 20_000},
	{weight: 20, method: "GET", query: "bytes=300000&chunked=1", keys: 8, statuses: []int{200}, length: 300_000},
	{weight: 30, method: "GET", query: "cache=max-age=60", fields: "Cookie: a=b\r\n", keys: 64, statuses: []int{200}},
	{weight: 20, method: "HEAD", query: "cache=max-age=60", keys: 64, statuses: []int{200}},
	{weight: 20, method: "GET", query: "bytes=20000&cache=max-age=60", fields: "Range: bytes=0-9\r\n", keys: 16, statuses: []int{200, 206}},
	{weight: 20, method: "POST", query: "cache=max-age=60", keys: 64, statuses: []int{200}},
}

// sharedSoakConfig has routes that share in each of the ways, and one whose origin is slower than the gateway is patient.
func sharedSoakConfig(origin string) string {
	return fmt.Sprintf(`listen: 127.0.0.1:0
admin: {listen: 127.0.0.1:0, pprof: true}
upstreams:
  app: {targets: ["%s"], timeouts: {header: 10m}, keep_alive: {idle: 1s}, retries: {max: 0}}
  slow: {targets: ["%[1]s"], timeouts: {header: 100ms}, keep_alive: {idle: 1s}, retries: {max: 0}}
routes:
  - {path: /stalls/*, upstream: slow, coalesce: {policy: immediate, freshness: relaxed}}
  - {path: /strict/*, upstream: app, coalesce: {policy: timer, hold: 2ms, max_batch: 16}}
  - {path: /relaxed/*, upstream: app, coalesce: {policy: immediate, freshness: relaxed}}
  - {path: /balance/*, upstream: app, coalesce: {policy: balance, call_cost: 5ms, freshness: relaxed}, cache: {max_bytes: 1MiB}}
  - {path: /kept/*, upstream: app, cache: {max_bytes: 1MiB}}
`, origin)
}

var sharedSoakRoutes = []string{"strict", "relaxed", "balance", "kept"}

// moreRemembered is how many bytes of heap the soak of shared answers may leave: 32,768 keys are remembered, and each write makes new ones.
const moreRemembered = 16 << 20

// sharedSoak is a run of the soak test.
type sharedSoak struct {
	g                           *gateway
	sent, answered, left, total atomic.Int64
}

// Under clients that come and go and an origin that fails and stalls, every request is answered with its own answer or has been cancelled
// by its client, the origin sees the calls that the gateway says it made, and nothing is left of all that.
func TestSharedSoak(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "--latency", "1ms", "--jitter", "1ms")
	g := serveFile(t, sharedSoakConfig(origin))
	total := sharedSoakSize()
	warm := &sharedSoak{g: g}
	warm.run(total/10, nil)
	before := g.footprint()
	t.Logf("warm: %v", before)
	s := &sharedSoak{g: g}
	begun := time.Now()
	s.run(total, func(done int64) {
		t.Logf("%v: %d of %d requests; %v goroutines, %d KiB resident", time.Since(begun).Round(time.Second), done, total, g.metric("go_goroutines"), g.status("VmRSS"))
	})
	after := g.footprint()
	s.settle(t, origin, warm)
	t.Logf("after %v: %v", time.Since(begun).Round(time.Millisecond), after)
	if raceEnabled {
		after.resident = before.resident // the race detector's own records grow, and are no part of the program
	}
	for _, c := range []struct {
		what                 string
		before, after, extra int64
	}{
		{"goroutines", int64(before.goroutines), int64(after.goroutines), moreGoroutines},
		{"descriptors", int64(before.descriptors), int64(after.descriptors), moreDescriptors},
		{"bytes of heap", int64(before.heap), int64(after.heap), moreRemembered},
		{"KiB of resident memory", before.resident, after.resident, moreResident},
	} {
		if c.after > c.before+c.extra {
			t.Errorf("%d %s, %d before, expected at most %d more", c.after, c.what, c.before, c.extra)
		}
	}
}

// settle compares what clients, gateway and origin have counted.
func (s *sharedSoak) settle(t *testing.T, origin string, warm *sharedSoak) {
	t.Helper()
	if sent, answered, left := s.sent.Load(), s.answered.Load(), s.left.Load(); sent != answered+left {
		t.Errorf("%d requests, of which %d were answered and %d cancelled", sent, answered, left)
	}
	answered, left := s.answered.Load()+warm.answered.Load(), s.left.Load()+warm.left.Load()
	seen := 0.0
	for _, m := range s.g.metrics()["sluice_requests_total"].GetMetric() {
		seen += m.GetCounter().GetValue()
	}
	if int64(seen) < answered || int64(seen) > answered+left {
		t.Errorf("the gateway counts %v requests, expected %d and at most %d cancelled ones", seen, answered, left)
	}
	calls, served := int64(0), originServed(t, origin)
	for _, u := range s.g.state().Upstreams {
		calls += int64(u.Targets[0].Calls)
	}
	if served > calls || served < calls-left {
		t.Errorf("the origin was called %d times, the gateway counts %d calls, of which at most %d were cancelled", served, calls, left)
	}
	if served >= answered {
		t.Errorf("%d calls for %d requests that were answered: none was saved", served, answered)
	}
	t.Logf("%d requests: %d answered, %d cancelled; %d calls at the origin", answered+left, answered, left, served)
}

// run sends requests from many connections at once. progress, if it is not nil, hears of every tenth part.
func (s *sharedSoak) run(total int64, progress func(done int64)) {
	s.g.t.Helper()
	var workers sync.WaitGroup
	for i := range 64 {
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		workers.Go(func() {
			for s.total.Load() < total && !s.g.t.Failed() {
				if err := s.converse(rng, total, progress); err != nil {
					s.g.t.Errorf("a request: %v", err)
				}
			}
		})
	}
	workers.Wait()
}

// converse makes requests on one connection, until it cancels one by closing it.
func (s *sharedSoak) converse(rng *rand.Rand, total int64, progress func(int64)) error {
	nc, err := net.Dial("tcp", s.g.addr())
	if err != nil {
		return err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * patience))
	br := bufio.NewReader(nc)
	for {
		n := s.total.Add(1)
		if n > total {
			return nil
		}
		again, err := s.exchange(nc, br, rng)
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
}

// exchange makes one request, and reports whether the connection can carry another. One in thirty is cancelled, half of these when its
// answer has begun.
func (s *sharedSoak) exchange(nc net.Conn, br *bufio.Reader, rng *rand.Rand) (again bool, err error) {
	kind := pickKind(rng)
	route := kind.route
	if route == "" {
		route = sharedSoakRoutes[rng.IntN(len(sharedSoakRoutes))]
	}
	path := fmt.Sprintf("/%s/%d", route, rng.IntN(1+rng.IntN(kind.keys)))
	s.sent.Add(1)
	if _, err := fmt.Fprintf(nc, "%s %s?%s HTTP/1.1\r\nHost: e2e\r\n%s\r\n", kind.method, path, kind.query, kind.fields); err != nil {
		return false, err
	}
	switch rng.IntN(60) {
	case 0:
		s.left.Add(1)
		return false, nil
	case 1:
		s.left.Add(1)
		_, err := br.Peek(1)
		return false, err
	}
	resp, err := http.ReadResponse(br, &http.Request{Method: kind.method})
	if err != nil {
		return false, fmt.Errorf("%s %s?%s: no answer: %w", kind.method, path, kind.query, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return false, fmt.Errorf("%s %s?%s: %w", kind.method, path, kind.query, err)
	}
	if err := kind.check(path, resp, body); err != nil {
		return false, fmt.Errorf("%s %s?%s: %w", kind.method, path, kind.query, err)
	}
	s.answered.Add(1)
	return !resp.Close, nil
}

func pickKind(rng *rand.Rand) *sharedKind {
	all := 0
	for i := range sharedKinds {
		all += sharedKinds[i].weight
	}
	n := rng.IntN(all)
	for i := range sharedKinds {
		if n -= sharedKinds[i].weight; n < 0 {
			return &sharedKinds[i]
		}
	}
	panic("unreachable")
}

// check looks whether the answer is one to a request for the path.
func (k *sharedKind) check(path string, resp *http.Response, body []byte) error {
	if !slices.Contains(k.statuses, resp.StatusCode) {
		return fmt.Errorf("%s with %.100q, expected %v", resp.Status, body, k.statuses)
	}
	switch {
	case k.method == "HEAD" || resp.StatusCode != 200 || strings.Contains(k.fields, "Range"):
		return nil
	case k.length > 0 && len(body) != k.length:
		return fmt.Errorf("%d bytes, expected %d", len(body), k.length)
	case k.length > 0:
		return nil
	}
	var answer struct{ Path, Method string }
	if err := json.Unmarshal(body, &answer); err != nil || answer.Path != path || answer.Method != k.method {
		return fmt.Errorf("got %.100q, %v", body, err)
	}
	return nil
}

// An origin that stalls on one key keeps only those waiting who ask for that one.
func TestOneKeyStalls(t *testing.T) {
	t.Parallel()
	for _, how := range []string{
		"coalesce: {hold: 1ms, max_batch: 4}", "coalesce: {policy: immediate, freshness: relaxed}", "cache: {}",
		"coalesce: {policy: immediate, freshness: relaxed}, cache: {}",
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			stalled := make(chan struct{}, 100)
			origin := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/stalled" {
					stalled <- struct{}{}
					select {
					case <-release:
					case <-r.Context().Done():
					}
				}
				w.Header().Set("Cache-Control", "max-age=0")
				io.WriteString(w, r.URL.Path)
			})
			g := serve(t, sharingOf(origin, how, "timeouts: {header: 10m}"))
			var waiting []*visitor
			for range 20 {
				waiting = append(waiting, visit(t, "GET", g.url+"/stalled"))
			}
			receive(t, "the stalled call", stalled)
			var others sync.WaitGroup
			for worker := range 16 {
				others.Go(func() {
					c := dial(t, g.addr())
					for i := range 100 {
						path := fmt.Sprintf("/%d", (worker/4*100+i)%300) // four ask for the same
						c.ask(path).expect(t, 200, path)
					}
				})
			}
			others.Wait()
			for _, v := range waiting {
				if v.answered() {
					t.Error("a request for the stalled key was answered")
				}
			}
			close(release)
			for _, v := range waiting {
				v.expect(200, "/stalled")
			}
		})
	}
}
