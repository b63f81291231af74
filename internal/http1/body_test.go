package http1_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/http1"
)

// noise is n bytes that repeat nothing and can hold CRLF and digits.
func noise(seed uint64, n int) string {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return string(b)
}

func chunked(body string, size int) string {
	var b strings.Builder
	for rest := body; len(rest) > 0; {
		n := min(size, len(rest))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, rest[:n])
		rest = rest[n:]
	}
	return b.String() + "0\r\n\r\n"
}

// Bodies of sizes around every buffer's, sent at once and with the head of the next request behind them.
func TestBodySizes(t *testing.T) {
	s := serve(t, limits(), echo)
	c := s.dial(t)
	const head = "POST / HTTP/1.1\r\nHost: h\r\n"
	var sizes []int
	for _, at := range []int{0, 512, 4096 - 60, 4096, 8192, 64 << 10, 128 << 10, 300 << 10} {
		for d := -3; d <= 3; d++ {
			sizes = append(sizes, max(at+d, 0))
		}
	}
	for i, n := range sizes {
		body := noise(uint64(i), n)
		raw := fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, n, body) +
			head + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body, max(n, 1)) +
			head + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body, 1000)
		go c.send(raw)
		for framing := range 3 {
			if _, got := c.response("POST"); got != body {
				t.Fatalf("%d bytes, framing %d: %d came back, or others", n, framing, len(got))
			}
		}
	}
}

// The end of the head, and so the place of the body, at every offset around the buffer's end.
func TestHeadEndsAtBufferBoundary(t *testing.T) {
	s := serve(t, limits(), echo)
	c := s.dial(t)
	for n := 3900; n < 4200; n++ {
		body := noise(uint64(n), 700)
		c.sendf("POST / HTTP/1.1\r\nHost: h\r\nX: %s\r\nContent-Length: 700\r\n\r\n%s", strings.Repeat("x", n), body)
		resp, got := c.response("POST")
		if got != body || len(resp.Header.Get("X-Field-X")) != n {
			t.Fatalf("field of %d bytes: the body or the field came back otherwise", n)
		}
	}
}

// Requests whose bytes are sent one at a time.
func TestByteByByte(t *testing.T) {
	s := serve(t, limits(), echo)
	c := s.dial(t)
	c.SetNoDelay(true)
	raw := "\r\nPOST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"3;ext=\"a;b\"\r\nabc\r\n0a\r\n0123456789\r\n000;x\r\nX-T: v\r\nx-t: w\r\n\r\n" +
		"PUT /b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nwxyz" +
		"GET /c HTTP/1.1\r\nHost: h\r\n\r\n"
	go func() {
		for i := range len(raw) {
			c.send(raw[i : i+1])
		}
	}()
	for _, want := range []struct{ target, body, trailers string }{{"/a", "abc0123456789", "v,w"}, {"/b", "wxyz", ""}, {"/c", "", ""}} {
		resp, body := c.response("POST")
		if resp.Header.Get("X-Target") != want.target || body != want.body || strings.Join(resp.Header.Values("X-Trailer-X-T"), ",") != want.trailers {
			t.Errorf("%s: %v %q", want.target, resp.Header, body)
		}
	}
}

// A handler that reads nothing of a body, or a part, does not disturb the next request.
func TestUnreadBodies(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) {
		if x.IsMethod("PATCH") {
			x.Body.Next()
		}
		x.Begin(200, nil)
		x.Respond([]byte(x.Target))
	})
	for _, size := range []int{1, 3000, 4096, 64 << 10, 200 << 10} {
		for _, method := range []string{"POST", "PATCH"} {
			c := s.dial(t)
			body := noise(uint64(size), size)
			go c.send(fmt.Sprintf("%s /1 HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", method, size, body) +
				method + " /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, 5000) +
				"GET /3 HTTP/1.1\r\nHost: h\r\n\r\n")
			for _, want := range []string{"/1", "/2", "/3"} {
				if _, got := c.response("POST"); got != want {
					t.Fatalf("%s of %d bytes: answer %q, want %q", method, size, got, want)
				}
			}
			c.Close()
		}
	}
}

// A body that is too long to be read in vain closes the connection, and the response arrives all the same.
func TestLongUnreadBody(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) {
		x.Begin(413, nil)
		x.Respond([]byte("too long"))
	})
	for _, head := range []string{"Content-Length: 10000000", "Transfer-Encoding: chunked"} {
		c := s.dial(t)
		c.sendf("POST / HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", head)
		go c.send(chunked(noise(1, 700<<10), 64<<10))
		if resp, body := c.response("POST"); resp.StatusCode != 413 || body != "too long" {
			t.Errorf("%s: %s %q", head, resp.Status, body)
		}
	}
}

// The responses that have no body, whatever the handler writes.
func TestBodylessResponses(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) {
		status, length := 200, int64(5)
		fmt.Sscanf(string(x.Path), "/%d/%d", &status, &length)
		x.Begin(status, nil)
		x.EndHead(length)
		x.Write([]byte("hello"))
		x.Finish(nil)
	})
	tests := []struct{ method, path, length, body string }{
		{"GET", "/200/5", "5", "hello"},
		{"GET", "/200/-1", "", "hello"},
		{"HEAD", "/200/5", "5", ""},
		{"HEAD", "/200/-1", "", ""},
		{"GET", "/204/-1", "", ""},
		{"GET", "/204/5", "", ""},
		{"GET", "/304/5", "5", ""},
		{"GET", "/304/-1", "", ""},
	}
	c := s.dial(t)
	for range 2 { // a body that was sent all the same would be the next response's beginning
		for _, tt := range tests {
			c.sendf("%s %s HTTP/1.1\r\nHost: h\r\n\r\n", tt.method, tt.path)
			resp, body := c.response(tt.method)
			if body != tt.body || resp.Header.Get("Content-Length") != tt.length {
				t.Errorf("%s %s: %v %q", tt.method, tt.path, resp.Header, body)
			}
			if wantChunked := tt.body != "" && tt.length == ""; (len(resp.TransferEncoding) > 0) != wantChunked {
				t.Errorf("%s %s: Transfer-Encoding %v", tt.method, tt.path, resp.TransferEncoding)
			}
		}
	}
}

// A body of unknown length reaches a client of HTTP/1.0 up to the end of the connection, without chunks.
func TestUnknownLengthToOldClient(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) {
		x.Begin(200, nil)
		x.EndHead(-1)
		x.Write([]byte("hel"))
		x.Flush()
		x.Write([]byte("lo"))
		x.Finish([]http1.Field{{Name: []byte("X"), Value: []byte("y")}})
	})
	c := s.dial(t)
	c.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	if resp, body := c.response("GET"); body != "hello" || len(resp.TransferEncoding) > 0 || !resp.Close {
		t.Errorf("%v %q", resp, body)
	}
}

func TestResponseTrailer(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) {
		x.Begin(200, nil)
		x.EndHead(-1)
		x.Write([]byte("body"))
		x.Finish([]http1.Field{
			{Name: []byte("X-Sum"), Value: []byte("1")},
			{Name: []byte("Content-Length"), Value: []byte("9"), Kind: http1.ContentLength},
		})
	})
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	resp, _ := c.response("GET")
	if len(resp.Trailer) != 1 || resp.Trailer.Get("X-Sum") != "1" {
		t.Errorf("trailer %v", resp.Trailer)
	}
}

// Large writes and small ones, with and without flushes, arrive in order.
func TestWrites(t *testing.T) {
	body := noise(7, 300<<10)
	s := serve(t, limits(), func(x *http1.Exchange) {
		rng := rand.New(rand.NewPCG(uint64(len(x.Path)), 2))
		x.Begin(200, nil)
		length := int64(-1)
		if len(x.Query) > 0 {
			length = int64(len(body))
		}
		x.EndHead(length)
		for rest := []byte(body); len(rest) > 0; {
			n := min(1+rng.IntN(1<<(1+rng.IntN(17))), len(rest))
			x.Write(rest[:n])
			rest = rest[n:]
			if rng.IntN(4) == 0 {
				x.Flush()
			}
		}
		x.Finish(nil)
	})
	c := s.dial(t)
	for i := range 40 {
		query := strings.Repeat("?x", i%2)
		c.sendf("GET /%s%s HTTP/1.1\r\nHost: h\r\n\r\n", strings.Repeat("a", i), query)
		if _, got := c.response("GET"); got != body {
			t.Fatalf("response %d came otherwise", i)
		}
	}
}

// A response that is shorter than declared, or given up, or left unfinished, must not look whole.
func TestIncompleteResponses(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) {
		length := int64(10)
		if x.Minor == 0 {
			length = -1
		}
		x.Begin(200, nil)
		x.EndHead(length)
		x.Write([]byte("hello"))
		x.Flush()
		switch string(x.Path) {
		case "/short":
			if x.Minor == 0 {
				x.Abort()
			}
			x.Finish(nil)
		case "/abort":
			x.Abort()
		case "/panic":
			panic("a test")
		}
	})
	for _, path := range []string{"/short", "/abort", "/panic", "/return"} {
		for _, version := range []string{"1.0", "1.1"} {
			t.Run(path+version, func(t *testing.T) {
				c := s.dial(t)
				c.sendf("GET %s HTTP/%s\r\nHost: h\r\n\r\n", path, version)
				c.expectBroken()
			})
		}
	}
}

// What a handler writes beyond the declared length never reaches the client, where it would be the next response.
func TestTooLongResponse(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) {
		x.Begin(200, nil)
		x.EndHead(3)
		x.Write([]byte("ab"))
		x.Write([]byte("cdef"))
		x.Write([]byte("ghi"))
		x.Finish(nil)
	})
	c := s.dial(t)
	for range 2 {
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if _, body := c.response("GET"); body != "abc" {
			t.Errorf("%q, want abc", body)
		}
	}
}

func TestInterim(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) {
		x.Interim(103, nil, []http1.Field{
			{Name: []byte("Link"), Value: []byte("</a>")},
			{Name: []byte("Connection"), Value: []byte("close"), Kind: http1.Connection},
			{Name: []byte("Content-Length"), Value: []byte("3"), Kind: http1.ContentLength},
		})
		x.Begin(200, nil)
		x.Respond([]byte("final"))
	})
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	const want = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	c.send("GET / HTTP/1.0\r\n\r\n")
	if resp, body := c.response("GET"); resp.StatusCode != 200 || body != "final" {
		t.Errorf("to HTTP/1.0: %s %q", resp.Status, body)
	}
}

func TestExpectContinue(t *testing.T) {
	proceed := make(chan struct{})
	s := serve(t, limits(), func(x *http1.Exchange) {
		if string(x.Path) == "/refuse" {
			x.Begin(403, nil)
			x.Respond(nil)
			return
		}
		<-proceed
		echo(x)
	})
	const head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n"
	const interim = "HTTP/1.1 100 Continue\r\n\r\n"

	t.Run("sent when the body is read", func(t *testing.T) {
		c := s.dial(t)
		c.send(head)
		proceed <- struct{}{}
		got := make([]byte, len(interim))
		if _, err := io.ReadFull(c.r, got); err != nil || string(got) != interim {
			t.Fatalf("%q, %v", got, err)
		}
		c.send("hello")
		if resp, body := c.response("POST"); resp.StatusCode != 200 || body != "hello" {
			t.Errorf("%s %q", resp.Status, body)
		}
	})
	t.Run("not sent when the body is there", func(t *testing.T) {
		c := s.dial(t)
		c.send(head + "hello")
		proceed <- struct{}{}
		if resp, body := c.response("POST"); resp.StatusCode != 200 || body != "hello" {
			t.Errorf("%s %q", resp.Status, body)
		}
	})
	t.Run("not sent without a body", func(t *testing.T) {
		c := s.dial(t)
		c.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n")
		proceed <- struct{}{}
		if resp, _ := c.response("POST"); resp.StatusCode != 200 {
			t.Errorf("%s", resp.Status)
		}
	})
	t.Run("not sent to HTTP/1.0", func(t *testing.T) {
		c := s.dial(t)
		c.send("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		proceed <- struct{}{}
		c.send("hello")
		if resp, body := c.response("POST"); resp.StatusCode != 200 || body != "hello" {
			t.Errorf("%s %q", resp.Status, body)
		}
	})
	t.Run("not sent by a handler that refuses", func(t *testing.T) {
		c := s.dial(t)
		c.send(strings.Replace(head, "/", "/refuse", 1))
		if resp, _ := c.response("POST"); resp.StatusCode != 403 || !resp.Close {
			t.Errorf("%s, close %v; want 403 and close: the body may come or not", resp.Status, resp.Close)
		}
		c.expectEnd()
	})
}

// A client that stops within its body, however it was framed.
func TestBodyEndsEarly(t *testing.T) {
	errs := make(chan error, 1)
	s := serve(t, limits(), func(x *http1.Exchange) {
		_, err := readBody(x)
		_, again := x.Body.Next()
		if again != err {
			err = fmt.Errorf("%v, and then %v", err, again)
		}
		errs <- err
		x.Abort()
	})
	for _, raw := range []string{
		"Content-Length: 5\r\n\r\n", "Content-Length: 5\r\n\r\nabcd", "Transfer-Encoding: chunked\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n5", "Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc",
		"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n",
	} {
		c := s.dial(t)
		c.send("POST / HTTP/1.1\r\nHost: h\r\n" + raw)
		c.CloseWrite()
		if err := <-errs; err != io.ErrUnexpectedEOF {
			t.Errorf("%q: %v, want %v", raw, err, io.ErrUnexpectedEOF)
		}
	}
}

// StopBody wakes the goroutine that waits for the body, while the handler answers.
func TestStopBody(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) {
		x.ShareBody()
		first, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			x.Body.Next()
			close(first)
			for {
				if _, err := x.Body.Next(); err != nil {
					return
				}
			}
		}()
		<-first
		x.Begin(200, nil)
		x.EndHead(-1)
		x.Write([]byte("early"))
		x.StopBody()
		<-done
		x.UnshareBody()
		x.Finish(nil)
	})
	for range 50 {
		c := s.dial(t)
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n")
		c.send("some")
		if resp, body := c.response("POST"); body != "early" || !resp.Close {
			t.Fatalf("%q, close %v", body, resp.Close)
		}
		c.Close()
	}
}

// A body flows through while the response flows back.
func TestDuplex(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) {
		x.Begin(200, nil)
		x.EndHead(-1)
		for {
			p, err := x.Body.Next()
			if err != nil {
				break
			}
			x.Write(p)
			x.Flush()
		}
		x.Finish(nil)
	})
	c := s.dial(t)
	c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
	resp, err := http.ReadResponse(c.r, &http.Request{Method: "POST"})
	if err != nil {
		t.Fatal(err)
	}
	for _, next := range []string{"two", "six", ""} {
		got := make([]byte, 3)
		if _, err := io.ReadFull(resp.Body, got); err != nil {
			t.Fatal(err)
		}
		c.sendf("%x\r\n%s\r\n", len(next), next)
	}
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestWholeBodyIsNotConsumed(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) {
		whole, ok := x.Body.Whole()
		again, _ := x.Body.Whole()
		if !ok || !bytes.Equal(whole, again) {
			x.Abort()
			return
		}
		kept := bytes.Clone(whole)
		read, err := readBody(x)
		if err != nil || !bytes.Equal(read, kept) {
			x.Abort()
			return
		}
		x.Begin(200, nil)
		x.Respond(kept)
	})
	c := s.dial(t)
	for range 2 {
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
		if _, body := c.response("POST"); body != "hello" {
			t.Errorf("%q", body)
		}
	}
}
