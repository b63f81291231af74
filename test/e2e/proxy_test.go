package e2e_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// echo answers with what the request was: its line, its fields, and the SHA-256 of its body.
func echo(w http.ResponseWriter, r *http.Request) {
	digest := sha256.New()
	if _, err := io.Copy(digest, r.Body); err != nil {
		return // the client has gone, or its gateway
	}
	fmt.Fprintf(w, "%s %s %s host=%s\n", r.Method, r.RequestURI, r.Proto, r.Host)
	r.Header.Write(w)
	fmt.Fprintf(w, "sha256=%x\n", digest.Sum(nil))
}

func sum(text string) string {
	digest := sha256.Sum256([]byte(text))
	return hex.EncodeToString(digest[:])
}

func TestServeFile(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, echo)}))
	get(t, g.url+"/a/b?c=d").expect(t, 200, "GET /a/b?c=d HTTP/1.1")
	g.signal(syscall.SIGTERM)
	if code := g.wait(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	if n := len(g.logged("sluice is serving")); n != 1 {
		t.Errorf("%d lines say what listens where, expected one", n)
	}
}

func TestServeUpstream(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t)
	g := startGateway(t, "serve", "--upstream", origin, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	get(t, g.url+"/hello").expect(t, 200, `"path":"/hello"`)
	if n := originServed(t, origin); n != 1 {
		t.Errorf("the origin has served %d requests, expected 1", n)
	}
	do(t, "POST", g.admin+"/api/v1/reload", "").expect(t, 409, "no configuration file")
	g.signal(syscall.SIGINT)
	if code := g.wait(); code != 0 {
		t.Errorf("exit code %d after SIGINT", code)
	}
}

func TestServeRefusesToStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"serve", "-c", "/nowhere/sluice.yaml"}, 1, "/nowhere/sluice.yaml: cannot read the file"},
		{[]string{"serve", "--upstream", "127.0.0.1:9090"}, 2, "--upstream"},
		{[]string{"serve", "--upstream", "http://127.0.0.1:1", "--admin", "0.0.0.0:0"}, 2, "not a loopback address"},
		{[]string{"serve", "--upstream", "http://127.0.0.1:1", "-c", "sluice.yaml"}, 2, "exclude each other"},
		{[]string{"serve", "--listen", "127.0.0.1:0"}, 2, "--upstream"},
	} {
		p := start(t, c.args...)
		if code := p.wait(); code != c.code || !strings.Contains(p.stderr.String(), c.want) {
			t.Errorf("%v: exit code %d with %q, expected %d with %q", c.args, code, p.stderr.String(), c.code, c.want)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, echo)}))
	for _, method := range []string{
		"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE", "PROPFIND", "M-SEARCH", "QUERY", "get",
		"x!#$%&'*+-.^_`|~9",
	} {
		body := ""
		if method != "GET" && method != "TRACE" {
			body = "for " + method
		}
		r := do(t, method, g.url+"/m", body)
		r.expect(t, 200, method+" /m HTTP/1.1 ")
		r.expect(t, 200, "sha256="+sum(body))
	}
	c := dial(t, g.addr())
	c.send("OPTIONS * HTTP/1.1\r\nHost: e2e\r\n\r\n")
	c.read("OPTIONS").expect(t, 200, "OPTIONS * HTTP/1.1 ")
	c.send("GET http://elsewhere/abs?q HTTP/1.1\r\nHost: e2e\r\n\r\n")
	c.read("GET").expect(t, 200, "GET /abs?q HTTP/1.1 host=elsewhere")
	c.send("CONNECT e2e:443 HTTP/1.1\r\nHost: e2e\r\n\r\n")
	c.read("GET").expectProblem(t, 501, "not-implemented")
	c.expectClosed()
}

func TestHead(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1234")
		if r.Method != "HEAD" {
			io.WriteString(w, strings.Repeat("x", 1234))
		}
	})}))
	c := dial(t, g.addr())
	c.send("HEAD /h HTTP/1.1\r\nHost: e2e\r\n\r\n")
	if r := c.read("HEAD"); r.ContentLength != 1234 || r.body != "" {
		t.Errorf("HEAD: a length of %d and a body of %d bytes", r.ContentLength, len(r.body))
	}
	c.ask("/h").expect(t, 200, "xxxx") // the connection is in step
}

func TestHTTP10(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/chunks" {
			for i := range 3 {
				fmt.Fprintf(w, "piece %d\n", i)
				w.(http.Flusher).Flush()
			}
			return
		}
		echo(w, r)
	})}))

	closing := dial(t, g.addr())
	closing.send("GET /old HTTP/1.0\r\n\r\n")
	r := closing.read("GET")
	r.expect(t, 200, "GET /old HTTP/1.1")
	r.expect(t, 200, "Via: 1.0 sluice")
	closing.expectClosed()

	kept := dial(t, g.addr())
	for range 3 {
		kept.send("POST /old HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello")
		r := kept.read("POST")
		r.expect(t, 200, "sha256="+sum("hello"))
		if !strings.EqualFold(r.Header.Get("Connection"), "keep-alive") {
			t.Fatalf("Connection is %q in an answer to HTTP/1.0 with keep-alive", r.Header.Get("Connection"))
		}
	}

	// Chunks are unknown to HTTP/1.0: the end of the connection ends the body.
	chunks := dial(t, g.addr())
	chunks.send("GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	r = chunks.read("GET")
	r.expect(t, 200, "piece 0\npiece 1\npiece 2\n")
	if len(r.TransferEncoding) > 0 {
		t.Errorf("Transfer-Encoding %v in an answer to HTTP/1.0", r.TransferEncoding)
	}
	chunks.expectClosed()
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, echo)}))
	before := g.metric("sluice_connections_accepted_total")
	c := dial(t, g.addr())
	for i := range 100 {
		c.ask(fmt.Sprint("/one/", i)).expect(t, 200, fmt.Sprintf("GET /one/%d HTTP/1.1", i))
	}
	var pipelined strings.Builder
	for i := range 100 {
		fmt.Fprintf(&pipelined, "POST /two/%d HTTP/1.1\r\nHost: e2e\r\nContent-Length: 3\r\n\r\n%03d", i, i)
	}
	c.send(pipelined.String())
	for i := range 100 {
		r := c.read("POST")
		r.expect(t, 200, fmt.Sprintf("POST /two/%d HTTP/1.1", i))
		r.expect(t, 200, "sha256="+sum(fmt.Sprintf("%03d", i)))
	}
	c.send("GET /last HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n\r\n")
	c.read("GET").expect(t, 200, "/last")
	c.expectClosed()
	if n := g.metric("sluice_connections_accepted_total") - before; n != 1 {
		t.Errorf("201 requests took %v connections, expected 1", n)
	}
	if n := g.metric("sluice_requests_total", "route", "/*", "status", "2xx"); n != 201 {
		t.Errorf("/metrics counts %v requests, expected 201", n)
	}
}

// An origin that closes its connections after a while must not make requests fail.
func TestOriginClosesKeptConnections(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveRaw(t, func(c *net.TCPConn, br *bufio.Reader) {
		for range 3 { // and then it closes without a word
			if _, err := readHead(br); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})}))
	c := dial(t, g.addr())
	for range 100 {
		c.ask("/").expect(t, 200, "ok")
	}
}

func TestHeadsPassUnchanged(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	answer := "HTTP/1.1 299 Quite Fine\r\nx-lower: 1\r\nX-UPPER:  two  words \r\nSet-Cookie: a=1\r\nX-Between: \xe4\r\n" +
		"Set-Cookie: b=2\r\nConnection: X-Hop\r\nX-Hop: no\r\nKeep-Alive: timeout=5\r\nX-Empty:\r\nContent-Length: 2\r\n\r\nok"
	g := serve(t, inFront([]string{serveRaw(t, func(c *net.TCPConn, br *bufio.Reader) {
		head, err := readHead(br)
		if err != nil {
			return
		}
		heads <- head
		io.WriteString(c, answer)
	})}))
	c := dial(t, g.addr())
	c.send("GET /a%2Fb//c%7e?x=%zz&y HTTP/1.1\r\nhOST: e2e:80\r\nX-b: 1\r\nx-A: 2\r\nX-B:\t3\r\nAccept-Encoding: br\r\n" +
		"Connection: keep-alive, X-Hop\r\nx-hop: no\r\nTE: trailers\r\nProxy-Authorization: no\r\nKeep-Alive: no\r\nCookie: \xff; \"q\"\r\n\r\n")

	head := receive(t, "the request at the origin", heads)
	want := "GET /a%2Fb//c%7e?x=%zz&y HTTP/1.1\r\nhOST: e2e:80\r\nX-b: 1\r\nx-A: 2\r\nX-B: 3\r\nAccept-Encoding: br\r\nCookie: \xff; \"q\"\r\n" +
		"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: e2e:80\r\nVia: 1.1 sluice\r\nX-Request-Id: "
	id, ok := strings.CutPrefix(head, want)
	id, _, _ = strings.Cut(id, "\r\n")
	if !ok || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id) {
		t.Errorf("the origin got\n%q\nexpected\n%q and an id of 32 digits", head, want)
	}
	got, err := readHead(c.br)
	want = "HTTP/1.1 299 Quite Fine\r\nx-lower: 1\r\nX-UPPER: two  words\r\nSet-Cookie: a=1\r\nX-Between: \xe4\r\n" +
		"Set-Cookie: b=2\r\nX-Empty: \r\nVia: 1.1 sluice\r\nX-Request-Id: " + id + "\r\nContent-Length: 2\r\n\r\n"
	if err != nil || got != want {
		t.Errorf("the client got\n%q, %v\nexpected\n%q", got, err, want)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "the origin's own")
		io.WriteString(w, r.Header.Get("X-Request-Id"))
	})}))
	seen := make(map[string]bool)
	for range 10 {
		r := get(t, g.url)
		if seen[r.body] || len(r.body) != 32 || r.Header.Get("X-Request-Id") != r.body {
			t.Errorf("the origin got the id %q, the client %q", r.body, r.Header["X-Request-Id"])
		}
		seen[r.body] = true
	}
	r := get(t, g.url, "X-Request-Id", "kept-42/{x}")
	if ids := r.Header["X-Request-Id"]; r.body != "kept-42/{x}" || len(ids) != 1 || ids[0] != r.body {
		t.Errorf("the client's id became %q at the origin and %q at the client", r.body, ids)
	}
	for _, unfit := range []string{"two words", strings.Repeat("x", 129), "ümlaut"} {
		if r := get(t, g.url, "X-Request-Id", unfit); len(r.body) != 32 {
			t.Errorf("the id %q was passed on as %q", unfit, r.body)
		}
	}
}

// What strangers say about who they are is replaced; what a trusted proxy says is kept.
func TestForwarded(t *testing.T) {
	t.Parallel()
	origin := serveHTTP(t, echo)
	said := []string{"X-Forwarded-For", "203.0.113.7", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "shop.example"}
	stranger := get(t, serve(t, inFront([]string{origin})).url, said...)
	stranger.expect(t, 200, "X-Forwarded-For: 127.0.0.1\r\n")
	stranger.expect(t, 200, "X-Forwarded-Proto: http\r\n")
	stranger.expect(t, 200, "X-Forwarded-Host: 127.0.0.1:")
	trusted := get(t, serve(t, "identify: {trusted_proxies: [127.0.0.0/8]}\n"+inFront([]string{origin})).url, said...)
	trusted.expect(t, 200, "X-Forwarded-For: 203.0.113.7, 127.0.0.1\r\n")
	trusted.expect(t, 200, "X-Forwarded-Proto: https\r\n")
	trusted.expect(t, 200, "X-Forwarded-Host: shop.example\r\n")
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	g := serve(t, upstream([]string{serveHTTP(t, echo)})+
		"routes: [{path: /small, upstream: app, max_body: 1KiB}, {path: /*, upstream: app}]\n")

	c := dial(t, g.addr())
	c.send("PUT /x HTTP/1.1\r\nHost: e2e\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	if r := c.read("PUT"); r.StatusCode != 100 {
		t.Fatalf("got %s before the body, expected 100", r.Status)
	}
	c.send("hello")
	c.read("PUT").expect(t, 200, "sha256="+sum("hello"))
	c.ask("/again").expect(t, 200, "/again")

	// A body that comes at once is not waited for, and a body that is not wanted is not asked for.
	c.send("PUT /x HTTP/1.1\r\nHost: e2e\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
	c.read("PUT").expect(t, 200, "sha256="+sum("hello"))
	c.send("PUT /small HTTP/1.1\r\nHost: e2e\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n")
	c.read("PUT").expectProblem(t, 413, "body-too-large")
	c.expectClosed()

	odd := dial(t, g.addr())
	odd.send("PUT /x HTTP/1.1\r\nHost: e2e\r\nExpect: a-miracle\r\nContent-Length: 5\r\n\r\n")
	odd.read("PUT").expectProblem(t, 417, "expectation-failed")
}

func TestEarlyHints(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Link", "</script.js>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		io.WriteString(w, "final")
	})}))
	var hints []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, " ", header.Get("Link")))
			return nil
		},
	})
	req, err := http.NewRequestWithContext(ctx, "GET", g.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := newClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	readReply(t, resp).expect(t, 200, "final")
	if got := strings.Join(hints, "; "); got != "103 </style.css>; rel=preload; 103 </script.js>; rel=preload" {
		t.Errorf("hints: %s", got)
	}
	old := dial(t, g.addr())
	old.send("GET / HTTP/1.0\r\n\r\n")
	old.read("GET").expect(t, 200, "final") // HTTP/1.0 knows no interim responses
}

func TestTrailers(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(w, "got %d bytes and %q", len(body), r.Trailer.Get("X-Request-Sum"))
		w.Header().Set("X-Sum", sum(string(body)))
	})}))
	req, err := http.NewRequestWithContext(t.Context(), "POST", g.url, io.MultiReader(strings.NewReader("hello")))
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = http.Header{"X-Request-Sum": {"77"}}
	resp, err := newClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r := readReply(t, resp)
	r.expect(t, 200, `got 5 bytes and "77"`)
	if got := r.Trailer.Get("X-Sum"); got != sum("hello") {
		t.Errorf("trailer of the response: %q, all: %v", got, r.Trailer)
	}
}
