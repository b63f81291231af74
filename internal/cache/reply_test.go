package cache_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/cache"
	"github.com/sluicegate/sluice/internal/http1"
)

// serve runs a server on the loopback until the test ends, and returns its address.
func serve(t testing.TB, handler func(*http1.Exchange)) string {
	t.Helper()
	limits := http1.Limits{
		MaxConns: 10, MaxHeader: 16 << 10, MaxURI: 8 << 10,
		HeaderTimeout: time.Minute, IdleTimeout: time.Minute, BodyTimeout: time.Minute, WriteTimeout: time.Minute,
	}
	srv := http1.NewServer(limits, slog.New(slog.DiscardHandler), handler)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	t.Cleanup(func() {
		srv.Shutdown(t.Context())
		<-ended
	})
	return ln.Addr().String()
}

// ask sends one request and returns the answer and its body.
func ask(t testing.TB, addr, raw string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	method, _, _ := strings.Cut(raw, " ")
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// answering serves from a cache, as of a time, and answers 599 where it holds nothing.
func answering(t testing.TB, c *cache.Cache, now time.Time) string {
	return serve(t, func(x *http1.Exchange) {
		var p cache.Plan
		c.Plan(&p, &x.Request, false, now)
		e, state := c.Lookup(&p, now)
		if !state.Usable() {
			x.Begin(599, nil)
			x.Respond(nil)
			return
		}
		r := e.Reply(&x.Request, &p)
		e.Begin(x, r, now)
		x.AddString("X-More", "1")
		e.End(x, r)
	})
}

// TestReplies asks for a stored response in every way that RFC 9110 sections 13 and 14 know.
func TestReplies(t *testing.T) {
	const modified = "Sun, 01 Feb 2026 00:00:00 GMT"
	c := open(t, anHour)
	keep(t, c, request("GET /a"), response(t, "200 Fine", "Date: "+date(start), hour, `ETag: "a"`, "Last-Modified: "+modified, "Content-Type: text/plain",
		"Connection: X-Hop", "X-Hop: 1", "Keep-Alive: 1", "Proxy-Authenticate: a", "Content-Length: 10", "X-Request-Id: 1", "Age: 5", "x-Odd: A", "Cache-Status: other; hit",
		"X-Odd: B"), "0123456789", start)
	keep(t, c, request("GET /weak"), response(t, "200 OK", hour, `ETag: W/"a"`), "0123456789", start)
	keep(t, c, request("GET /undated"), response(t, "200 OK", hour), "0123456789", start)
	keep(t, c, request("GET /fresh"), response(t, "200 OK", "Date: "+date(start), hour, "Last-Modified: "+date(start)), "0123456789", start)
	keep(t, c, request("GET /gone"), response(t, "404 Not Found", hour, `ETag: "a"`), "none", start)
	keep(t, c, request("GET /empty"), response(t, "200 OK", hour, `ETag: ""`), "", start)
	addr := answering(t, c, start.Add(7*time.Second))
	for name, want := range map[string]struct {
		request string
		fields  []string
		status  int
		body    string
		span    string // Content-Range
	}{
		"whole":                        {request: "GET /a", status: 200, body: "0123456789"},
		"HEAD":                         {request: "HEAD /a", status: 200},
		"nothing stored":               {request: "GET /b", status: 599},
		"If-None-Match":                {request: "GET /a", fields: []string{`If-None-Match: "a"`}, status: 304},
		"If-None-Match, HEAD":          {request: "HEAD /a", fields: []string{`If-None-Match: "a"`}, status: 304},
		"If-None-Match, weak":          {request: "GET /a", fields: []string{`If-None-Match: W/"a"`}, status: 304},
		"If-None-Match, stored weak":   {request: "GET /weak", fields: []string{`If-None-Match: "a"`}, status: 304},
		"If-None-Match, both weak":     {request: "GET /weak", fields: []string{`If-None-Match: W/"a"`}, status: 304},
		"If-None-Match, small w":       {request: "GET /weak", fields: []string{`If-None-Match: w/"a"`}, status: 200, body: "0123456789"},
		"If-None-Match, star":          {request: "GET /a", fields: []string{"If-None-Match: *"}, status: 304},
		"If-None-Match, list":          {request: "GET /a", fields: []string{`If-None-Match: "b", W/"c" ,"a"`}, status: 304},
		"If-None-Match, second line":   {request: "GET /a", fields: []string{`If-None-Match: "b"`, `If-None-Match: "a"`}, status: 304},
		"If-None-Match, comma inside":  {request: "GET /a", fields: []string{`If-None-Match: "b,"a"`}, status: 200, body: "0123456789"},
		"If-None-Match, another":       {request: "GET /a", fields: []string{`If-None-Match: "b"`}, status: 200, body: "0123456789"},
		"If-None-Match, unquoted":      {request: "GET /a", fields: []string{"If-None-Match: a"}, status: 200, body: "0123456789"},
		"If-None-Match goes first":     {request: "GET /a", fields: []string{`If-None-Match: "b"`, "If-Modified-Since: " + modified}, status: 200, body: "0123456789"},
		"If-None-Match, no tag stored": {request: "GET /undated", fields: []string{`If-None-Match: "a"`}, status: 200, body: "0123456789"},
		"If-None-Match, empty tag":     {request: "GET /empty", fields: []string{`If-None-Match: ""`}, status: 304},
		"If-None-Match, a 404":         {request: "GET /gone", fields: []string{`If-None-Match: "a"`}, status: 404, body: "none"},
		"If-Modified-Since":            {request: "GET /a", fields: []string{"If-Modified-Since: " + modified}, status: 304},
		"If-Modified-Since, later":     {request: "GET /a", fields: []string{"If-Modified-Since: " + date(start)}, status: 304},
		"If-Modified-Since, earlier":   {request: "GET /a", fields: []string{"If-Modified-Since: Sat, 31 Jan 2026 23:59:59 GMT"}, status: 200, body: "0123456789"},
		"If-Modified-Since, RFC 850":   {request: "GET /a", fields: []string{"If-Modified-Since: Sunday, 01-Feb-26 00:00:00 GMT"}, status: 304},
		"If-Modified-Since, none":      {request: "GET /a", fields: []string{"If-Modified-Since: yesterday"}, status: 200, body: "0123456789"},
		"If-Modified-Since, by Date":   {request: "GET /undated", fields: []string{"If-Modified-Since: " + date(start)}, status: 304},
		"range":                        {request: "GET /a", fields: []string{"Range: bytes=2-4"}, status: 206, body: "234", span: "bytes 2-4/10"},
		"range, first byte":            {request: "GET /a", fields: []string{"Range: bytes=0-0"}, status: 206, body: "0", span: "bytes 0-0/10"},
		"range, open":                  {request: "GET /a", fields: []string{"Range: bytes=7-"}, status: 206, body: "789", span: "bytes 7-9/10"},
		"range, beyond the end":        {request: "GET /a", fields: []string{"Range: bytes=8-99999999999999999999"}, status: 206, body: "89", span: "bytes 8-9/10"},
		"range, suffix":                {request: "GET /a", fields: []string{"Range: bytes=-3"}, status: 206, body: "789", span: "bytes 7-9/10"},
		"range, long suffix":           {request: "GET /a", fields: []string{"Range: bytes=-30"}, status: 206, body: "0123456789", span: "bytes 0-9/10"},
		"range, Bytes":                 {request: "GET /a", fields: []string{"Range: Bytes=1-1"}, status: 206, body: "1", span: "bytes 1-1/10"},
		"range, no byte of a suffix":   {request: "GET /a", fields: []string{"Range: bytes=-0"}, status: 416, span: "bytes */10"},
		"range, behind the end":        {request: "GET /a", fields: []string{"Range: bytes=10-"}, status: 416, span: "bytes */10"},
		"range, of nothing":            {request: "GET /empty", fields: []string{"Range: bytes=0-"}, status: 416, span: "bytes */0"},
		"range, backwards":             {request: "GET /a", fields: []string{"Range: bytes=4-2"}, status: 200, body: "0123456789"},
		"range, several":               {request: "GET /a", fields: []string{"Range: bytes=0-1,3-4"}, status: 200, body: "0123456789"},
		"range, two fields":            {request: "GET /a", fields: []string{"Range: bytes=0-1", "Range: bytes=0-1"}, status: 200, body: "0123456789"},
		"range, another unit":          {request: "GET /a", fields: []string{"Range: lines=0-1"}, status: 200, body: "0123456789"},
		"range, a sign":                {request: "GET /a", fields: []string{"Range: bytes=+1-2"}, status: 200, body: "0123456789"},
		"range, nothing":               {request: "GET /a", fields: []string{"Range: bytes=-"}, status: 200, body: "0123456789"},
		"range of HEAD":                {request: "HEAD /a", fields: []string{"Range: bytes=2-4"}, status: 200},
		"range of a 404":               {request: "GET /gone", fields: []string{"Range: bytes=0-0"}, status: 404, body: "none"},
		"range, not modified":          {request: "GET /a", fields: []string{"Range: bytes=2-4", `If-None-Match: "a"`}, status: 304},
		"If-Range":                     {request: "GET /a", fields: []string{"Range: bytes=2-4", `If-Range: "a"`}, status: 206, body: "234", span: "bytes 2-4/10"},
		"If-Range, another":            {request: "GET /a", fields: []string{"Range: bytes=2-4", `If-Range: "b"`}, status: 200, body: "0123456789"},
		"If-Range, weak":               {request: "GET /weak", fields: []string{"Range: bytes=2-4", `If-Range: W/"a"`}, status: 200, body: "0123456789"},
		"If-Range, date":               {request: "GET /a", fields: []string{"Range: bytes=2-4", "If-Range: " + modified}, status: 206, body: "234", span: "bytes 2-4/10"},
		"If-Range, later date":         {request: "GET /a", fields: []string{"Range: bytes=2-4", "If-Range: " + date(start)}, status: 200, body: "0123456789"},
		"If-Range, a date too young":   {request: "GET /fresh", fields: []string{"Range: bytes=2-4", "If-Range: " + date(start)}, status: 200, body: "0123456789"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := ask(t, addr, want.request+" HTTP/1.1\r\nHost: example.com\r\n"+strings.Join(append(want.fields, "", ""), "\r\n"))
			if resp.StatusCode != want.status || body != want.body || resp.Header.Get("Content-Range") != want.span {
				t.Fatalf("%d %q %q, want %d %q %q", resp.StatusCode, body, resp.Header.Get("Content-Range"), want.status, want.body, want.span)
			}
			if want.status < 400 && (resp.Header.Get("Age") == "" || resp.Header.Get("Date") == "" || resp.Header.Get("Via") != "1.1 sluice" || resp.Header.Get("X-More") != "1") {
				t.Errorf("head: %v", resp.Header)
			}
		})
	}
}

// TestReplyHead looks at every field that goes out.
func TestReplyHead(t *testing.T) {
	c := open(t, anHour)
	keep(t, c, request("GET /a"), response(t, "200 Fine", "Date: "+date(start), hour, `ETag: "a"`, "Content-Type: text/plain", "Connection: X-Hop", "X-Hop: 1",
		"Keep-Alive: 1", "Proxy-Authenticate: a", "Proxy-Authentication-Info: a", "Content-Length: 2", "X-Request-Id: 1", "Age: 5", "x-Odd: A", "Cache-Status: other; hit",
		`Cache-Control: no-cache="x-hidden, X-Secret"`, "X-Hidden: 1", "x-secret: 2", "Content-Encoding: identity", "X-Odd: B"), "ok", start)
	addr := answering(t, c, start.Add(7*time.Second))
	const common = "Date: Sun, 01 Mar 2026 12:00:00 GMT\r\nCache-Control: max-age=3600\r\nETag: \"a\"\r\n"
	const rest = "x-Odd: A\r\nCache-Control: no-cache=\"x-hidden, X-Secret\"\r\n"
	const end = "X-Odd: B\r\nVia: 1.1 sluice\r\nAge: 12\r\nX-More: 1\r\n"
	for name, want := range map[string]struct{ request, answer string }{
		"GET":  {"GET /a HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 Fine\r\n" + common + "Content-Type: text/plain\r\n" + rest + "Content-Encoding: identity\r\n" + end + "Content-Length: 2\r\nConnection: close\r\n\r\nok"},
		"HEAD": {"HEAD /a HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 Fine\r\n" + common + "Content-Type: text/plain\r\n" + rest + "Content-Encoding: identity\r\n" + end + "Content-Length: 2\r\nConnection: close\r\n\r\n"},
		"304":  {"GET /a HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\nIf-None-Match: *\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n" + common + rest + end + "Connection: close\r\n\r\n"},
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, want.request)
		got, err := io.ReadAll(conn)
		conn.Close()
		if err != nil || string(got) != want.answer {
			t.Errorf("%s: %v\ngot:\n%s\nwant:\n%s", name, err, got, want.answer)
		}
	}
}

// TestHitAllocatesNothing answers from the store again and again.
func TestHitAllocatesNothing(t *testing.T) {
	c := open(t, anHour)
	now := start.Add(time.Second)
	keep(t, c, request("GET /plain"), response(t, "200 OK", hour), "0123456789", start)
	keep(t, c, request("GET /varied", "Accept-Encoding: br, gzip"), response(t, "200 OK", hour, "Vary: Accept-Encoding"), "0123456789", start)
	result := make(chan float64, 1)
	var p cache.Plan
	addr := serve(t, func(x *http1.Exchange) {
		result <- testing.AllocsPerRun(1000, func() {
			c.Plan(&p, &x.Request, false, now)
			e, state := c.Lookup(&p, now)
			if state != cache.Fresh {
				t.Errorf("%v", state)
				return
			}
			r := e.Reply(&x.Request, &p)
			e.Begin(x, r, now)
			x.EndHead(10)
			x.Write(e.Body())
		})
		x.Abort()
		x.Finish(nil)
	})
	for _, path := range []string{"/plain", "/varied"} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, conn)
		io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: example.com\r\nAccept-Encoding: gzip, br\r\nAccept: */*\r\nUser-Agent: test\r\n\r\n")
		if n := <-result; n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
		conn.Close()
	}
}
