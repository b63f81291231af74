package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// What the two sides send after 101 passes both ways, from its first byte, and each side sees the other's end.
func TestTunnel(t *testing.T) {
	echo := target(t, func(nc net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil || req.Header.Get("Upgrade") != "websocket" {
			return
		}
		io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX: y\r\n\r\nhello ")
		io.Copy(nc, r)
		nc.(*net.TCPConn).CloseWrite()
	})
	g := start(t, parse(t, "upstreams:\n\tn: {targets: [\"http://%s\"]}\nroutes:\n\t- {path: /*, upstream: n}\n", echo))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			nc, err := net.Dial("tcp", g.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(patience))
			want := strings.Repeat(fmt.Sprintf("client %d ", i), 20_000)
			go func() {
				io.WriteString(nc, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+want)
				nc.(*net.TCPConn).CloseWrite()
			}()
			r := bufio.NewReader(nc)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("X") != "y" {
				t.Errorf("%v, %v", resp, err)
				return
			}
			if got, err := io.ReadAll(r); err != nil || string(got) != "hello "+want {
				t.Errorf("client %d: %d bytes came back, %v, want %d", i, len(got), err, len("hello "+want))
			}
		})
	}
	all.Wait()
}

// A target that ends the tunnel ends it for the client, although the client would go on.
func TestTunnelEndsWithItsTarget(t *testing.T) {
	addr := target(t, func(nc net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		nc.(*net.TCPConn).SetLinger(0)
	})
	g := start(t, parse(t, "upstreams:\n\tn: {targets: [\"http://%s\"]}\nroutes:\n\t- {path: /*, upstream: n}\n", addr))
	nc, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	io.WriteString(nc, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if _, err := io.Copy(io.Discard, nc); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Error("the client waits on after the target has gone")
	}
}
