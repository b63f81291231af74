package e2e_test

import (
	"strings"
	"syscall"
	"testing"
)

// A burst of equal requests to `sluice proxy` costs one call, and a POST passes at once.
func TestProxyCommand(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t)
	g := startGateway(t, "proxy", "--upstream", origin, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
		"--policy", "timer", "--batch-timeout", "1m", "--max-batch-size", "8")
	do(t, "POST", g.url+"/api/resource", "body").expect(t, 200, `"method":"POST","counter":1`)
	for _, r := range ask(t, "GET", g.url+"/api/resource", alike(8)) {
		r.expect(t, 200, `"method":"GET","counter":2`)
	}
	if n := originServed(t, origin); n != 2 {
		t.Errorf("%d calls, expected one for the POST and one for 8 GETs", n)
	}
	g.signal(syscall.SIGTERM)
	if code := g.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Answers are kept only with --cache-ttl, and only those that say for how long.
func TestProxyCommandKeeps(t *testing.T) {
	t.Parallel()
	for ttl, calls := range map[string]int64{"": 4, "0": 4, "1h": 3} {
		_, origin := startOrigin(t)
		args := []string{"proxy", "--upstream", origin, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--batch-timeout", "1ms"}
		if ttl != "" {
			args = append(args, "--cache-ttl", ttl)
		}
		g := startGateway(t, args...)
		for range 2 {
			get(t, g.url+"/kept?cache=max-age=3600").expect(t, 200, "/kept")
			get(t, g.url+"/plain").expect(t, 200, "/plain")
		}
		if n := originServed(t, origin); n != calls {
			t.Errorf("--cache-ttl %q: %d calls, expected %d", ttl, n, calls)
		}
	}
}

// What the flags say wrongly is told by their names.
func TestProxyCommandRefusesToStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ flag, value string }{
		{"--upstream", "127.0.0.1:9090"}, {"--policy", "psychic"}, {"--policy", "remote"}, {"--agent", "127.0.0.1:50051"}, {"--agent-timeout", "1m"}, {"--freshness", "stale"}, {"--batch-timeout", "soon"},
		{"--batch-timeout", "-1s"}, {"--max-batch-size", "0"}, {"--cache-ttl", "-1s"}, {"--max-connections", "none"},
	} {
		args := []string{"proxy", c.flag, c.value}
		if c.flag != "--upstream" {
			args = append(args, "--upstream", "http://127.0.0.1:1")
		}
		p := start(t, args...)
		if code := p.wait(); code != 2 || !strings.Contains(p.stderr.String(), c.flag) {
			t.Errorf("%s %s: exit code %d with %q", c.flag, c.value, code, p.stderr.String())
		}
	}
}
