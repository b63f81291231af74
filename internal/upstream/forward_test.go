package upstream_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/config"
)

// What a target gets of a head, byte for byte.
func TestForwardedHead(t *testing.T) {
	heads := make(chan string, 1)
	addr := target(t, func(w *wire) {
		if head := w.head(); head != "" {
			heads <- head
			w.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		}
	})
	const added = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nVia: 1.1 sluice\r\nX-Request-Id: id\r\n\r\n"
	tests := []struct {
		name, request, want string
		trusted             bool
		host                config.HostMode
	}{
		{name: "as it came", request: "GET /a%2fb?c=%zz HTTP/1.1\r\nhOsT:h\r\nx-B: 2\r\nX-A:  1 \r\nX-b: \t3\r\nX-Empty:\r\nX-Bytes: \xff\xe9 a  b\tc\r\n\r\n",
			want: "GET /a%2fb?c=%zz HTTP/1.1\r\nhOsT: h\r\nx-B: 2\r\nX-A: 1\r\nX-b: 3\r\nX-Empty: \r\nX-Bytes: \xff\xe9 a  b\tc\r\n" + added},
		{name: "for one hop", request: "GET / HTTP/1.1\r\nConnection: keep-alive\r\nKeep-Alive: 1\r\nHost: h\r\nTE: trailers\r\nProxy-Connection: a\r\n" +
			"Proxy-Authorization: b\r\nProxy-Authenticate: c\r\nUpgrade: websocket\r\nExpect: 100-continue\r\nX: y\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n" + added},
		{name: "named by Connection", request: "GET / HTTP/1.1\r\nHost: h\r\nx-one: 1\r\nX-Two: 2\r\nConnection: X-ONE\r\nX-Three: 3\r\nX-One: 4\r\nconnection: close, , x-three\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: h\r\nX-Two: 2\r\n" + added},
		{name: "named in vain", request: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTrailer: T\r\nConnection: host, content-length, trailer, transfer-encoding, connection\r\n\r\nx",
			want: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTrailer: T\r\n" + added},
		{name: "chunked", request: "POST / HTTP/1.1\r\nHost: h\r\ntransfer-encoding: CHUNKED\r\nX: y\r\n\r\n0\r\n\r\n",
			want: "POST / HTTP/1.1\r\nHost: h\r\nX: y\r\nTransfer-Encoding: chunked\r\n" + added},
		{name: "length as it came", request: "POST / HTTP/1.1\r\nHost: h\r\ncontent-LENGTH: 01\r\n\r\nx",
			want: "POST / HTTP/1.1\r\nHost: h\r\ncontent-LENGTH: 01\r\n" + added},
		{name: "spoofed", request: "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 9.9.9.9\r\nx-forwarded-proto: https\r\nX-FORWARDED-HOST: e\r\nx-request-id: theirs\r\nVia: 1.1 a\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: h\r\nVia: 1.1 a\r\n" + added},
		{name: "by a trusted proxy", trusted: true,
			request: "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 9.9.9.9, 8.8.8.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For:\r\nX-Forwarded-For: 7.7.7.7\r\nX-Forwarded-Host: e\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: e\r\n" +
				"X-Forwarded-For: 9.9.9.9, 8.8.8.8, 7.7.7.7, 192.0.2.1\r\nVia: 1.1 sluice\r\nX-Request-Id: id\r\n\r\n"},
		{name: "by a trusted proxy that says little", trusted: true, request: "GET / HTTP/1.1\r\nHost: h\r\n\r\n", want: "GET / HTTP/1.1\r\nHost: h\r\n" + added},
		{name: "upgrade", request: "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, UPGRADE\r\nupgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: k\r\nConnection: Upgrade\r\nupgrade: WebSocket\r\n" + added},
		{name: "upgrade to HTTP/2", request: "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", want: "GET / HTTP/1.1\r\nHost: h\r\n" + added},
		{name: "upgrade to HTTP/2 among others", request: "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket, H2C\r\n\r\n", want: "GET / HTTP/1.1\r\nHost: h\r\n" + added},
		{name: "upgrade to HTTP/2 in another line", request: "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n", want: "GET / HTTP/1.1\r\nHost: h\r\n" + added},
		{name: "upgrade to HTTP/2 before another", request: "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n\r\n", want: "GET / HTTP/1.1\r\nHost: h\r\n" + added},
		{name: "upgrade in HTTP/1.0", request: "GET / HTTP/1.0\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: h\r\n" + strings.Replace(added, "1.1", "1.0", 1)},
		{name: "absolute target", request: "GET http://h/p?q HTTP/1.1\r\nHost: other\r\n\r\n", want: "GET /p?q HTTP/1.1\r\nHost: h\r\n" + added},
		{name: "HTTP/1.0 without Host", request: "GET / HTTP/1.0\r\n\r\n",
			want: "GET / HTTP/1.1\r\nHost: " + addr + "\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nVia: 1.0 sluice\r\nX-Request-Id: id\r\n\r\n"},
		{name: "the target's Host", host: config.HostTarget, request: "GET / HTTP/1.1\r\nhost: h\r\n\r\n", want: "GET / HTTP/1.1\r\nhost: " + addr + "\r\n" + added},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := settings(addr)
			if tt.host != "" {
				cfg.Host = tt.host
			}
			f := newFront(t, cfg)
			f.hop.Trusted = tt.trusted
			if got := f.ask("%s", tt.request); got.status != 200 {
				t.Fatalf("%+v", got)
			}
			if got := <-heads; got != tt.want {
				t.Errorf("the target got\n%q, want\n%q", got, tt.want)
			}
		})
	}
}

func TestForwardedAddresses(t *testing.T) {
	heads := make(chan string, 1)
	addr := target(t, func(w *wire) { heads <- w.head(); w.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n") })
	for peer, want := range map[string]string{"2001:db8::1": "2001:db8::1", "fe80::1%eth0": "fe80::1", "": "unknown"} {
		f := newFront(t, settings(addr))
		f.hop.Peer, _ = netip.ParseAddr(peer)
		f.ask(get)
		if head := <-heads; !strings.Contains(head, "X-Forwarded-For: "+want+"\r\n") {
			t.Errorf("%s: %q", peer, head)
		}
	}
}

// A target without a port has its scheme's.
func TestTargetPorts(t *testing.T) {
	cfg := settings()
	for _, u := range []string{"http://127.0.0.1", "https://127.0.0.2", "http://[::1]", "http://127.0.0.3:81"} {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Targets = append(cfg.Targets, parsed)
	}
	f := newFront(t, cfg)
	for i, want := range []string{"127.0.0.1:80", "127.0.0.2:443", "[::1]:80", "127.0.0.3:81"} {
		if got := f.Status().Targets[i].Address; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
