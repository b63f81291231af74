package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// sharingOf is a configuration with one route whose answers are shared as how says.
func sharingOf(origin, how string, more ...string) string {
	return upstream([]string{origin}, append(more, "retries: {max: 0}")...) + "routes: [{path: /*, upstream: app, " + how + "}]\n"
}

// Strict: an answer comes from a call that began after the request came.
func TestStrictFreshness(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, "coalesce: {hold: 0, freshness: strict}"))
	first := visit(t, "GET", g.url+"/x")
	one := o.next()
	second := visit(t, "GET", g.url+"/x")
	two := o.next()
	two.answer("two")
	second.expect(200, "two")
	if first.answered() {
		t.Error("a call has answered a request of another one")
	}
	one.answer("one")
	first.expect(200, "one")
	o.expectNone()
}

// Relaxed: a call under way answers those who come later, too, from its beginning.
func TestRelaxedFreshness(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, "coalesce: {hold: 0, freshness: relaxed}"))
	first := visit(t, "GET", g.url+"/x")
	end := o.next().stream("first, ")
	var late []*rawConn
	for range 10 {
		c := dial(t, g.addr())
		c.send("GET /x HTTP/1.1\r\nHost: " + strings.TrimPrefix(g.url, "http://") + "\r\n\r\n")
		late = append(late, c)
	}
	var bodies []*http.Response
	for _, c := range late { // each has got the beginning before the end is there
		resp, err := http.ReadResponse(c.br, nil)
		if err != nil {
			t.Fatal(err)
		}
		begin := make([]byte, len("first, "))
		if _, err := io.ReadFull(resp.Body, begin); err != nil || string(begin) != "first, " {
			t.Fatalf("the beginning is %q, %v", begin, err)
		}
		reply{resp, ""}.cacheStatus(t, "collapsed")
		bodies = append(bodies, resp)
	}
	validated := visit(t, "GET", g.url+"/x", "Cache-Control", "no-cache")
	o.next().answer("of its own")
	validated.expect(200, "of its own")
	end("second")
	first.expect(200, "first, second")
	for _, resp := range bodies {
		if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "second" {
			t.Errorf("the rest is %q, %v", rest, err)
		}
	}
	o.expectNone()
}

// When an answer turns out to be private, all others make their calls at once and at the same time, and so do those who come later.
func TestPrivateAnswersAreNotSerialised(t *testing.T) {
	t.Parallel()
	const clients = 16
	for _, how := range []string{"coalesce: {policy: timer, hold: 1m, max_batch: 16}", "coalesce: {policy: timer, hold: 1m, max_batch: 16}, cache: {}"} {
		o := newRecorder(t)
		g := serve(t, sharingOf(o.url, how))
		private := []string{"Cache-Control", "private, max-age=60"}
		o.play("/x", play{fields: private, after: 1, meet: clients - 1})
		c := sharingCase{askers: alike(clients), apart: true, told: true}
		for round, calls := range []int{clients, 2 * clients, 3 * clients} {
			if round > 0 {
				o.play("/x", play{fields: private, after: calls - clients, meet: clients})
			}
			replies := ask(t, "GET", g.url+"/x", c.askers)
			for i, r := range replies {
				c.check(t, replies, i, r)
			}
			if n := o.count("/x"); n != calls {
				t.Errorf("round %d: %d calls, expected %d", round, n, calls)
			}
		}
	}
}

// The one whose request was sent may leave: the call goes on for those who wait with it.
func TestLeaderLeaves(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, "coalesce: {policy: timer, hold: 1m, max_batch: 3}"))
	visitors := map[string]*visitor{}
	for _, who := range []string{"a", "b", "c"} {
		visitors[who] = visit(t, "GET", g.url+"/x", "X-Who", who)
	}
	c := o.next()
	leader := c.Header.Get("X-Who")
	visitors[leader].leave()
	g.awaitUnderWay(2)
	c.answer("for " + leader)
	delete(visitors, leader)
	for _, v := range visitors {
		v.expect(200, "for "+leader)
	}
	o.expectNone()
}

// A private answer whose leader has left goes to nobody; the others make calls of their own.
func TestLeaderLeavesAPrivateAnswer(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, "coalesce: {policy: timer, hold: 1m, max_batch: 3}"))
	visitors := map[string]*visitor{}
	for _, who := range []string{"a", "b", "c"} {
		visitors[who] = visit(t, "GET", g.url+"/x", "X-Who", who)
	}
	c := o.next()
	leader := c.Header.Get("X-Who")
	visitors[leader].leave()
	g.awaitUnderWay(2)
	c.answer("for "+leader, "Cache-Control", "private")
	for range 2 {
		own := o.next()
		own.answer("for "+own.Header.Get("X-Who"), "Cache-Control", "private")
	}
	delete(visitors, leader)
	for who, v := range visitors {
		v.expect(200, "for "+who)
	}
	o.expectNone()
}

// When all who wait have left, the origin sees its call cancelled, whether the answer has begun or not.
func TestAllLeave(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, "coalesce: {policy: timer, hold: 1m, max_batch: 3}"))
	for _, begun := range []bool{false, true} {
		var visitors []*visitor
		for range 3 {
			visitors = append(visitors, visit(t, "GET", g.url+"/x"))
		}
		c := o.next()
		if begun {
			c.stream("first")
		}
		for i, v := range visitors {
			v.leave()
			if i < 2 {
				g.awaitUnderWay(2 - i)
			}
		}
		receive(t, "the origin to see its call cancelled", c.gone)
		g.awaitUnderWay(0)
	}
	o.expectNone()
}

// Those who leave before the call is sent are not counted in, and when all have left none is sent.
func TestAllLeaveBeforeTheCall(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, "coalesce: {policy: timer, hold: 1m, max_batch: 3}"))
	for range 2 {
		v := visit(t, "GET", g.url+"/x")
		g.awaitUnderWay(1)
		v.leave()
		g.awaitUnderWay(0)
	}
	var visitors []*visitor
	for range 3 {
		visitors = append(visitors, visit(t, "GET", g.url+"/x"))
	}
	o.next().answer("one")
	for _, v := range visitors {
		v.expect(200, "one")
	}
	o.expectNone()
}

// A call that fails fails once, for all who wait.
func TestFailureFansOut(t *testing.T) {
	t.Parallel()
	lost := newHeldOrigin(t)
	lengthless := serveRaw(t, func(c *net.TCPConn, br *bufio.Reader) {
		readHead(br)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
	})
	short := serveRaw(t, func(c *net.TCPConn, br *bufio.Reader) {
		readHead(br)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
	})
	switching := serveRaw(t, func(c *net.TCPConn, br *bufio.Reader) {
		readHead(br)
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: e2e\r\n\r\n")
	})
	mute := newHeldOrigin(t)
	for _, c := range []struct {
		name, origin, problem string
		status                int
		more                  []string
		fail                  func()
	}{
		{"refused", nobody(t), "upstream-unreachable", 502, nil, nil},
		{"lost", lost.url, "upstream-unreachable", 502, nil, func() { lost.next().breakOff() }},
		{"malformed", lengthless, "upstream-bad-response", 502, nil, nil},
		{"cut short", short, "upstream-unreachable", 502, nil, nil},
		{"switched", switching, "upstream-bad-response", 502, nil, nil},
		{"timeout", mute.url, "upstream-timeout", 504, []string{"timeouts: {header: 50ms}"}, func() { mute.next() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := serve(t, sharingOf(c.origin, "coalesce: {policy: timer, hold: 1m, max_batch: 4}", c.more...))
			if c.fail != nil {
				go c.fail()
			}
			for _, r := range ask(t, "GET", g.url+"/x", alike(4)) {
				r.expectProblem(t, c.status, c.problem)
			}
			if n := g.state().Upstreams[0].Targets[0].Calls; n != 1 {
				t.Errorf("%d calls, expected 1", n)
			}
		})
	}
	lost.expectNone()
	mute.expectNone()
}

// An answer that breaks off breaks off for all: none takes a part for the whole.
func TestAnswerBreaksOff(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"known length": "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", 50_000),
		"in chunks":    "Transfer-Encoding: chunked\r\n\r\nc350\r\n" + strings.Repeat("x", 50_000) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			origin := serveRaw(t, func(c *net.TCPConn, br *bufio.Reader) {
				readHead(br)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"+head)
			})
			g := serve(t, sharingOf(origin, "coalesce: {policy: timer, hold: 1m, max_batch: 4}, cache: {}"))
			for round := 1; round <= 2; round++ {
				var all sync.WaitGroup
				for i := range 4 {
					all.Go(func() {
						a := asker{}
						if r, err := a.ask(t, "GET", g.url+"/x", fmt.Sprint(i)); err == nil {
							t.Errorf("got %s with %d bytes as if that were all", r.Status, len(r.body))
						}
					})
				}
				all.Wait()
				if n := g.state().Upstreams[0].Targets[0].Calls; n != round {
					t.Errorf("%d calls, expected %d", n, round)
				}
			}
		})
	}
}

// One call answers clients of HTTP/1.0 and 1.1, each in its own framing.
func TestSharingAcrossVersions(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, "coalesce: {policy: timer, hold: 1m, max_batch: 3}"))
	old, kept, modern := dial(t, g.addr()), dial(t, g.addr()), dial(t, g.addr())
	old.send("GET /x HTTP/1.0\r\nHost: e2e\r\n\r\n")
	kept.send("GET /x HTTP/1.0\r\nHost: e2e\r\nConnection: keep-alive\r\n\r\n")
	modern.send("GET /x HTTP/1.1\r\nHost: e2e\r\n\r\n")
	o.next().stream("first, ")("second")
	for _, c := range []*rawConn{old, kept, modern} {
		r := c.read("GET")
		r.expect(t, 200, "first, second")
		if chunked := len(r.TransferEncoding) > 0; chunked != (c == modern) {
			t.Errorf("%v got %v", r.Proto, r.TransferEncoding)
		}
	}
	old.expectClosed()
	o.expectNone()
}

// Those who leave in the middle of a large answer take nothing from those who stay, even from one who was last in reading.
func TestLeaversLeaveTheRest(t *testing.T) {
	t.Parallel()
	const size = 20 << 20
	want := digest(t, noise(1, size))
	calls := make(chan struct{}, 10)
	origin := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		calls <- struct{}{}
		io.CopyBuffer(struct{ io.Writer }{w}, noise(1, size), make([]byte, 256<<10))
	})
	g := serve(t, sharingOf(origin, "coalesce: {policy: timer, hold: 1m, max_batch: 4}"))
	var conns []*rawConn
	for range 4 {
		c := dial(t, g.addr())
		c.send("GET /large HTTP/1.1\r\nHost: e2e\r\n\r\n")
		conns = append(conns, c)
	}
	for i, c := range conns[1:] {
		resp, err := http.ReadResponse(c.br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, resp.Body, int64(i+1)*size/4); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	g.awaitUnderWay(1)
	resp, err := http.ReadResponse(conns[0].br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := digest(t, resp.Body); got != want {
		t.Errorf("the one who stayed got the SHA-256 %s, expected %s", got, want)
	}
	if len(calls) != 1 {
		t.Errorf("%d calls", len(calls))
	}
}

// Requests that come one behind the other on a connection are answered in their order, whatever each waits for.
func TestSharingOfPipelinedRequests(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, "coalesce: {policy: timer, hold: 1m, max_batch: 2}"))
	one, two := dial(t, g.addr()), dial(t, g.addr())
	for _, c := range []*rawConn{one, two} {
		c.send(strings.Repeat("GET /a HTTP/1.1\r\nHost: e2e\r\n\r\nGET /b HTTP/1.1\r\nHost: e2e\r\n\r\n", 2))
	}
	for range 4 {
		c := o.next()
		c.answer("answer to " + c.RequestURI)
	}
	for _, c := range []*rawConn{one, two} {
		for _, path := range []string{"/a", "/b", "/a", "/b"} {
			c.read("GET").expect(t, 200, "answer to "+path)
		}
	}
	o.expectNone()
}

// Those who wait while the configuration changes are answered, by the upstream that they came for.
func TestReloadWithWaiters(t *testing.T) {
	t.Parallel()
	o, later := newHeldOrigin(t), newHeldOrigin(t)
	const how = "coalesce: {policy: timer, hold: 500ms, max_batch: 100}"
	g := serve(t, sharingOf(o.url, how))
	held := visit(t, "GET", g.url+"/held")
	call := o.next()
	var waiting []*visitor
	for range 3 {
		waiting = append(waiting, visit(t, "GET", g.url+"/waits"))
	}
	g.awaitUnderWay(4)
	g.rewrite(sharingOf(later.url, how))
	g.reload().expect(t, 200, "reloaded")
	call.answer("old")
	held.expect(200, "old")
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case c := <-o.calls: // one, unless some came late
				c.answer("old, too")
			case <-done:
				return
			}
		}
	}()
	for _, v := range waiting {
		v.expect(200, "old, too")
	}
	after := visit(t, "GET", g.url+"/waits")
	later.next().answer("new")
	after.expect(200, "new")
	later.expectNone()
}

// On SIGTERM those who wait for others are served at once: nobody else will come.
func TestShutdownServesThoseWhoWait(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, "coalesce: {policy: timer, hold: 1m, max_batch: 100}")) // far beyond shutdown_timeout
	var visitors []*visitor
	for range 5 {
		visitors = append(visitors, visit(t, "GET", g.url+"/x"))
	}
	g.awaitUnderWay(5)
	g.signal(syscall.SIGTERM)
	first := o.next()
	if n := len(o.calls); n > 4 {
		t.Errorf("%d calls for 5 requests", n+1)
	}
	first.answer("one")
	go func() { // whoever had not yet begun to wait when the signal came makes a call of its own
		for c := range o.calls {
			c.answer("one")
		}
	}()
	for _, v := range visitors {
		v.expect(200, "one")
	}
	if code := g.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	close(o.calls)
}
