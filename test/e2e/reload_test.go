package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// says is an origin that answers with its name and the path.
func says(t *testing.T, name string) string {
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", name, r.URL.Path) })
}

// reload asks for a reload over the admin API.
func (g *gateway) reload() reply {
	g.t.Helper()
	return do(g.t, "POST", g.admin+"/api/v1/reload", "")
}

func TestReloadByRequest(t *testing.T) {
	t.Parallel()
	a, b := says(t, "a"), says(t, "b")
	g := serve(t, inFront([]string{a}))
	c := dial(t, g.addr())
	c.ask("/x").expect(t, 200, "a /x")
	g.rewrite(inFront([]string{b}))
	c.ask("/x").expect(t, 200, "a /x") // a file that was not read yet changes nothing
	g.reload().expect(t, 200, "reloaded")
	c.ask("/x").expect(t, 200, "b /x") // on the connection that was open before
	g.rewrite(upstream([]string{a}) + "routes: [{path: /only/*, upstream: app}]\n")
	g.reload().expect(t, 200, "reloaded")
	c.ask("/x").expectProblem(t, 404, "no-route")
	c.ask("/only/x").expect(t, 200, "a /only/x")
	if n := g.metric("sluice_config_reloads_total", "result", "success"); n != 2 {
		t.Errorf("/metrics counts %v reloads, expected 2", n)
	}
}

func TestReloadBySignal(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{says(t, "a")}))
	c := dial(t, g.addr())
	c.ask("/x").expect(t, 200, "a /x")
	g.rewrite(inFront([]string{says(t, "b")}))
	g.signal(syscall.SIGHUP)
	await(t, "the log to report the reload", func() bool { return len(g.logged("configuration reloaded")) == 1 })
	c.ask("/x").expect(t, 200, "b /x")
}

// A signal that comes as soon as the gateway says that it serves is handled.
func TestSignalAtOnce(t *testing.T) {
	t.Parallel()
	origin := says(t, "a")
	for range 10 {
		g := serve(t, inFront([]string{origin}))
		g.signal(syscall.SIGHUP)
		await(t, "the log to report the reload", func() bool { return len(g.logged("configuration reloaded")) == 1 })
		g.signal(syscall.SIGTERM)
		if code := g.wait(); code != 0 {
			t.Fatalf("exit code %d", code)
		}
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	t.Parallel()
	good := inFront([]string{says(t, "a")})
	g := serve(t, good)
	c := dial(t, g.addr())
	c.ask("/x").expect(t, 200, "a /x")
	failures := 0
	refused := func(want string) {
		t.Helper()
		failures++
		r := g.reload()
		if r.StatusCode != 422 || !regexp.MustCompile(want).MatchString(r.body) {
			t.Errorf("got %s with %s, expected 422 with %s", r.Status, r.body, want)
		}
		var lines []map[string]any
		await(t, "the log to report the failure", func() bool {
			lines = g.logged("configuration not reloaded, the old one stays")
			return len(lines) >= failures
		})
		if len(lines) != failures || !regexp.MustCompile(want).MatchString(fmt.Sprint(lines[failures-1]["error"])) {
			t.Errorf("expected %s in the last line of %v", want, lines)
		}
		c.ask("/x").expect(t, 200, "a /x")
	}
	place := regexp.QuoteMeta(g.config) + ":"
	g.rewrite(good + "max_conections: 5\n")
	refused(place + `7:1: .*max_conections`)
	g.rewrite(strings.Replace(good, "upstream: app", "upstream: nobody", 1))
	refused(place + `6:\d+: .*nobody`)
	g.rewrite("upstreams: [\n")
	refused(place + `\d+:\d+: `)
	writeFile(t, g.config, strings.Replace(listeners, "127.0.0.1:0", "127.0.0.1:1", 1)+good)
	refused("listen has changed")
	writeFile(t, g.config, strings.Replace(listeners, "{listen: 127.0.0.1:0}", "{listen: 127.0.0.1:0, pprof: true}", 1)+good)
	refused("admin has changed")
	if err := os.Remove(g.config); err != nil {
		t.Fatal(err)
	}
	refused(place + " cannot read the file")

	g.signal(syscall.SIGHUP) // is refused, too, and does no harm
	await(t, "the log to report the failure", func() bool {
		return len(g.logged("configuration not reloaded, the old one stays")) == failures+1
	})
	c.ask("/x").expect(t, 200, "a /x")
	if n := g.metric("sluice_config_reloads_total", "result", "failure"); n != float64(failures+1) {
		t.Errorf("/metrics counts %v failed reloads, expected %d", n, failures+1)
	}
	g.rewrite(good)
	g.reload().expect(t, 200, "reloaded")
}

// A request keeps the configuration that it began with, and its upstream's connections, until it ends.
func TestReloadWithRequestsInFlight(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}, 1), make(chan struct{})
	slow := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first half, ")
		w.(http.Flusher).Flush()
		begun <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		io.WriteString(w, "second half")
	})
	g := serve(t, inFront([]string{slow}))
	c := dial(t, g.addr())
	c.send("GET /slow HTTP/1.1\r\nHost: e2e\r\n\r\n")
	receive(t, "the request at the origin", begun)
	g.rewrite(inFront([]string{says(t, "b")}))
	g.reload().expect(t, 200, "reloaded")
	get(t, g.url+"/x").expect(t, 200, "b /x")
	close(release)
	c.read("GET").expect(t, 200, "first half, second half")
	c.ask("/x").expect(t, 200, "b /x")
}

// Reloads under load fail no request and break no connection.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	configs := []string{inFront([]string{says(t, "a")}), inFront([]string{says(t, "b")}, "balance: round_robin")}
	g := serve(t, configs[0])
	var answered atomic.Int64
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for range 8 {
		c := dial(t, g.addr())
		workers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: e2e\r\n\r\n", i)
				resp, err := http.ReadResponse(c.br, nil)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				if want := fmt.Sprint(" /", i); err != nil || resp.StatusCode != 200 || !strings.HasSuffix(string(body), want) {
					t.Errorf("%s with %q, %v", resp.Status, body, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	for i := range 20 {
		before := answered.Load()
		await(t, "requests between two reloads", func() bool { return answered.Load() > before+50 || t.Failed() })
		g.rewrite(configs[(i+1)%2])
		g.reload().expect(t, 200, "reloaded")
	}
	close(stop)
	workers.Wait()
	if n := g.metric("sluice_connections_accepted_total"); n != 8 {
		t.Errorf("%v connections were accepted, expected the 8 that stayed open", n)
	}
}

// New limits and new keys take effect, too.
func TestReloadChangesLimitsAndKeys(t *testing.T) {
	t.Parallel()
	origin := serveHTTP(t, echo)
	identify := "log: {access: true}\nidentify: {sources: [{api_key: {header: X-Api-Key, file: keys.yaml}}, {address: {}}]}\n"
	dir := t.TempDir()
	keys, path := filepath.Join(dir, "keys.yaml"), filepath.Join(dir, "sluice.yaml")
	writeFile(t, keys, keysFile("alice"))
	writeFile(t, path, listeners+identify+inFront([]string{origin}))
	g := startGateway(t, "serve", "-c", path)
	g.config = path
	c := dial(t, g.addr())
	ask := func(id, owner, more string) reply {
		t.Helper()
		c.send("GET / HTTP/1.1\r\nHost: e2e\r\nX-Request-Id: " + id + "\r\nX-Api-Key: key-of-" + owner + "\r\n" + more + "\r\n")
		return c.read("GET")
	}
	expectClient := func(id, want string) {
		t.Helper()
		if got := g.clientOf(id); got != want {
			t.Errorf("%s comes from %q, expected %q", id, got, want)
		}
	}
	ask("alice-1", "alice", "").expect(t, 200, "GET")
	ask("bob-1", "bob", "").expect(t, 200, "GET")
	writeFile(t, keys, keysFile("bob"))
	g.rewrite("max_header: 1KiB\n" + identify + inFront([]string{origin}))
	g.reload().expect(t, 200, "reloaded")
	ask("alice-2", "alice", "").expect(t, 200, "GET")
	ask("bob-2", "bob", "").expect(t, 200, "GET")
	for id, want := range map[string]string{"alice-1": "alice", "bob-1": "127.0.0.1", "alice-2": "127.0.0.1", "bob-2": "bob"} {
		expectClient(id, want)
	}
	writeFile(t, keys, keysFile("bob")+"  - {name: carol, sha256: 1234}\n")
	r := g.reload()
	r.expect(t, 422, keys+":3:")
	ask("bob-3", "bob", "").expect(t, 200, "GET")
	expectClient("bob-3", "bob")
	ask("large", "bob", "X: "+strings.Repeat("x", 2<<10)+"\r\n").expectProblem(t, 431, "header-too-large")
}

// What may not be meant is logged at the start and at a reload, and holds up neither.
func TestWarnings(t *testing.T) {
	t.Parallel()
	config := inFront([]string{serveHTTP(t, echo)})
	g := serve(t, config+"limits: {one: {rate: 1/s}}\n")
	const msg = "the configuration has something that may not be meant"
	expect := func(names ...string) {
		t.Helper()
		await(t, "the warnings", func() bool { return len(g.logged(msg)) >= len(names) }) // the pipe may lag behind the answer
		lines := g.logged(msg)
		if len(lines) != len(names) {
			t.Fatalf("%d warnings, expected %q: %v", len(lines), names, lines)
		}
		for i, name := range names {
			if text := fmt.Sprint(lines[i]["warning"]); lines[i]["level"] != "WARN" || !strings.Contains(text, name+": no route names this limit") {
				t.Errorf("%v, expected a warning about %s", lines[i], name)
			}
		}
	}
	expect("limits.one")
	g.rewrite(config + "limits: {two: {rate: 1/s}, three: {rate: 1/s}}\n")
	do(t, "POST", g.admin+"/api/v1/reload", "").expect(t, 200, "reloaded")
	expect("limits.one", "limits.two", "limits.three")
	g.rewrite(config)
	do(t, "POST", g.admin+"/api/v1/reload", "").expect(t, 200, "reloaded")
	expect("limits.one", "limits.two", "limits.three")
}
