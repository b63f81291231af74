package upstream_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/upstream"
)

// After 101, the new protocol begins behind the request's body, which is sent once, however it arrives.
func TestUpgradeBehindBody(t *testing.T) {
	for _, tt := range []struct{ name, first, later, want string }{
		{"no body", "\r\n", "hello", "hello"},
		{"no body, and more with the head", "\r\nhel", "lo", "hello"},
		{"body with the head", "Content-Length: 4\r\n\r\nbody", "hello", "bodyhello"},
		{"body and more with the head", "Content-Length: 4\r\n\r\nbodyhel", "lo", "bodyhello"},
		{"body later", "Content-Length: 4\r\n\r\nbo", "dyhello", "bodyhello"},
		{"chunked body", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", "hello", "4\r\nbody\r\n0\r\n\r\nhello"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan string, 1)
			pool := upstream.New(settings(target(t, func(w *wire) {
				w.head()
				body := make([]byte, strings.Index(tt.want, "hello"))
				io.ReadFull(w.r, body)
				w.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nwelcome")
				rest, _ := io.ReadAll(w.r)
				got <- string(body) + string(rest)
			})), slog.New(slog.DiscardHandler))
			defer pool.Close()
			addr := tunnels(t, pool)
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			c := newWire(nc)
			defer c.Close()
			c.send("POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n%s", tt.first)
			if strings.HasPrefix(tt.later, "dy") {
				c.send("dy")
			}
			if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
				t.Fatalf("%q", head)
			}
			c.send("%s", strings.TrimPrefix(tt.later, "dy"))
			c.CloseWrite()
			if s := <-got; s != tt.want {
				t.Errorf("the target got %q, want %q", s, tt.want)
			}
			if rest, _ := io.ReadAll(c.r); string(rest) != "welcome" {
				t.Errorf("the client got %q, want welcome", rest)
			}
		})
	}
}

// tunnels is a server that passes what a client sends after an upgrade to the target, and what the target has sent
// already to the client.
func tunnels(t *testing.T, pool *upstream.Pool) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limits := http1.Limits{
		MaxConns: 10, MaxHeader: 16 << 10, MaxURI: 8 << 10,
		HeaderTimeout: patience, IdleTimeout: patience, BodyTimeout: patience, WriteTimeout: patience,
	}
	s := http1.NewServer(limits, slog.New(slog.DiscardHandler), func(x *http1.Exchange) {
		call, failure := pool.Do(of(x), &upstream.Hop{RequestID: []byte("id")})
		if failure != nil {
			t.Error(failure)
			return
		}
		defer call.Close()
		x.Begin(101, nil)
		client, early, err := x.SwitchProtocols()
		if err != nil {
			t.Error(err)
		}
		nc, first := call.Tunnel()
		nc.Write(early)
		client.Write(first)
		io.Copy(nc, client)
		nc.(*net.TCPConn).CloseWrite()
		io.Copy(client, nc)
	})
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() { s.Shutdown(context.Background()); <-served })
	return ln.Addr().String()
}
