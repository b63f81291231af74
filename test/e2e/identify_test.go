package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// keysFile is a file of API keys; an owner's key is "key-of-" and the name.
func keysFile(owners ...string) string {
	text := "keys:\n"
	for _, name := range owners {
		text += fmt.Sprintf("  - {name: %s, sha256: %s}\n", name, sum("key-of-"+name))
	}
	return text
}

// clientOf returns who the access log says the request with the id came from.
func (g *gateway) clientOf(id string) string {
	g.t.Helper()
	client := ""
	await(g.t, "an access log line for "+id, func() bool {
		for _, line := range g.logged("request") {
			if line["request_id"] == id {
				client, _ = line["client"].(string)
				return true
			}
		}
		return false
	})
	return client
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "keys.yaml"), keysFile("alice", "bob"))
	path := filepath.Join(dir, "sluice.yaml")
	writeFile(t, path, listeners+`
log: {access: true}
identify:
  trusted_proxies: [127.0.0.0/8]
  sources:
    - api_key: {header: X-Api-Key, file: keys.yaml}
    - header: X-User
    - query: userId
    - address: {ipv6_prefix: 64}
`+inFront([]string{serveHTTP(t, echo)}))
	g := startGateway(t, "serve", "-c", path)
	for i, c := range []struct {
		name, target, want string
		fields             []string
	}{
		{"a key", "/", "alice", []string{"X-Api-Key", "key-of-alice", "X-User", "mallory"}},
		{"another key", "/?userId=mallory", "bob", []string{"X-Api-Key", "key-of-bob"}},
		{"an unknown key", "/", "carol", []string{"X-Api-Key", "nonsense", "X-User", "carol"}},
		{"a name for a key", "/", "127.0.0.1", []string{"X-Api-Key", "alice"}},
		{"a header", "/?userId=mallory", "dave", []string{"X-User", "dave"}},
		{"a parameter", "/?a=b&userId=erin%20%2B%201&userId=mallory", "erin + 1", nil},
		{"a header too long", "/?userId=frank", "frank", []string{"X-User", strings.Repeat("x", 257)}},
		{"the peer", "/", "127.0.0.1", nil},
		{"behind proxies", "/", "198.51.100.9", []string{"X-Forwarded-For", "203.0.113.1, 198.51.100.9, 127.0.0.7"}},
		{"IPv6", "/", "2001:db8:1:2::/64", []string{"X-Forwarded-For", "2001:db8:1:2:3:4:5:6"}},
		{"IPv6, the same network", "/", "2001:db8:1:2::/64", []string{"X-Forwarded-For", "[2001:db8:1:2:ffff::1]:443"}},
	} {
		id := fmt.Sprint("identify-", i)
		get(t, g.url+c.target, append(c.fields, "X-Request-Id", id)...).expect(t, 200, "GET ")
		if got := g.clientOf(id); got != c.want {
			t.Errorf("%s: the client is called %q, expected %q", c.name, got, c.want)
		}
	}
	if n := g.metric("sluice_client_requests_total", "client", "alice"); n != 1 {
		t.Errorf("/metrics counts %v requests of alice, expected 1", n)
	}
	if n := g.metric("sluice_client_requests_total", "client", "2001:db8:1:2::/64"); n != 2 {
		t.Errorf("/metrics counts %v requests of the IPv6 network, expected 2", n)
	}
	if strings.Contains(g.stderr.String(), "key-of-") {
		t.Error("an API key is in the log")
	}
}

// What a stranger says about where a request comes from is not believed.
func TestStrangersCannotChooseTheirAddress(t *testing.T) {
	t.Parallel()
	g := serve(t, "log: {access: true}\n"+inFront([]string{serveHTTP(t, echo)}))
	get(t, g.url, "X-Forwarded-For", "198.51.100.9", "X-Request-Id", "stranger").expect(t, 200, "GET ")
	if got := g.clientOf("stranger"); got != "127.0.0.1" {
		t.Errorf("the client is called %q", got)
	}
}

// Only the first max_names names are told apart.
func TestMaxNames(t *testing.T) {
	t.Parallel()
	g := serve(t, "log: {access: true}\nidentify: {max_names: 3, sources: [{header: X-User}]}\n"+inFront([]string{serveHTTP(t, echo)}))
	for round := range 2 {
		for i := range 10 {
			id := fmt.Sprintf("round-%d-%d", round, i)
			get(t, g.url, "X-User", fmt.Sprint("user-", i), "X-Request-Id", id).expect(t, 200, "GET ")
			want := fmt.Sprint("user-", i)
			if i >= 3 {
				want = "other"
			}
			if got := g.clientOf(id); got != want {
				t.Errorf("the log calls user-%d %q, expected %q", i, got, want)
			}
		}
	}
	counts := make(map[string]float64)
	for _, m := range g.metrics()["sluice_client_requests_total"].GetMetric() {
		counts[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
	}
	if want := "map[other:14 user-0:2 user-1:2 user-2:2]"; fmt.Sprint(counts) != want {
		t.Errorf("requests by client: %v, expected %s", counts, want)
	}
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	origin := serveHTTP(t, echo)
	g := serve(t, "log: {access: true}\n"+inFront([]string{origin}))
	body := do(t, "PUT", g.url+"/a?b=c", "hello", "X-Request-Id", "logged").body
	g.clientOf("logged")
	line := g.logged("request")[0]
	for key, want := range map[string]any{
		"client": "127.0.0.1", "address": "127.0.0.1", "method": "PUT", "target": "/a?b=c", "route": "/*",
		"upstream": strings.TrimPrefix(origin, "http://"), "status": 200.0, "bytes": float64(len(body)),
	} {
		if line[key] != want {
			t.Errorf("%s is %v in the access log, expected %v", key, line[key], want)
		}
	}
	quiet := serve(t, inFront([]string{origin}))
	get(t, quiet.url).expect(t, 200, "GET ")
	quiet.cleanup() // its output is complete
	if n := len(quiet.logged("request")); n != 0 {
		t.Errorf("%d access log lines without log.access", n)
	}
}
