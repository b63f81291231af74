package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/cache"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/spool"
)

// origin is an upstream that a test scripts.
func origin(t *testing.T, answer http.HandlerFunc) string {
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s.URL
}

// shareGate is a gateway with one route.
func shareGate(t *testing.T, url, how string) *gate {
	return start(t, parse(t, "upstreams: {u: {targets: [%q]}}\nroutes: [{path: /*, upstream: u, %s}]\n", url, how))
}

// A request that was to be merged and is sent by itself has no part in what is kept for others.
func TestNotMergedIsNotKept(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, r.Method+" "+r.URL.Path)
	})
	g := shareGate(t, url, "cache: {}, merge: {}")
	for i := range 50 {
		path := fmt.Sprint("/", i)
		g.ask(t, get(path))
		g.ask(t, "POST /write HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\nno!")
		if _, body := g.ask(t, get(path)); body != "GET "+path {
			t.Fatalf("%s is answered by %q", path, body)
		}
	}
}

// A field that the client's Connection field takes away does not reach the origin, so it does not tell what the answer is for.
func TestNominatedFieldsAreNoKey(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "X-Kind")
		fmt.Fprint(w, r.Header["X-Tenant"], r.Header["X-Kind"])
	})
	g := shareGate(t, url, "cache: {}, coalesce: {hold: 0, share_by: [X-Tenant]}")
	for _, field := range []string{"X-Tenant", "X-Kind"} {
		request := "GET /" + field + " HTTP/1.1\r\nHost: h\r\n" + field + ": a\r\n"
		g.ask(t, request+"Connection: "+field+"\r\n\r\n")
		if _, body := g.ask(t, request+"\r\n"); !strings.Contains(body, "[a]") {
			t.Errorf("%s: a got %s, the answer to a request without", field, body)
		}
	}
}

// Who comes with credentials and gets an answer of his own takes nothing away from those who come without.
func TestCredentialsDoNotDisturb(t *testing.T) {
	calls := 0
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.Header.Get("Cookie") != "" {
			w.Header().Set("Cache-Control", "private")
			return
		}
		calls++
	})
	g := shareGate(t, url, "cache: {}")
	g.ask(t, get("/x"))
	g.ask(t, "GET /x HTTP/1.1\r\nHost: h\r\nCookie: a\r\n\r\n")
	g.ask(t, get("/x"))
	if calls != 1 {
		t.Errorf("%d calls for those who come without", calls)
	}
}

// What a 304 says about one request's rate is not kept, as it is not from a 200.
func TestConfirmationIsForAll(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"a"`)
		w.Header().Set("Cache-Control", "max-age=0")
		w.Header().Set("X-RateLimit-Remaining", "7")
		if r.Header.Get("If-None-Match") != "" {
			w.Header().Set("Cache-Control", "max-age=60")
			w.WriteHeader(304)
		}
	})
	g := shareGate(t, url, "cache: {}")
	for range 2 {
		g.ask(t, get("/x"))
	}
	resp, _ := g.ask(t, get("/x"))
	if resp.Header.Get("X-RateLimit-Remaining") != "" || !strings.Contains(resp.Header.Get("Cache-Status"), "hit") {
		t.Errorf("%v", resp.Header)
	}
}

// A follower gets nothing that the origin says to the leader alone, in the head or behind the body.
func TestFollowersGetNothingOfTheLeaders(t *testing.T) {
	addr := target(t, func(nc net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(nc, "HTTP/1.1 200 OK\r\nX-RateLimit-Remaining: 7\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\n\r\n1\r\nx\r\n0\r\nSet-Cookie: a=b\r\nX-Sum: 1\r\n\r\n")
	})
	g := shareGate(t, "http://"+addr, "coalesce: {policy: timer, hold: 1m, max_batch: 2}")
	heads := make(chan *http.Response, 2)
	for range 2 {
		go func() {
			resp, _ := g.ask(t, get("/x"))
			heads <- resp
		}()
	}
	for range 2 {
		resp := <-heads
		follows := strings.Contains(resp.Header.Get("Cache-Status"), "collapsed")
		if resp.Trailer.Get("Set-Cookie") != "" || resp.Trailer.Get("X-Sum") != "1" || follows && resp.Header.Get("X-RateLimit-Remaining") != "" {
			t.Errorf("follows %v: %v, %v", follows, resp.Header, resp.Trailer)
		}
	}
}

// The policy of a file decides: one that always serves sends a call for each request, and one that never does waits for the batch to be full.
func TestPolicyOfAFile(t *testing.T) {
	for logit, calls := range map[float32]int64{1: 4, -1: 2} {
		n, err := flush.NewNetwork([]flush.Layer{{Weights: [][]float32{make([]float32, flush.NumFeatures)}, Bias: []float32{logit}}}, flush.Training{})
		if err != nil {
			t.Fatal(err)
		}
		var served atomic.Int64
		url := origin(t, func(w http.ResponseWriter, r *http.Request) { served.Add(1) })
		cfg := parse(t, "upstreams: {u: {targets: [%q]}}\nroutes: [{path: /*, upstream: u, coalesce: {hold: 1m, max_batch: 2}}]\n", url)
		if got := cfg.Routes[0].Coalesce.Policy; got != config.PolicyPPO {
			t.Errorf("the policy is %s by default, want ppo", got)
		}
		cfg.Routes[0].Coalesce.Network = n
		g := start(t, cfg)
		var run sync.WaitGroup
		for range 4 {
			run.Go(func() { g.ask(t, get("/x")) })
		}
		run.Wait()
		if served.Load() != calls {
			t.Errorf("4 requests made %d calls at a logit of %g, want %d", served.Load(), logit, calls)
		}
	}
}

// Whatever happens while a body is on its way, those who read it come to an end.
func TestPanicWithinASharedBody(t *testing.T) {
	body := spool.New(spool.Options{})
	body.Expect(1)
	r := body.Open()
	defer r.Close()
	func() {
		defer func() { recover() }()
		p := pump{to: &answer{body: body}} // without a call
		p.run()
	}()
	if !r.Ready() {
		t.Fatal("the reader waits for ever")
	}
	if _, err := r.Next(); err == nil || err == io.EOF {
		t.Errorf("the reader got %v", err)
	}
}

// What the group remembers of a key does not grow with what a client asks for, and long keys differ as short ones do.
func TestLongKeysAreShort(t *testing.T) {
	s := &sharing{key: []byte("12345678")}
	seen := map[string]bool{}
	c := cache.New(cache.Route{}, cache.Options{})
	var p cache.Plan
	for _, path := range []string{"/a", "/b", "/" + strings.Repeat("a", 8000), "/" + strings.Repeat("a", 8000) + "b"} {
		c.Plan(&p, &http1.Request{Method: []byte("GET"), Target: []byte(path)}, false, time.Now())
		key := s.slot(&p)
		if len(key) > 300 || seen[key] || !strings.HasPrefix(key, "12345678") {
			t.Errorf("%.10s: a key of %d bytes, seen before: %v", path, len(key), seen[key])
		}
		seen[key] = true
	}
}

// What is collected to be kept takes no more memory than what is kept, however many answers are under way.
func TestCollectingIsBounded(t *testing.T) {
	c := cache.New(cache.Route{MaxTTL: time.Hour}, cache.Options{MaxBytes: 1 << 20})
	defer c.Close()
	for _, declared := range []int64{100 << 10, -1} {
		var keepers []*keeper
		total := 0
		for range 30 {
			k := newKeeper(c, nil, declared)
			for range 3 {
				k.add(make([]byte, 30<<10))
			}
			keepers = append(keepers, k)
			total += cap(k.body)
		}
		if total < 512<<10 || total > 3<<19 { // what grows by itself has some room to spare
			t.Errorf("%d: %d bytes are collected", declared, total)
		}
		for _, k := range keepers {
			k.drop()
		}
		if k := newKeeper(c, nil, 100<<10); k.over {
			t.Errorf("%d: nothing was given back", declared)
		} else {
			k.drop()
		}
	}
}
