package identify_test

import (
	"crypto/sha256"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/identify"
)

// withRequest calls do with the request that a server reads from raw.
func withRequest(t *testing.T, raw string, do func(r *http1.Request)) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limits := http1.Limits{MaxConns: 1, MaxHeader: 16 << 10, MaxURI: 8 << 10, HeaderTimeout: 1e10, IdleTimeout: 1e10, BodyTimeout: 1e10, WriteTimeout: 1e10}
	called := false
	s := http1.NewServer(limits, slog.New(slog.DiscardHandler), func(x *http1.Exchange) {
		if x.Refusal == nil {
			called = true
			do(&x.Request)
		}
		x.CloseAfter()
		x.Begin(204, nil)
		x.Respond(nil)
	})
	served := make(chan struct{})
	go func() { defer close(served); s.Serve(ln) }()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, raw)
	io.Copy(io.Discard, nc)
	s.Shutdown(t.Context())
	<-served
	if !called {
		t.Fatalf("the request was refused: %q", raw)
	}
}

func request(target string, fields ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: h\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n"
}

func prefixes(list ...string) (p []netip.Prefix) {
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

var (
	keySource = config.Source{APIKey: &config.APIKeySource{Header: "X-Api-Key", Keys: []config.Key{
		{Name: "alice", SHA256: config.Hash(sha256.Sum256([]byte("sesame"))), Price: 7},
		{Name: "bob", SHA256: config.Hash(sha256.Sum256([]byte("other"))), Price: 3},
	}}}
	headerSource  = config.Source{Header: "X-Client"}
	querySource   = config.Source{Query: "client"}
	addressSource = config.Source{Address: &config.AddressSource{IPv6Prefix: 64}}
)

func TestSources(t *testing.T) {
	all := []config.Source{keySource, headerSource, querySource, addressSource}
	long := strings.Repeat("x", identify.MaxName)
	tests := []struct {
		name, raw string
		sources   []config.Source
		want      string
		price     int64
	}{
		{"key", request("/?client=c", "x-api-KEY: sesame", "X-Client: b"), all, "alice", 7},
		{"other key", request("/", "X-Api-Key:other"), all, "bob", 3},
		{"unknown key", request("/?client=c", "X-Api-Key: nonsense", "X-Client: b"), all, "b", 0},
		{"empty key", request("/", "X-Api-Key:"), all, "192.0.2.1", 0},
		{"key in another case", request("/", "X-Api-Key: SESAME"), all, "192.0.2.1", 0},
		{"hash for a key", request("/", "X-Api-Key: d8ac8ae6b7ba4ea1d2e9a9bf6d56c6a1"), all, "192.0.2.1", 0},
		{"second key field does not count", request("/", "X-Api-Key: nonsense", "X-Api-Key: sesame"), all, "192.0.2.1", 0},
		{"header", request("/?client=c", "X-Client: b"), all, "b", 0},
		{"empty header", request("/?client=c", "X-Client:"), all, "c", 0},
		{"longest header", request("/", "X-Client: "+long), all, long, 0},
		{"header too long", request("/", "X-Client: "+long+"x"), all, "192.0.2.1", 0},
		{"query", request("/?a=b&client=c&client=d"), all, "c", 0},
		{"query decoded", request("/?%63lient=a%20b+c"), all, "a b c", 0},
		{"query with a control character", request("/?client=a%0ab"), all, "192.0.2.1", 0},
		{"query with NUL", request("/?client=%00"), all, "192.0.2.1", 0},
		{"query wrongly escaped", request("/?client=%zz"), all, "192.0.2.1", 0},
		{"query empty", request("/?client="), all, "192.0.2.1", 0},
		{"query without value", request("/?client"), all, "192.0.2.1", 0},
		{"query too long", request("/?client=" + long + "x"), all, "192.0.2.1", 0},
		{"no query", request("/client=c"), all, "192.0.2.1", 0},
		{"order: query first", request("/?client=c", "X-Client: b", "X-Api-Key: sesame"), []config.Source{querySource, headerSource, keySource}, "c", 0},
		{"order: header before key", request("/", "X-Client: b", "X-Api-Key: sesame"), []config.Source{headerSource, keySource}, "b", 0},
		{"no address source", request("/"), []config.Source{headerSource}, "192.0.2.1", 0},
		{"no source at all", request("/"), nil, "192.0.2.1", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := identify.New(&config.Identify{Sources: tt.sources})
			withRequest(t, tt.raw, func(r *http1.Request) {
				c := identify.Client{Name: []byte("the client before"), Price: 99}
				id.Identify(&c, r, netip.MustParseAddr("192.0.2.1"))
				if string(c.Name) != tt.want || c.Price != tt.price {
					t.Errorf("%q at %d, want %q at %d", c.Name, c.Price, tt.want, tt.price)
				}
			})
		})
	}
}

func TestAddresses(t *testing.T) {
	trusted := prefixes("10.0.0.0/8", "2001:db8:ffff::/48")
	const proxy = "10.0.0.1"
	tests := []struct {
		name, peer string
		fields     []string
		want       string // the address
		known      string // the name
		trusted    bool
	}{
		{"direct", "192.0.2.1", nil, "192.0.2.1", "192.0.2.1", false},
		{"direct and lying", "192.0.2.1", []string{"X-Forwarded-For: 9.9.9.9"}, "192.0.2.1", "192.0.2.1", false},
		{"proxy that says nothing", proxy, nil, proxy, proxy, true},
		{"one proxy", proxy, []string{"X-Forwarded-For: 192.0.2.1"}, "192.0.2.1", "192.0.2.1", true},
		{"spoofed behind a proxy", proxy, []string{"X-Forwarded-For: 9.9.9.9, 192.0.2.1"}, "192.0.2.1", "192.0.2.1", true},
		{"spoofed with a trusted address", proxy, []string{"X-Forwarded-For: 10.1.1.1, 192.0.2.1"}, "192.0.2.1", "192.0.2.1", true},
		{"two proxies", proxy, []string{"x-forwarded-for: 9.9.9.9 ,192.0.2.1\t, 10.2.2.2"}, "192.0.2.1", "192.0.2.1", true},
		{"two fields", proxy, []string{"X-Forwarded-For: 9.9.9.9, 192.0.2.1", "X-Forwarded-For: 10.2.2.2"}, "192.0.2.1", "192.0.2.1", true},
		{"three fields, one empty", proxy, []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-For:", "X-Forwarded-For: 10.2.2.2"}, "192.0.2.1", "192.0.2.1", true},
		{"all trusted", proxy, []string{"X-Forwarded-For: 10.3.3.3, 10.2.2.2"}, "10.3.3.3", "10.3.3.3", true},
		{"garbage at the end", proxy, []string{"X-Forwarded-For: 192.0.2.1, nonsense"}, proxy, proxy, true},
		{"garbage before a trusted one", proxy, []string{"X-Forwarded-For: 192.0.2.1, unknown, 10.2.2.2"}, "10.2.2.2", "10.2.2.2", true},
		{"empty element", proxy, []string{"X-Forwarded-For: 192.0.2.1,"}, proxy, proxy, true},
		{"only commas", proxy, []string{"X-Forwarded-For: ,,,"}, proxy, proxy, true},
		{"very long element", proxy, []string{"X-Forwarded-For: " + strings.Repeat("1", 5000)}, proxy, proxy, true},
		{"with a port", proxy, []string{"X-Forwarded-For: 192.0.2.1:4711"}, "192.0.2.1", "192.0.2.1", true},
		{"IPv6 in brackets with a port", proxy, []string{"X-Forwarded-For: [2001:db8::1]:4711"}, "2001:db8::1", "2001:db8::/64", true},
		{"IPv6 in brackets", proxy, []string{"X-Forwarded-For: [2001:db8::1]"}, "2001:db8::1", "2001:db8::/64", true},
		{"mapped IPv4", proxy, []string{"X-Forwarded-For: ::ffff:192.0.2.1"}, "192.0.2.1", "192.0.2.1", true},
		{"mapped trusted IPv4", proxy, []string{"X-Forwarded-For: 192.0.2.1, ::ffff:10.2.2.2"}, "192.0.2.1", "192.0.2.1", true},
		{"with a zone", proxy, []string{"X-Forwarded-For: fe80::1%eth0"}, "fe80::1", "fe80::/64", true},
		{"octal", proxy, []string{"X-Forwarded-For: 0192.0.2.1"}, proxy, proxy, true},
		{"IPv6 peer", "2001:db8:1:2:3:4:5:6", nil, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", false},
		{"IPv6 proxy", "2001:db8:ffff::1", []string{"X-Forwarded-For: 2001:db8:5:6:7::8"}, "2001:db8:5:6:7::8", "2001:db8:5:6::/64", true},
		{"named by Connection", proxy, []string{"X-Forwarded-For: 192.0.2.1", "Connection: X-Forwarded-For"}, "192.0.2.1", "192.0.2.1", true},
	}
	id := identify.New(&config.Identify{TrustedProxies: trusted, Sources: []config.Source{addressSource}})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			withRequest(t, request("/", tt.fields...), func(r *http1.Request) {
				var c identify.Client
				id.Identify(&c, r, netip.MustParseAddr(tt.peer))
				if c.Addr.String() != tt.want || string(c.Name) != tt.known || c.Trusted != tt.trusted {
					t.Errorf("%v named %q, trusted %v; want %v, %q, %v", c.Addr, c.Name, c.Trusted, tt.want, tt.known, tt.trusted)
				}
			})
		})
	}
}

func TestPrefixAndUnknown(t *testing.T) {
	withRequest(t, request("/"), func(r *http1.Request) {
		for bits, want := range map[int]string{128: "2001:db8::1/128", 56: "2001:db8::/56", 1: "::/1"} {
			id := identify.New(&config.Identify{Sources: []config.Source{{Address: &config.AddressSource{IPv6Prefix: bits}}}})
			var c identify.Client
			id.Identify(&c, r, netip.MustParseAddr("2001:db8::1"))
			if string(c.Name) != want {
				t.Errorf("/%d: %q, want %q", bits, c.Name, want)
			}
		}
		var c identify.Client
		identify.New(&config.Identify{}).Identify(&c, r, netip.Addr{})
		if string(c.Name) != "unknown" {
			t.Errorf("no address: %q", c.Name)
		}
	})
}

func TestNoAllocations(t *testing.T) {
	id := identify.New(&config.Identify{TrustedProxies: prefixes("10.0.0.0/8"), Sources: []config.Source{keySource, headerSource, querySource, addressSource}})
	for name, tt := range map[string]struct {
		raw, peer string
		most      float64
	}{
		"key":     {request("/", "X-Api-Key: sesame"), "192.0.2.1", 0},
		"header":  {request("/", "X-Client: b"), "192.0.2.1", 0},
		"query":   {request("/?a=b&client=c"), "192.0.2.1", 0},
		"address": {request("/"), "192.0.2.1", 0},
		"IPv6":    {request("/"), "2001:db8::1", 0},
		"proxy":   {request("/", "X-Forwarded-For: 9.9.9.9, 192.0.2.1"), "10.0.0.1", 1}, // netip parses strings
	} {
		withRequest(t, tt.raw, func(r *http1.Request) {
			peer := netip.MustParseAddr(tt.peer)
			var c identify.Client
			if n := testing.AllocsPerRun(100, func() { id.Identify(&c, r, peer) }); n > tt.most {
				t.Errorf("%s: %v allocations", name, n)
			}
		})
	}
}
