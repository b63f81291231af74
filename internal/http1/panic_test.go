package http1_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

func TestPanic(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) {
		if string(x.Path) == "/p" {
			panic("a test")
		}
		echo(x)
	})
	for _, body := range []string{"", "Content-Length: 5\r\n\r\nhello", "Content-Length: 500\r\n\r\nhello"} {
		c := s.dial(t)
		if body == "" {
			body = "\r\n"
		}
		c.send("POST /p HTTP/1.1\r\nHost: h\r\n" + body)
		c.expectRefusal(500)
	}
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if resp, _ := c.response("GET"); resp.StatusCode != 200 {
		t.Errorf("after a panic: %s", resp.Status)
	}
	if n := s.Stats().Panics; n != 3 {
		t.Errorf("%d panics counted, want 3", n)
	}
}

// A handler that panics when its response has begun sees the request again, as one to refuse, and nothing of that reaches the client.
func TestPanicWithinResponse(t *testing.T) {
	seen := make(chan string, 10)
	s := serveAll(t, limits(), func(x *http1.Exchange) {
		if x.Refusal != nil {
			seen <- fmt.Sprint(x.Refusal.Status, " ", string(x.Path), " ", x.Begun(), " ", x.Status())
			x.Begin(500, nil)
			x.Write(make([]byte, 64<<10))
			x.Respond([]byte("refused"))
			return
		}
		x.Begin(200, nil)
		x.EndHead(10)
		x.Write([]byte("hello"))
		if string(x.Path) == "/flushed" {
			x.Flush()
		}
		panic("a test")
	})
	for _, path := range []string{"/flushed", "/held"} {
		c := s.dial(t)
		c.sendf("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
		if rest, err := io.ReadAll(c.r); err == nil || strings.Contains(string(rest), "500") {
			t.Errorf("the client got %q, %v", rest, err)
		}
		if got, want := receive(t, seen), "500 "+path+" false 0"; got != want {
			t.Errorf("saw %s, want %s", got, want)
		}
	}
	if n := s.Stats().Panics; n != 2 {
		t.Errorf("%d panics counted, want 2", n)
	}
}

// The request's body may still be read by the goroutine that the handler has left behind.
func TestPanicWithSharedBody(t *testing.T) {
	seen, left := make(chan int, 1), make(chan error, 1)
	s := serveAll(t, limits(), func(x *http1.Exchange) {
		if x.Refusal != nil {
			seen <- x.Refusal.Status
			x.Begin(500, nil)
			x.Respond(nil)
			return
		}
		x.ShareBody()
		go func() {
			for {
				if _, err := x.Body.Next(); err != nil {
					left <- err
					return
				}
			}
		}()
		panic("a test")
	})
	c := s.dial(t)
	c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nhello")
	c.expectBroken()
	if status := receive(t, seen); status != 500 {
		t.Errorf("refused with %d", status)
	}
	if err := receive(t, left); err == nil || err == io.EOF {
		t.Errorf("the body ended with %v", err)
	}
}

// receive takes a value from ch, or fails the test.
func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}
