package upstream_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/upstream"
)

// head is the head of a request of the gateway's own.
func head(method string) *http1.Request {
	r := &http1.Request{Method: []byte(method), Target: []byte("/own"), Path: []byte("/own"), Host: []byte("h")}
	r.Minor = 1
	return r
}

func newPool(t *testing.T, u *url.URL) *upstream.Pool {
	cfg := settings()
	cfg.Targets = []*url.URL{u}
	p := upstream.New(cfg, slog.New(slog.DiscardHandler))
	t.Cleanup(p.Close)
	return p
}

func TestOwnRequest(t *testing.T) {
	got := make(chan string, 1)
	addr := target(t, func(w *wire) {
		r, err := http.ReadRequest(w.r)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(r.Body)
		got <- r.Method + " " + r.URL.Path + " " + string(body)
		w.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	p := newPool(t, &url.URL{Scheme: "http", Host: addr})
	call, failure := p.Do(upstream.Own(t.Context(), head("POST"), []byte("hello")), &upstream.Hop{RequestID: []byte("id")})
	if failure != nil {
		t.Fatal(failure)
	}
	body, err := call.Body().Next()
	if string(body) != "ok" || err != nil {
		t.Errorf("the body is %q, %v", body, err)
	}
	call.Close()
	if r := <-got; r != "POST /own hello" {
		t.Errorf("the target got %q", r)
	}
}

// A request of the gateway's own ends with its context, whatever it waits for.
func TestOwnRequestEnds(t *testing.T) {
	for name, scheme := range map[string]string{"waiting for an answer": "http", "connecting": "https"} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			addr := target(t, func(w *wire) {
				w.r.ReadByte() // of the request, or of the handshake
				cancel()
				io.Copy(io.Discard, w)
			})
			p := newPool(t, &url.URL{Scheme: scheme, Host: addr})
			_, failure := p.Do(upstream.Own(ctx, head("GET"), nil), &upstream.Hop{})
			if failure == nil || failure.Kind != upstream.ClientGone {
				t.Errorf("the call ended with %v, expected that it was given up", failure)
			}
		})
	}
}

// What becomes of a request's context after its call is no concern of the connection, which serves the next call.
func TestOwnRequestEndsLate(t *testing.T) {
	addr := target(t, func(w *wire) {
		for {
			if _, err := http.ReadRequest(w.r); err != nil {
				return
			}
			w.send("HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	p := newPool(t, &url.URL{Scheme: "http", Host: addr})
	for range 1000 {
		ctx, cancel := context.WithCancel(t.Context())
		call, failure := p.Do(upstream.Own(ctx, head("GET"), nil), &upstream.Hop{})
		if failure != nil {
			t.Fatal(failure) // the connection was aborted for the one before
		}
		cancel() // which is told in a goroutine: before the call ends, or after it
		call.Close()
	}
}

// A body that is streamed arrives whole, and one that ends early, fails or is slow never looks whole.
func TestOwnStream(t *testing.T) {
	got := make(chan string, 1)
	addr := target(t, func(w *wire) {
		r, err := http.ReadRequest(w.r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			got <- err.Error()
			return
		}
		got <- string(body)
		w.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	p := newPool(t, &url.URL{Scheme: "http", Host: addr})
	long := strings.Repeat("0123456789abcdef", 20_000)
	do := func(ctx context.Context, r io.Reader, stop func()) (*upstream.Call, *upstream.Error) {
		return p.Do(upstream.OwnStream(ctx, head("POST"), r, int64(len(long)), stop), &upstream.Hop{RequestID: []byte("id")})
	}
	call, failure := do(t.Context(), strings.NewReader(long), func() {})
	if failure != nil {
		t.Fatal(failure)
	}
	call.Close()
	if body := <-got; body != long {
		t.Errorf("the target got %d bytes, want %d", len(body), len(long))
	}
	for name, r := range map[string]io.Reader{
		"short": strings.NewReader(long[1:]), "broken": io.MultiReader(strings.NewReader(long[1:]), iotest.ErrReader(io.ErrClosedPipe)),
	} {
		if call, failure := do(t.Context(), r, func() {}); failure == nil || failure.Kind != upstream.ClientBody {
			t.Errorf("%s: %v, %v, want a failure of the body", name, call, failure)
		}
		if body := <-got; body != io.ErrUnexpectedEOF.Error() {
			t.Errorf("%s: the target got %.30q, want an unexpected end", name, body)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting, feed := io.Pipe()
	go func() {
		feed.Write([]byte(long[:100]))
		cancel()
	}()
	if call, failure := do(ctx, waiting, func() { waiting.CloseWithError(io.ErrClosedPipe) }); failure == nil {
		t.Errorf("a body that never comes: %v", call)
	}
	<-got
}

// A request can have more time than the upstream gives to others, or less.
func TestOwnTime(t *testing.T) {
	answer := make(chan bool)
	addr := target(t, func(w *wire) {
		if _, err := http.ReadRequest(w.r); err == nil && <-answer {
			w.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	cfg := settings()
	cfg.Targets = []*url.URL{{Scheme: "http", Host: addr}}
	cfg.Timeouts.Header, cfg.Timeouts.Total, cfg.Retries.Max = 50*time.Millisecond, 50*time.Millisecond, 0
	p := upstream.New(cfg, slog.New(slog.DiscardHandler))
	t.Cleanup(p.Close)
	hop := &upstream.Hop{RequestID: []byte("id")}
	patient := upstream.Own(t.Context(), head("POST"), []byte("hello"))
	patient.Within = time.Minute
	time.AfterFunc(200*time.Millisecond, func() { answer <- true })
	call, failure := p.Do(patient, hop)
	if failure != nil {
		t.Fatal(failure)
	}
	call.Close()
	hasty := upstream.Own(t.Context(), head("POST"), []byte("hello"))
	hasty.Within = time.Millisecond
	if _, failure := p.Do(hasty, hop); failure == nil || failure.Kind != upstream.TotalTimeout {
		t.Errorf("%v, want that the time is over", failure)
	}
	close(answer)
}
