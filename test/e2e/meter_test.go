package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sluicegate/sluice/test/redistest"
)

// meterConfig is a configuration without its listeners. Nothing gets too old during a test.
func meterConfig(target string, more ...string) string {
	return `identify: {sources: [{header: X-User}]}
meter: {timeframe: 1h, precision: 1s, sync_interval: 100ms}
upstreams: {app: {targets: ["` + target + `"]}}
routes:
  - {path: /api/*, upstream: app}
  - {path: /other, upstream: app}
` + strings.Join(more, "")
}

// meterPage is what /api/v1/meters answers.
type meterPage struct {
	Total  int
	Next   int `json:"next_offset"`
	Meters []struct {
		Name, Kind string
		Count      int
	}
	Nodes []struct{ ID string }
}

// counts maps "kind name" to the count of every meter.
func (p *meterPage) counts() map[string]int {
	got := make(map[string]int)
	for _, m := range p.Meters {
		got[m.Kind+" "+m.Name] = m.Count
	}
	return got
}

func meterList(t *testing.T, g *gateway, query string) *meterPage {
	t.Helper()
	r := get(t, g.admin+"/api/v1/meters"+query)
	r.expect(t, 200, "meters")
	p := new(meterPage)
	if err := json.Unmarshal([]byte(r.body), p); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
	return p
}

func meterWant(t *testing.T, g *gateway, query string, want map[string]int) {
	t.Helper()
	if got := meterList(t, g, query).counts(); !maps.Equal(got, want) {
		t.Errorf("%q: counts are %v, want %v", query, got, want)
	}
}

func meterAwait(t *testing.T, g *gateway, query string, want map[string]int) {
	t.Helper()
	await(t, fmt.Sprintf("the counts %v", want), func() bool { return maps.Equal(meterList(t, g, query).counts(), want) })
}

// meterSend sends n requests of a client, four at a time.
func meterSend(t *testing.T, g *gateway, client, path string, n, status int) {
	t.Helper()
	var all sync.WaitGroup
	for sender := range 4 {
		all.Go(func() {
			c := dial(t, g.addr())
			for i := sender; i < n; i += 4 {
				c.send("GET " + path + " HTTP/1.1\r\nHost: e2e\r\nX-User: " + client + "\r\n\r\n")
				if r := c.read("GET"); r.StatusCode != status {
					t.Errorf("%s %s: got %s, want %d", client, path, r.Status, status)
				}
			}
		})
	}
	all.Wait()
}

// meterServe runs a gateway whose configuration file is in dir.
func meterServe(t *testing.T, dir, config string) *gateway {
	t.Helper()
	path := filepath.Join(dir, "sluice.yaml")
	writeFile(t, path, listeners+config)
	g := startGateway(t, "serve", "-c", path)
	g.config = path
	return g
}

func TestMetersAreExact(t *testing.T) {
	t.Parallel()
	g := serve(t, meterConfig(serveHTTP(t, echo)))
	meterSend(t, g, "alice", "/api/x", 40, 200)
	meterSend(t, g, "bob", "/api/x", 10, 200)
	meterSend(t, g, "bob", "/other", 20, 200)
	meterSend(t, g, "eve", "/nowhere", 5, 404)
	get(t, g.admin+"/readyz") // is no request of a client
	meterWant(t, g, "", map[string]int{
		"client alice": 40, "client bob": 30, "client eve": 5, "route /api/*": 50, "route /other": 20, "route none": 5,
	})
	if p := meterList(t, g, "?kind=client&limit=2"); p.Total != 3 || p.Next != 2 || p.Meters[0].Name != "alice" || p.Meters[1].Name != "bob" {
		t.Errorf("first page %+v, want alice, bob, and a next one", p)
	}
	meterWant(t, g, "?kind=client&limit=2&offset=2", map[string]int{"client eve": 5})
	meterWant(t, g, "?kind=route&sort=name&limit=1", map[string]int{"route /api/*": 50})
	for _, kind := range []string{"client", "route"} {
		if n := g.metric("sluice_meter_requests", "kind", kind); n != 75 {
			t.Errorf("%v requests by %s in the metrics, want 75", n, kind)
		}
	}
}

func TestMetersRefuseBadQueries(t *testing.T) {
	t.Parallel()
	g := serve(t, meterConfig(serveHTTP(t, echo)))
	for query, want := range map[string]string{
		"?limit=0":       `the parameter limit: \"0\", expected a number from 1 to 1000`,
		"?sort=size":     "the parameter sort",
		"?x=1":           `the parameter \"x\": unknown`,
		"?sort=%zz":      "the query is malformed",
		"?scope=cluster": `the parameter scope: \"cluster\" needs the key redis in the configuration`,
	} {
		r := get(t, g.admin+"/api/v1/meters"+query)
		r.expect(t, 400, want)
		if r.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: type %s", query, r.Header.Get("Content-Type"))
		}
	}
}

// TestMetersSurvive stops the gateway in both ways, and reloads it with another timeframe.
func TestMetersSurvive(t *testing.T) {
	t.Parallel()
	dir, config := t.TempDir(), meterConfig(serveHTTP(t, echo), "data_dir: ./state\n")
	g := meterServe(t, dir, config)
	meterSend(t, g, "alice", "/api/x", 7, 200)
	g.signal(syscall.SIGTERM)
	if code := g.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}

	want := map[string]int{"client alice": 7, "route /api/*": 7}
	g = meterServe(t, dir, config)
	meterWant(t, g, "", want)
	meterSend(t, g, "bob", "/other", 3, 200)
	want["client bob"], want["route /other"] = 3, 3
	meterAwaitSync(t, filepath.Join(dir, "state", "meter-routes.bin"))
	g.signal(syscall.SIGKILL)
	g.endedBy(syscall.SIGKILL)

	g = meterServe(t, dir, config)
	meterWant(t, g, "", want)
	g.rewrite(strings.Replace(config, "1h", "2h", 1))
	do(t, "POST", g.admin+"/api/v1/reload", "").expect(t, 200, "reloaded")
	meterSend(t, g, "alice", "/api/x", 1, 200)
	want["client alice"]++
	want["route /api/*"]++
	meterWant(t, g, "", want)
	g.rewrite(strings.Replace(config, "./state", "./other", 1))
	do(t, "POST", g.admin+"/api/v1/reload", "").expect(t, 422, "data_dir has changed")
}

// meterAwaitSync waits until a file that is written again and again was begun and finished from now on: its second change
// ends a round that began after now.
func meterAwaitSync(t *testing.T, path string) {
	t.Helper()
	stat := func() os.FileInfo {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	for range 2 {
		before := stat()
		await(t, "a new "+path, func() bool { return !os.SameFile(before, stat()) })
	}
}

func TestDataDirIsOfOneProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := meterServe(t, dir, meterConfig(serveHTTP(t, echo), "data_dir: ./state\n"))
	second := start(t, "serve", "-c", g.config)
	want := fmt.Sprintf("is in use by another process (process %d)", g.cmd.Process.Pid)
	if code := second.wait(); code != 1 || !strings.Contains(second.stderr.String(), want) {
		t.Errorf("a second process: exit code %d with %s, want %s", code, second.stderr.String(), want)
	}
	meterSend(t, g, "alice", "/api/x", 1, 200)
}

// TestMetersOfACluster adds up two gateways through a Redis that asks for a password, restarts one of them, and then kills
// Redis.
func TestMetersOfACluster(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--requirepass", "hunter2")
	origin, dir := serveHTTP(t, echo), t.TempDir()
	shared := "redis: redis://:hunter2@" + server.Addr + "/1\n"
	kept := meterConfig(origin, "data_dir: ./state\n", shared)
	first, second := serve(t, meterConfig(origin, shared)), meterServe(t, dir, kept)
	meterSend(t, first, "alice", "/api/x", 4, 200)
	meterSend(t, second, "alice", "/api/x", 5, 200)
	meterSend(t, second, "bob", "/other", 6, 200)
	want := map[string]int{"client alice": 9, "client bob": 6, "route /api/*": 9, "route /other": 6}
	meterAwait(t, first, "?scope=cluster", want)
	meterAwait(t, second, "?scope=cluster", want)
	meterWant(t, first, "?scope=node", map[string]int{"client alice": 4, "route /api/*": 4})

	second.signal(syscall.SIGTERM)
	second.wait()
	meterWant(t, first, "?scope=cluster", want) // its requests are not over
	second = meterServe(t, dir, kept)
	meterSend(t, second, "bob", "/other", 1, 200)
	want["client bob"], want["route /other"] = 7, 7
	meterAwait(t, second, "?scope=cluster", want) // it is the same node, and not a third
	meterAwait(t, first, "?scope=cluster", want)
	if p := meterList(t, first, "?scope=cluster"); len(p.Nodes) != 2 {
		t.Errorf("nodes %v, want two", p.Nodes)
	}

	server.Kill()
	r := get(t, first.admin+"/api/v1/meters?scope=cluster")
	r.expect(t, 503, "redis did not answer")
	meterSend(t, first, "alice", "/api/x", 1, 200)
	meterWant(t, first, "", map[string]int{"client alice": 5, "route /api/*": 5})
	if strings.Contains(r.body+first.stderr.String()+second.stderr.String(), "hunter2") {
		t.Error("the password was printed")
	}
}
