package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stalledOrigin has every request wait until the test releases one, and says which have come, by their paths.
type stalledOrigin struct {
	url     string
	came    chan string
	release chan struct{}
}

func newStalledOrigin(t *testing.T) *stalledOrigin {
	o := &stalledOrigin{came: make(chan string, 100), release: make(chan struct{}, 100)}
	o.url = serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		o.came <- r.URL.Path
		select {
		case <-o.release:
		case <-r.Context().Done():
		}
		io.WriteString(w, "done")
	})
	return o
}

// admission is what /api/v1/status says of the queue.
func (g *gateway) admission() (inFlight, waiting int) {
	g.t.Helper()
	a := g.state().Upstreams[0].Admission
	return a.InFlight, a.Waiting
}

func (g *gateway) awaitWaiting(n int) {
	g.t.Helper()
	await(g.t, fmt.Sprintf("%d requests in the queue", n), func() bool { _, waiting := g.admission(); return waiting == n })
}

// ask sends a request for a path in a goroutine of its own; the channel gets its answer. fields are pairs of names and values.
func (g *gateway) ask(path string, fields ...string) <-chan reply {
	answer := make(chan reply, 1)
	go func() {
		req, _ := http.NewRequest("GET", g.url+path, nil)
		for i := 0; i < len(fields); i += 2 {
			req.Header.Add(fields[i], fields[i+1])
		}
		req.Close = true
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			g.t.Errorf("%s: %v", path, err)
			close(answer)
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			g.t.Errorf("%s: %v", path, err)
		}
		answer <- reply{resp, string(body)}
	}()
	return answer
}

// admissionOrder holds one slot, has requests wait for it that bid prices, and returns these in the order in which they reach the origin.
func admissionOrder(t *testing.T, queue string, prices []int) (order []int) {
	o := newStalledOrigin(t)
	dir := t.TempDir()
	keys := "keys:\n"
	for _, p := range slices.Compact(slices.Sorted(slices.Values(prices))) {
		keys += fmt.Sprintf("  - {name: bids-%d, sha256: %s, price: %d}\n", p, sum(fmt.Sprint("key-", p)), p)
	}
	writeFile(t, filepath.Join(dir, "keys.yaml"), keys)
	path := filepath.Join(dir, "sluice.yaml")
	writeFile(t, path, listeners+"log: {access: true}\nidentify: {sources: [{api_key: {header: X-Api-Key, file: keys.yaml}}]}\n"+
		inFront([]string{o.url}, "max_in_flight: 1", queue))
	g := startGateway(t, "serve", "-c", path)
	answers := []<-chan reply{g.ask("/first")}
	receive(t, "the first request", o.came)
	for i, p := range prices {
		answers = append(answers, g.ask(fmt.Sprint("/", i), "X-Api-Key", fmt.Sprint("key-", p)))
		g.awaitWaiting(i + 1)
	}
	for range prices {
		o.release <- struct{}{}
		i, err := strconv.Atoi(receive(t, "the next request", o.came)[1:])
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, i)
	}
	o.release <- struct{}{}
	for _, a := range answers {
		receive(t, "an answer", a).expect(t, 200, "done")
	}
	await(t, "every request in the log", func() bool { return len(g.logged("request")) == len(answers) })
	for _, line := range g.logged("request") {
		if queued, ok := line["queued_ms"].(float64); !ok || (queued > 0) != (line["target"] != "/first") {
			t.Errorf("queued_ms is %v of %v", line["queued_ms"], line["target"])
		}
	}
	if n := g.metric("sluice_admit_wait_seconds", "upstream", "app"); n != float64(len(answers)) {
		t.Errorf("%v waits counted", n)
	}
	return order
}

func TestAdmissionOrder(t *testing.T) {
	t.Parallel()
	prices := []int{2, 0, 5, 2, 7, 0, 5}
	for queue, want := range map[string][]int{
		"queue: {timeout: 10m}":                            {4, 2, 6, 0, 3, 1, 5},
		"queue: {timeout: 10m, order: fifo}":               {0, 1, 2, 3, 4, 5, 6},
		"queue: {timeout: 10m, age: 1/day}":                {4, 2, 6, 0, 3, 1, 5},
		"queue: {timeout: 10m, age: 1000000000/s, max: 7}": {0, 1, 2, 3, 4, 5, 6}, // seven are caught up with in a few nanoseconds
	} {
		t.Run(queue, func(t *testing.T) {
			t.Parallel()
			if got := admissionOrder(t, queue, prices); !slices.Equal(got, want) {
				t.Errorf("%v, expected %v", got, want)
			}
		})
	}
}

// A queue that is full refuses, with order: price whoever bids least; nothing is taken from a limit.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	o := newStalledOrigin(t)
	g := serve(t, "identify: {trusted_proxies: [127.0.0.0/8], sources: [{header: X-User}]}\nlimits: {a: {rate: 1/h, burst: 9}}\n"+
		upstream([]string{o.url}, "max_in_flight: 1", "queue: {max: 2, timeout: 10m, price_header: X-Price}")+
		"routes: [{path: /*, upstream: app, limits: [a]}]\n")
	first := g.ask("/first", "X-User", "one")
	receive(t, "the first request", o.came)
	low, high := g.ask("/low", "X-Price", "1"), g.ask("/high", "X-Price", "3")
	g.awaitWaiting(2)
	refused := g.ask("/refused", "X-Price", "1", "X-User", "alice")
	displacing := g.ask("/displacing", "X-Price", "2")
	for name, answer := range map[string]<-chan reply{"refused": refused, "displaced": low} {
		r := receive(t, name, answer)
		r.expectProblem(t, 503, "queue-full")
		if n, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || n < 1 || n > 60 {
			t.Errorf("%s: Retry-After is %q", name, r.Header.Get("Retry-After"))
		}
		if p := limitMember(t, r.Header, "RateLimit", "a"); name == "refused" && p["r"] != 10 {
			t.Errorf("%v left of the limit, expected all of 10", p)
		}
	}
	for _, next := range []string{"/high", "/displacing"} {
		o.release <- struct{}{}
		if got := receive(t, "the next request", o.came); got != next {
			t.Errorf("%s comes next, expected %s", got, next)
		}
	}
	o.release <- struct{}{}
	for _, a := range []<-chan reply{first, high, displacing} {
		receive(t, "an answer", a).expect(t, 200, "done")
	}
	for reason, want := range map[string]float64{"full": 1, "displaced": 1, "timeout": 0} {
		if n := g.metric("sluice_admit_refused_total", "upstream", "app", "reason", reason); n != want {
			t.Errorf("%v refused as %s", n, reason)
		}
	}
}

// Who waits too long is refused, and who leaves the queue is out of it at once; the slot goes on being taken.
func TestQueueIsLeft(t *testing.T) {
	t.Parallel()
	o := newStalledOrigin(t)
	g := serve(t, inFront([]string{o.url}, "max_in_flight: 1", "queue: {timeout: 10m}"))
	first := g.ask("/first")
	receive(t, "the first request", o.came)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, "GET", g.url+"/leaves", nil)
		_, err := newClient(t).Do(req)
		left <- err
	}()
	g.awaitWaiting(1)
	leave()
	if err := receive(t, "the client to leave", left); err == nil {
		t.Error("the client that left has an answer")
	}
	g.awaitWaiting(0)
	if inFlight, _ := g.admission(); inFlight != 1 {
		t.Errorf("%d in flight", inFlight)
	}
	g.rewrite(inFront([]string{o.url}, "max_in_flight: 1", "queue: {timeout: 20ms}"))
	g.reload().expect(t, 200, "")
	r := receive(t, "a refusal", g.ask("/late"))
	r.expectProblem(t, 503, "queue-timeout")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	o.release <- struct{}{}
	receive(t, "an answer", first).expect(t, 200, "done")
	if len(o.came) > 0 {
		t.Errorf("the origin got %s", <-o.came)
	}
}

// A tunnel takes a slot for as long as it is open.
func TestTunnelTakesSlot(t *testing.T) {
	t.Parallel()
	origin := serveRaw(t, func(c *net.TCPConn, br *bufio.Reader) {
		for {
			head, err := readHead(br)
			switch {
			case err != nil:
				return
			case strings.Contains(head, "Upgrade"):
				io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
				io.Copy(c, br)
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
		}
	})
	g := serve(t, inFront([]string{origin}, "max_in_flight: 1", "queue: {timeout: 10m}"))
	c := dial(t, g.addr())
	c.send("GET / HTTP/1.1\r\nHost: e2e\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if head, err := readHead(c.br); err != nil || !strings.Contains(head, " 101 ") {
		t.Fatalf("%q, %v", head, err)
	}
	waits := g.ask("/")
	g.awaitWaiting(1)
	c.send("still here\n")
	if line, err := c.br.ReadString('\n'); line != "still here\n" {
		t.Errorf("%q, %v", line, err)
	}
	c.CloseWrite()
	receive(t, "the next request", waits).expect(t, 200, "done")
}

// The origin never sees more requests at once than max_in_flight, whatever clients do: they leave before, while and after they are served, and
// the origin does not always mind.
func TestMaxInFlightIsKept(t *testing.T) {
	t.Parallel()
	const slots, workers, each = 4, 24, 150
	var inFlight, most, served atomic.Int64
	origin := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		n := inFlight.Add(1)
		defer inFlight.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		served.Add(1)
		io.Copy(io.Discard, r.Body)
		switch work := time.After(time.Duration(rand.IntN(5)) * time.Millisecond); r.URL.Path {
		case "/deaf":
			<-work
		case "/long": // until the client leaves
			<-r.Context().Done()
		case "/stream":
			for range 10 {
				io.WriteString(w, strings.Repeat("x", 1000))
				w.(http.Flusher).Flush()
			}
			<-work
		default:
			select {
			case <-work:
			case <-r.Context().Done():
			}
		}
	})
	g := serve(t, inFront([]string{origin}, fmt.Sprintf("max_in_flight: %d", slots), "queue: {max: 100, timeout: 500ms, age: 1000/s}"))
	var outcomes [600]atomic.Int64
	var left atomic.Int64
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 6))
			client := newClient(t)
			for i := range each {
				path, stay := []string{"/", "/deaf", "/stream"}[r.IntN(3)], 2*patience
				if r.IntN(3) == 0 {
					stay = time.Duration(r.IntN(20_000)) * time.Microsecond
				}
				if i%50 == 0 {
					path, stay = "/long", 20*time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), stay)
				method := []string{"GET", "POST"}[r.IntN(2)]
				req, _ := http.NewRequestWithContext(ctx, method, g.url+path, strings.NewReader("hello"))
				if resp, err := client.Do(req); err != nil {
					left.Add(1)
				} else {
					if _, err := io.Copy(io.Discard, resp.Body); err == nil {
						outcomes[resp.StatusCode].Add(1)
					} else {
						left.Add(1)
					}
					resp.Body.Close()
				}
				cancel()
			}
		})
	}
	all.Wait()
	await(t, "the gate to be empty", func() bool { inFlight, waiting := g.admission(); return inFlight == 0 && waiting == 0 })
	t.Logf("%d served, %d in flight at most; answered 200: %d, 503: %d; left: %d",
		served.Load(), most.Load(), outcomes[200].Load(), outcomes[503].Load(), left.Load())
	if n := most.Load(); n != slots {
		t.Errorf("%d in flight at the origin, expected %d and no more", n, slots)
	}
	if outcomes[200].Load() == 0 || left.Load() == 0 {
		t.Error("nobody was served, or nobody left")
	}
	if n := outcomes[200].Load() + outcomes[503].Load() + left.Load(); n != workers*each {
		t.Errorf("%d of %d requests had one of the expected ends", n, workers*each)
	}
}
