package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/test/redistest"
)

// sharedConfig is a configuration of nodes that share rules, without listeners. routes are "PATH RULE".
func sharedConfig(server *redistest.Server, origin, limits string, routes ...string) string {
	config := "redis: redis://" + server.Addr + "/0\nidentify: {sources: [{header: X-User}]}\n" +
		"limits:\n" + limits + "upstreams: {app: {targets: [\"" + origin + "\"]}}\nroutes:\n"
	for _, r := range routes {
		path, rule, _ := strings.Cut(r, " ")
		config += fmt.Sprintf("  - {path: %s, upstream: app, limits: [%s]}\n", path, rule)
	}
	return config
}

func okay(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }

// sharedAsk asks with a client that keeps its connections, and returns the status, or 0 if there was no answer.
func sharedAsk(client *http.Client, url, user string) int {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return 0
	}
	req.Header.Set("X-User", user)
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}

// decided asks again while the answer is 503: a busy machine can be slower than the time that a decision has.
func (g *gateway) decided(path, user string) reply {
	g.t.Helper()
	var r reply
	await(g.t, "a decision about "+path, func() bool {
		r = get(g.t, g.url+path, "X-User", user)
		return r.StatusCode != http.StatusServiceUnavailable
	})
	return r
}

// TestSharedLimit drives one key over three nodes at ten times its limit. The limit holds for them together: what passed between two
// instants is at most what the rule allows in the time between them.
func TestSharedLimit(t *testing.T) {
	for _, mode := range []string{"strict", "lease"} {
		t.Run(mode, func(t *testing.T) {
			const rate, burst, workers, each = 100, 50, 12, 250
			server := redistest.Start(t)
			config := sharedConfig(server, serveHTTP(t, okay),
				fmt.Sprintf("  hot: {rate: %d/s, burst: %d, mode: %s, on_error: closed}\n", rate, burst, mode), "/* hot")
			nodes := []*gateway{serve(t, config), serve(t, config), serve(t, config)}
			client := newClient(t)
			var passed [3]atomic.Int64
			var refused, undecided, others atomic.Int64
			var all sync.WaitGroup
			began := time.Now()
			for worker := range workers {
				all.Go(func() {
					pace := time.NewTicker(workers * time.Second / (10 * rate))
					defer pace.Stop()
					for range each {
						<-pace.C
						switch sharedAsk(client, nodes[worker%3].url, "alice") {
						case 200:
							passed[worker%3].Add(1)
						case 429:
							refused.Add(1)
						case 503:
							undecided.Add(1)
						default:
							others.Add(1)
						}
					}
				})
			}
			all.Wait()
			took := time.Since(began)
			sum := passed[0].Load() + passed[1].Load() + passed[2].Load()
			most := int64(rate*took.Seconds()) + burst + 1
			t.Logf("%d passed (%d, %d, %d) of at most %d in %v; %d refused, %d undecided", sum, passed[0].Load(), passed[1].Load(),
				passed[2].Load(), most, took, refused.Load(), undecided.Load())
			if sum > most || sum == 0 || others.Load() > 0 {
				t.Errorf("%d passed, expected 1 to %d; %d answers were neither 200 nor 429 nor 503", sum, most, others.Load())
			}
		})
	}
}

// TestSharedOutage takes Redis away under load, and lets it come back. Nothing is answered with anything but 200, 429 and, where a rule is closed,
// 503; each rule does what its on_error says.
func TestSharedOutage(t *testing.T) {
	for way, outage := range map[string]struct{ begin, end func(*redistest.Server) }{
		"killed":  {(*redistest.Server).Kill, (*redistest.Server).Restart},
		"hanging": {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(way, func(t *testing.T) {
			server := redistest.Start(t)
			var limits string
			var routes, paths []string
			for _, mode := range []string{"strict", "lease"} {
				for _, onError := range []string{"open", "closed", "local_share"} {
					limits += fmt.Sprintf("  %s-%s: {rate: 1/h, burst: 9, mode: %s, on_error: %s}\n", mode, onError, mode, onError)
					routes = append(routes, fmt.Sprintf("/%s/%s %s-%s", mode, onError, mode, onError))
					paths = append(paths, fmt.Sprintf("/%s/%s", mode, onError))
				}
			}
			g := serve(t, sharedConfig(server, serveHTTP(t, okay), limits, routes...))
			for _, path := range paths {
				if r := g.decided(path, "first"); r.StatusCode != 200 || !strings.Contains(r.Header.Get("RateLimit-Policy"), ";q=10;") {
					t.Fatalf("%s: %s %v", path, r.Status, r.Header)
				}
			}
			asked, stop := sharedLoad(t, g, paths)
			underLoad := func() {
				before := asked()
				await(t, "500 requests", func() bool { return asked() >= before+500 })
			}
			underLoad()
			outage.begin(server)
			await(t, "the breaker to open", func() bool { return g.metric("sluice_limit_redis_breaker_opened_total") > 0 })
			for _, mode := range []string{"/strict", "/lease"} {
				sharedAlone(t, g, mode)
			}
			underLoad()
			outage.end(server)
			back := time.Now()
			for _, mode := range []string{"/strict", "/lease"} {
				n := 0
				await(t, "decisions in Redis again", func() bool {
					n++
					return get(t, g.url+mode+"/closed", "X-User", fmt.Sprint("back", n)).StatusCode == 200
				})
			}
			t.Logf("decisions in Redis again after %v", time.Since(back))
			underLoad()
			stop()
		})
	}
}

// sharedAlone asks a node that has no Redis.
func sharedAlone(t *testing.T, g *gateway, mode string) {
	t.Helper()
	get(t, g.url+mode+"/closed", "X-User", "probe").expectProblem(t, 503, "limit-unavailable")
	for i := range 30 {
		if r := get(t, g.url+mode+"/open", "X-User", "probe"); r.StatusCode != 200 || r.Header.Get("RateLimit") == "" {
			t.Fatalf("open, request %d: %s %v", i, r.Status, r.Header)
		}
		want := 200
		if i >= 10 { // one node has the whole limit for its share
			want = 429
		}
		if r := get(t, g.url+mode+"/local_share", "X-User", "probe"); r.StatusCode != want || r.Header.Get("RateLimit") == "" {
			t.Fatalf("local_share, request %d: %s %v, expected %d", i, r.Status, r.Header, want)
		}
	}
}

// sharedLoad asks for all paths until stop, which says what must never have been answered. asked is how often it has.
func sharedLoad(t *testing.T, g *gateway, paths []string) (asked func() int, stop func()) {
	var done atomic.Bool
	var all sync.WaitGroup
	client := newClient(t)
	var mu sync.Mutex
	var took []time.Duration
	wrong := make(map[string]int)
	for worker := range 2 * len(paths) {
		path := paths[worker%len(paths)]
		all.Go(func() {
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for n := 0; !done.Load(); n++ {
				<-pace.C
				began := time.Now()
				status := sharedAsk(client, g.url+path, fmt.Sprint("load", n/20))
				mu.Lock()
				took = append(took, time.Since(began))
				if status != 200 && status != 429 && !(status == 503 && strings.HasSuffix(path, "/closed")) {
					wrong[fmt.Sprint(path, " ", status)]++
				}
				mu.Unlock()
			}
		})
	}
	asked = func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(took)
	}
	return asked, func() {
		done.Store(true)
		all.Wait()
		slices.Sort(took)
		t.Logf("%d requests; half took less than %v, 99 %% less than %v", len(took), took[len(took)/2], took[len(took)*99/100])
		if len(wrong) > 0 {
			t.Errorf("answers that must not be: %v", wrong)
		}
	}
}

// sluiceLimits runs `sluice limits` and returns what it printed.
func sluiceLimits(t *testing.T, code int, args ...string) string {
	t.Helper()
	p := start(t, append([]string{"limits"}, args...)...)
	if got := p.wait(); got != code {
		t.Fatalf("sluice limits %v: exit code %d, expected %d: %s", args, got, code, p.stderr.String())
	}
	return p.stdout.String() + p.stderr.String()
}

// TestSharedOverrides sets a client's limit on one node, and sees it on all.
func TestSharedOverrides(t *testing.T) {
	server := redistest.Start(t)
	origin := serveHTTP(t, okay)
	config := sharedConfig(server, origin, "  local: {rate: 10/s, burst: 4}\n  strict: {rate: 10/s, burst: 4, mode: strict, overrides: {alice: {rate: 20/s, burst: 5}}}\n"+
		"  lease: {rate: 10/s, burst: 4, mode: lease}\n  costly: {rate: 1/s, burst: 2, cost: 3}\n  all: {rate: 1/s, per: global}\n",
		"/local local", "/strict strict", "/lease lease")
	nodes := []*gateway{serve(t, config), serve(t, config), serve(t, config)}
	policy := func(g *gateway, rule, user string) string {
		return g.decided("/"+rule, user).Header.Get("RateLimit-Policy")
	}
	awaitPolicy := func(rule, size string) {
		t.Helper()
		for _, g := range nodes {
			await(t, rule+" to be "+size, func() bool { return strings.HasPrefix(policy(g, rule, "alice"), `"`+rule+`";q=`+size+";") })
		}
	}
	first, last := nodes[0].admin, nodes[2].admin
	awaitPolicy("strict", "6")
	for _, rule := range []string{"local", "strict", "lease"} {
		sluiceLimits(t, 0, "set", "alice", rule, "60/min", "--burst", "99", "--admin", first)
		awaitPolicy(rule, "100")
		if got := policy(nodes[1], rule, "bob"); !strings.Contains(got, ";q=5;") {
			t.Errorf("of bob, %s is %s", rule, got)
		}
	}
	if got := sluiceLimits(t, 0, "get", "alice", "lease", "--admin", last); got != "60/min, burst 99\n" {
		t.Errorf("get printed %q", got)
	}
	sluiceLimits(t, 0, "set", "al ice\n", "local", "1/day", "--admin", last)
	want := "RULE    CLIENT      RATE    BURST\nlease   alice       60/min  99\nlocal   \"al ice\\n\"  1/day   of the rule\n" +
		"local   alice       60/min  99\nstrict  alice       60/min  99\n"
	if got := sluiceLimits(t, 0, "list", "--admin", first); got != want {
		t.Errorf("list printed\n%sexpected\n%s", got, want)
	}
	var list []struct {
		Client, Rule, Rate string
		Burst              *int64
	}
	if err := json.Unmarshal([]byte(sluiceLimits(t, 0, "list", "--json", "--admin", first)), &list); err != nil || len(list) != 4 || list[1].Client != "al ice\n" || list[1].Burst != nil {
		t.Errorf("list --json: %v, %+v", err, list)
	}
	for _, mistake := range []struct{ want, client, rule, rate, burst string }{
		{`no such rule: "nothing"`, "alice", "nothing", "1/s", "0"},
		{"it is per global", "alice", "all", "1/s", "0"},
		{"less than the cost of a request, 3", "alice", "costly", "1/s", "1"},
		{"expected the name of a client", strings.Repeat("x", 300), "local", "1/s", "1"},
	} {
		if got := sluiceLimits(t, 1, "set", mistake.client, mistake.rule, mistake.rate, "--burst", mistake.burst, "--admin", first); !strings.Contains(got, mistake.want) {
			t.Errorf("%+v: %s", mistake, got)
		}
	}
	for rule, size := range map[string]string{"local": "5", "strict": "6", "lease": "5"} {
		sluiceLimits(t, 0, "unset", "alice", rule, "--admin", last)
		awaitPolicy(rule, size)
	}
	for _, gone := range []string{"get", "unset"} {
		if got := sluiceLimits(t, 1, gone, "alice", "local", "--admin", first); !strings.Contains(got, `"alice" has no override of "local"`) {
			t.Errorf("%s: %s", gone, got)
		}
	}
}

// TestSharedOverridesRefused asks nodes that keep no overrides, or want a token.
func TestSharedOverridesRefused(t *testing.T) {
	t.Parallel()
	config := inFront([]string{serveHTTP(t, okay)}) + "limits: {client: {rate: 1/s}}\n"
	g := serveFile(t, "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0, token: s3cret}\n"+config)
	for _, args := range [][]string{{"set", "alice", "client", "1/s"}, {"list"}, {"get", "alice", "client"}, {"unset", "alice", "client"}} {
		args = append(args, "--admin", g.admin)
		if got := sluiceLimits(t, 1, args...); !strings.Contains(got, "the admin token is missing or wrong") {
			t.Errorf("without a token, %v: %s", args, got)
		}
		if got := sluiceLimits(t, 1, append(args, "--token", "s3cret")...); !strings.Contains(got, "expected the key redis in the configuration") {
			t.Errorf("without Redis, %v: %s", args, got)
		}
	}
	do(t, "PUT", g.admin+"/api/v1/limits/overrides", `{"client": "alice", "rule": "client", "rate": "1/s"}`, "Authorization", "Bearer s3cret").expect(t, 409, "redis")
	do(t, "PUT", g.admin+"/api/v1/limits/overrides", `{"burst": "1"}`, "Authorization", "Bearer s3cret").expect(t, 400, "burst: expected a whole number, got a string")
	do(t, "DELETE", g.admin+"/api/v1/limits/overrides?client=x", "", "Authorization", "Bearer s3cret").expect(t, 400, "expected ?client=NAME")
}

// TestSharedReload changes a rule's mode: strict and lease share one memory. A rule that only reports does so in these modes too.
func TestSharedReload(t *testing.T) {
	server := redistest.Start(t)
	origin := serveHTTP(t, okay)
	config := func(mode string) string {
		return sharedConfig(server, origin, "  a: {rate: 1/h, burst: 2, mode: "+mode+", on_error: closed}\n"+
			"  b: {rate: 1/h, burst: 2, mode: "+mode+", shadow: true}\n", "/a a", "/b b")
	}
	g := serve(t, config("strict"))
	await(t, "the limit to be spent", func() bool { return g.decided("/a", "alice").StatusCode == 429 })
	for _, mode := range []string{"lease", "strict"} {
		g.rewrite(config(mode))
		do(t, "POST", g.admin+"/api/v1/reload", "").expect(t, 200, "reloaded")
		if r := g.decided("/a", "alice"); r.StatusCode != 429 || r.Header.Get("RateLimit") == "" {
			t.Errorf("in mode %s: %s %v", mode, r.Status, r.Header)
		}
		await(t, "the shadow to refuse", func() bool {
			get(t, g.url+"/b", "X-User", "bob "+mode).expect(t, 200, "ok")
			return g.metric("sluice_limit_decisions_total", "rule", "b", "outcome", "shadow_refused") > 0
		})
	}
	g.rewrite(config("local"))
	do(t, "POST", g.admin+"/api/v1/reload", "").expect(t, 422, "on_error")
}
