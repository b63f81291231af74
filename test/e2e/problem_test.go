package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

func TestNoRoute(t *testing.T) {
	t.Parallel()
	g := serve(t, upstream([]string{serveHTTP(t, echo)})+
		"routes: [{path: /api/*, methods: [GET], upstream: app}, {path: /exact, upstream: app}]\n")
	get(t, g.url+"/api/x").expect(t, 200, "GET /api/x")
	get(t, g.url+"/exact").expect(t, 200, "GET /exact")
	get(t, g.url+"/exact/not").expectProblem(t, 404, "no-route")
	do(t, "POST", g.url+"/api/x", "").expectProblem(t, 404, "no-route")
	r := get(t, g.url+"/other", "X-Request-Id", "mine")
	r.expectProblem(t, 404, "no-route")
	if id := r.Header.Get("X-Request-Id"); id != "mine" {
		t.Errorf("the client's request id became %q", id)
	}
	if n := g.metric("sluice_requests_total", "route", "none", "status", "4xx"); n != 3 {
		t.Errorf("/metrics counts %v requests without a route, expected 3", n)
	}
}

func TestOriginDown(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{nobody(t)}))
	c := dial(t, g.addr())
	c.ask("/").expectProblem(t, 502, "upstream-unreachable")
	c.send("POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: 2\r\n\r\nab")
	c.read("POST").expectProblem(t, 502, "upstream-unreachable")
}

func TestOriginMisbehaves(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveRaw(t, func(c *net.TCPConn, br *bufio.Reader) {
		head, err := readHead(br)
		if err != nil {
			return
		}
		switch strings.Fields(head)[1] {
		case "/silent": // closes without an answer
		case "/ssh":
			io.WriteString(c, "SSH-2.0-OpenSSH\r\n\r\n")
		case "/both":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
		case "/101":
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
		case "/huge":
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Huge: %s\r\n\r\n", strings.Repeat("x", 128<<10))
		}
	})}))
	get(t, g.url+"/silent").expectProblem(t, 502, "upstream-unreachable")
	for _, path := range []string{"/ssh", "/both", "/101", "/huge"} {
		get(t, g.url+path).expectProblem(t, 502, "upstream-bad-response")
	}
}

func TestOriginTooSlow(t *testing.T) {
	t.Parallel()
	silent := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done() // the gateway has given up
	})
	for _, timeout := range []string{"header: 50ms", "total: 50ms"} {
		g := serve(t, inFront([]string{silent}, "timeouts: {"+timeout+"}"))
		c := dial(t, g.addr())
		c.ask("/").expectProblem(t, 504, "upstream-timeout")
		c.send("PUT / HTTP/1.1\r\nHost: e2e\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
		c.send("0\r\n\r\n")
		c.read("PUT").expectProblem(t, 504, "upstream-timeout")
	}
}

func TestNoHealthyTarget(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{nobody(t)}, "health: {path: /healthz, interval: 20ms, unhealthy_after: 2}"))
	await(t, "the target to be unhealthy", func() bool { return !g.state().Upstreams[0].Targets[0].Healthy })
	r := get(t, g.url)
	r.expectProblem(t, 503, "upstream-unavailable")
	if n, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || n < 1 {
		t.Errorf("Retry-After is %q", r.Header.Get("Retry-After"))
	}
	get(t, g.admin+"/readyz").expect(t, 503, "no healthy target")
	get(t, g.admin+"/healthz").expect(t, 200, "ok")
}

func TestBodyTooLarge(t *testing.T) {
	t.Parallel()
	g := serve(t, upstream([]string{serveHTTP(t, echo)})+
		"routes: [{path: /small, upstream: app, max_body: 1KiB}, {path: /*, upstream: app}]\n")
	fits, over := strings.Repeat("x", 1024), strings.Repeat("x", 1025)
	chunked := func(body string) string {
		return fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	known := func(body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body) }
	for _, c := range []struct {
		name, path, framed string
		refused            bool
	}{
		{"known", "/small", known(fits), false},
		{"chunked", "/small", chunked(fits), false},
		{"known, one more", "/small", known(over), true},
		{"chunked, one more", "/small", chunked(over), true},
		{"known, elsewhere", "/large", known(over), false},
		{"chunked, elsewhere", "/large", chunked(over), false},
		{"known, by far", "/small", known(strings.Repeat("x", 4<<20)), true},
		{"chunked, by far", "/small", chunked(strings.Repeat("x", 4<<20)), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dial(t, g.addr())
			go io.WriteString(conn, "POST "+c.path+" HTTP/1.1\r\nHost: e2e\r\n"+c.framed)
			r := conn.read("POST")
			if c.refused {
				r.expectProblem(t, 413, "body-too-large")
			} else {
				r.expect(t, 200, "POST "+c.path)
			}
		})
	}
}

// What cannot be understood, or is too large, is refused, and the connection is closed.
func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	g := serve(t, "max_header: 2KiB\nmax_uri: 256B\n"+inFront([]string{serveHTTP(t, echo)}))
	for _, c := range []struct {
		name, request string
		status        int
		problem       string
	}{
		{"long target", "GET /" + strings.Repeat("x", 256) + " HTTP/1.1\r\nHost: e2e\r\n\r\n", 414, "uri-too-long"},
		{"endless target", "GET /" + strings.Repeat("x", 64<<10), 414, "uri-too-long"},
		{"large head", "GET / HTTP/1.1\r\nHost: e2e\r\nX: " + strings.Repeat("x", 2<<10) + "\r\n\r\n", 431, "header-too-large"},
		{"endless head", "GET / HTTP/1.1\r\nHost: e2e\r\n" + strings.Repeat("X: y\r\n", 16<<10), 431, "header-too-large"},
		{"both lengths", "POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad-request"},
		{"two lengths", "POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400, "bad-request"},
		{"no host", "GET / HTTP/1.1\r\n\r\n", 400, "bad-request"},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "bad-request"},
		{"bare LF", "GET / HTTP/1.1\nHost: e2e\n\n", 400, "bad-request"},
		{"folded", "GET / HTTP/1.1\r\nHost: e2e\r\nX: a\r\n b\r\n\r\n", 400, "bad-request"},
		{"space before colon", "GET / HTTP/1.1\r\nHost: e2e\r\nX : a\r\n\r\n", 400, "bad-request"},
		{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: e2e\r\n\r\n", 400, "bad-request"},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad-request"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad-request"},
		{"bad chunk", "POST / HTTP/1.1\r\nHost: e2e\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, "bad-request"},
		{"smuggled", "POST / HTTP/1.1\r\nHost: e2e\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: e2e\r\n\r\n", 400, "bad-request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dial(t, g.addr())
			go io.WriteString(conn, c.request)
			r := conn.read("GET")
			r.expectProblem(t, c.status, c.problem)
			if !r.Close {
				t.Error("the response does not announce the close")
			}
			conn.expectClosed()
		})
	}
	get(t, g.url).expect(t, 200, "GET / ") // and the others are served
}

func TestClientTooSlow(t *testing.T) {
	t.Parallel()
	g := serve(t, "timeouts: {header: 1s, body: 1s, idle: 1s}\n"+inFront([]string{serveHTTP(t, echo)}))
	head := dial(t, g.addr())
	head.send("GET / HTTP/1.1\r\nHost: e2e\r\n")
	head.read("GET").expectProblem(t, 408, "request-timeout")
	head.expectClosed()

	body := dial(t, g.addr())
	body.send("PUT / HTTP/1.1\r\nHost: e2e\r\nContent-Length: 5\r\n\r\nhel")
	body.read("PUT").expectProblem(t, 408, "request-timeout")
	body.expectClosed()

	dial(t, g.addr()).expectClosed() // never says a word
	idle := dial(t, g.addr())
	idle.ask("/").expect(t, 200, "GET /")
	idle.expectClosed()
}
