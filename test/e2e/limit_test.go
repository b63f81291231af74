package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
)

// TestLimit runs the real program with limits, and asks it as clients and operators do.
func TestLimit(t *testing.T) {
	program := limitBuild(t)
	for _, test := range []struct {
		name string
		run  func(t *testing.T, program string)
	}{
		{"Answer", limitAnswer}, {"RetryAfterIsKept", limitRetryAfterIsKept}, {"AllOrNothing", limitAllOrNothing},
		{"Shadow", limitShadow}, {"Overrides", limitOverrides}, {"Access", limitAccess}, {"Cost", limitCost},
		{"ReloadKeepsDebt", limitReloadKeepsDebt}, {"MaxKeysNeedsARestart", limitMaxKeysNeedsARestart},
		{"RefundWithoutTarget", limitRefundWithoutTarget}, {"NoRefundOnceSent", limitNoRefundOnceSent}, {"HeaderFamilies", limitHeaderFamilies},
		{"Check", limitCheck}, {"Metrics", limitMetrics}, {"Flood", limitFlood},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, program) })
	}
}

// limitBehind is what every configuration here has: clients are named by X-User, and every path goes to the origin.
const limitBehind = `identify: {sources: [{header: X-User}, {address: {}}], trusted_proxies: [127.0.0.0/8]}
upstreams: {app: {targets: ["ORIGIN"], eject: {failures: 0}}}
`

// limitMember finds a rule in a field and returns its parameters.
func limitMember(t *testing.T, header http.Header, field, rule string) map[string]int64 {
	t.Helper()
	list, err := httpsfv.UnmarshalList(header.Values(field))
	if err != nil {
		t.Fatalf("%s: %v: %v", field, header.Values(field), err)
	}
	for _, m := range list {
		item, ok := m.(httpsfv.Item)
		if !ok || item.Value != rule {
			continue
		}
		params := map[string]int64{}
		for _, name := range item.Params.Names() {
			v, _ := item.Params.Get(name)
			params[name], _ = v.(int64)
		}
		return params
	}
	t.Fatalf("%s: %v has no member %s", field, header.Values(field), rule)
	return nil
}

func limitAnswer(t *testing.T, program string) {
	g := limitStart(t, program, limitBehind+`limits: {client: {rate: 1/h, burst: 4}}
routes: [{path: /free, upstream: app}, {path: /*, upstream: app, limits: [client]}]
`)
	for left := int64(4); left >= 0; left-- {
		r := g.expect(200, "/", "X-User: alice")
		if p := limitMember(t, r.header, "RateLimit-Policy", "client"); p["q"] != 5 || p["w"] != 5*3600 || len(p) != 2 {
			t.Errorf("policy %v", p)
		}
		p := limitMember(t, r.header, "RateLimit", "client")
		if full := (5 - left) * 3600; p["r"] != left || p["t"] > full || p["t"] < full-60 || len(p) != 2 {
			t.Errorf("%d left: %v", left, p)
		}
		if r.header.Get("Retry-After") != "" {
			t.Error("Retry-After with an answer that was allowed")
		}
	}
	r := g.expect(429, "/", "X-User: alice", "X-Request-Id: my-id")
	if n, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || n > 3600 || n < 3540 {
		t.Errorf("Retry-After: %q", r.header.Get("Retry-After"))
	}
	if p := limitMember(t, r.header, "RateLimit", "client"); p["r"] != 0 {
		t.Errorf("RateLimit %v", p)
	}
	limitMember(t, r.header, "RateLimit-Policy", "client")
	p := g.problem(r)
	if p["type"] != "https://iana.org/assignments/http-problem-types#quota-exceeded" || p["status"] != 429.0 || p["request_id"] != "my-id" ||
		fmt.Sprint(p["violated-policies"]) != "[client]" {
		t.Errorf("%v", p)
	}
	if g.served.Load() != 5 {
		t.Errorf("%d requests reached the origin", g.served.Load())
	}
	if r := g.expect(200, "/free", "X-User: alice"); r.header.Get("RateLimit") != "" {
		t.Errorf("a route without limits answers %v", r.header)
	}
	g.expect(200, "/", "X-User: bob")
}

// A client that waits as long as it is told is served.
func limitRetryAfterIsKept(t *testing.T, program string) {
	g := limitStart(t, program, limitBehind+"limits: {a: {rate: 1/s}}\nroutes: [{path: /*, upstream: app, limits: [a]}]\n")
	g.expect(200, "/")
	r := g.get("/")
	for r.status == 200 { // the machine was too busy to ask twice within a second
		r = g.get("/")
	}
	if r.header.Get("Retry-After") != "1" {
		t.Fatalf("%d, Retry-After: %q", r.status, r.header.Get("Retry-After"))
	}
	time.Sleep(time.Second)
	g.expect(200, "/")
}

func limitAllOrNothing(t *testing.T, program string) {
	g := limitStart(t, program, limitBehind+`limits: {everyone: {rate: 1/h, burst: 3, per: global}, client: {rate: 1/h}}
routes: [{path: /*, upstream: app, limits: [everyone, client]}]
`)
	g.expect(200, "/", "X-User: alice")
	for range 10 {
		r := g.expect(429, "/", "X-User: alice")
		if p := g.problem(r); fmt.Sprint(p["violated-policies"]) != "[client]" {
			t.Errorf("%v", p)
		}
		if p := limitMember(t, r.header, "RateLimit", "everyone"); p["r"] != 3 {
			t.Errorf("a request that was refused has spent from another rule: %v", p)
		}
	}
	for _, name := range []string{"bob", "carol", "dave"} {
		g.expect(200, "/", "X-User: "+name)
	}
	r := g.expect(429, "/", "X-User: alice")
	if p := g.problem(r); fmt.Sprint(p["violated-policies"]) != "[everyone client]" {
		t.Errorf("%v", p)
	}
}

func limitShadow(t *testing.T, program string) {
	g := limitStart(t, program, limitBehind+`limits: {trial: {rate: 1/h, shadow: true}}
routes: [{path: /*, upstream: app, limits: [trial]}]
`)
	for range 3 {
		if r := g.expect(200, "/", "X-User: alice"); r.header.Get("RateLimit") != "" {
			t.Errorf("clients see a shadow rule: %v", r.header)
		}
	}
	if want := `sluice_limit_decisions_total{outcome="shadow_refused",rule="trial"} 2`; !strings.Contains(g.do("GET", g.admin+"/metrics", "").body, want) {
		t.Errorf("no %s", want)
	}
}

func limitOverrides(t *testing.T, program string) {
	g := limitStart(t, program, limitBehind+`limits: {a: {rate: 1/h, overrides: {alice@example.com: {rate: 1/h, burst: 2}}}}
routes: [{path: /*, upstream: app, limits: [a]}]
`)
	for range 3 {
		r := g.expect(200, "/", "X-User: alice@example.com")
		if p := limitMember(t, r.header, "RateLimit-Policy", "a"); p["q"] != 3 {
			t.Errorf("policy %v", p)
		}
	}
	g.expect(429, "/", "X-User: alice@example.com")
	g.expect(200, "/", "X-User: bob")
	g.expect(429, "/", "X-User: bob")
}

func limitAccess(t *testing.T, program string) {
	g := limitStart(t, program, limitBehind+`limits: {a: {rate: 1/h, per: global}}
routes: [{path: /x, upstream: app, limits: [a]}]
access: {allow: [alice, 198.51.100.0/24], deny: [mallory, 203.0.113.0/24, "2001:db8::/32"]}
`)
	for range 3 {
		g.expect(200, "/x", "X-User: alice")
		g.expect(200, "/x", "X-User: bob", "X-Forwarded-For: 198.51.100.7")
	}
	g.expect(200, "/x", "X-User: bob")
	g.expect(429, "/x", "X-User: bob")
	for _, fields := range [][]string{
		{"X-User: mallory"}, {"X-User: alice", "X-Forwarded-For: 203.0.113.9"}, {"X-User: alice", "X-Forwarded-For: 2001:db8::1"},
	} {
		for _, path := range []string{"/x", "/no-route"} {
			if p := g.problem(g.expect(403, path, fields...)); !strings.HasSuffix(p["type"].(string), "#access-denied") {
				t.Errorf("%v", p)
			}
		}
	}
	g.expect(404, "/no-route", "X-User: alice")
}

func limitCost(t *testing.T, program string) {
	g := limitStart(t, program, limitBehind+`limits: {tokens: {rate: 1/h, burst: 9, cost: {header: X-Tokens}}}
routes: [{path: /*, upstream: app, limits: [tokens]}]
`)
	g.expect(200, "/", "X-Tokens: 8")
	g.expect(429, "/", "X-Tokens: 3")
	g.expect(200, "/")
	for _, bad := range []string{"-1", "a lot", "9999999999999999", ""} {
		r := g.expect(400, "/", "X-Tokens: "+bad)
		if p := g.problem(r); !strings.HasSuffix(p["type"].(string), "#bad-request") || !strings.Contains(p["detail"].(string), "X-Tokens") {
			t.Errorf("%v", p)
		}
	}
	r := g.expect(429, "/", "X-Tokens: 11")
	if r.header.Get("Retry-After") != "" || !strings.Contains(r.body, "more than the limit ever allows") {
		t.Errorf("a cost that never fits: %v, %s", r.header, r.body)
	}
}

func limitReloadKeepsDebt(t *testing.T, program string) {
	const routes = "routes: [{path: /*, upstream: app, limits: [a]}]\n"
	g := limitStart(t, program, limitBehind+"limits: {a: {rate: 1/h, burst: 1}}\n"+routes)
	g.expect(200, "/", "X-User: alice")
	g.expect(200, "/", "X-User: alice")
	for _, limits := range []string{"limits: {b: {rate: 1/s}, a: {rate: 1/h, burst: 1}}\n", "limits: {a: {rate: 2/h}}\n"} {
		g.write(limitBehind + limits + routes)
		if r := g.post("/api/v1/reload", ""); r.status != 200 {
			t.Fatalf("%d: %s", r.status, r.body)
		}
		g.expect(429, "/", "X-User: alice")
	}
	g.expect(200, "/", "X-User: bob")
}

func limitMaxKeysNeedsARestart(t *testing.T, program string) {
	const rest = limitBehind + "routes: [{path: /*, upstream: app, limits: [a]}]\n"
	g := limitStart(t, program, "limits: {a: {rate: 1/h}}\n"+rest)
	g.write("limits: {a: {rate: 1/h, max_keys: 10}}\n" + rest)
	if r := g.post("/api/v1/reload", ""); r.status != 422 || !strings.Contains(r.body, "limits.a.max_keys has changed") {
		t.Errorf("%d: %s", r.status, r.body)
	}
	g.write("limits: {a: {rate: 1/h, per: global, max_keys: 10}}\n" + rest)
	if r := g.post("/api/v1/reload", ""); r.status != 200 {
		t.Errorf("%d: %s", r.status, r.body)
	}
}

// A request that reached nobody has cost nothing.
func limitRefundWithoutTarget(t *testing.T, program string) {
	g := limitStart(t, program, limitBehind+`limits: {a: {rate: 1/h, burst: 1}}
routes: [{path: /small, upstream: app, limits: [a], max_body: 1B}, {path: /*, upstream: app, limits: [a]}]
`)
	if r := g.do("POST", g.url+"/small", "too large", "X-User: alice"); r.status != 413 {
		t.Fatalf("%d: %s", r.status, r.body)
	}
	g.origin.Close()
	for range 5 {
		r := g.expect(502, "/", "X-User: alice")
		if p := limitMember(t, r.header, "RateLimit", "a"); p["r"] != 2 {
			t.Errorf("the gateway's own answer says %v", p)
		}
	}
	if s := g.post("/api/v1/limits/check", `{"key": "alice", "rule": "a", "peek": true}`); !strings.Contains(s.body, `"remaining": 2,`) {
		t.Errorf("%s", s.body)
	}
}

// A request that a target has taken is paid for, also if it broke and another target refused the second try.
func limitNoRefundOnceSent(t *testing.T, program string) {
	refusing := limitFreeAddr(t)
	g := limitStart(t, program, `identify: {sources: [{header: X-User}]}
upstreams: {app: {targets: ["ORIGIN", "http://`+refusing+`"], balance: round_robin, eject: {failures: 0}, retries: {max: 1, budget: 100%}}}
limits: {a: {rate: 1/h, burst: 9}}
routes: [{path: /*, upstream: app, limits: [a]}]
`)
	g.answer = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for left := int64(9); left >= 0; left-- {
		r := g.expect(502, "/", "X-User: alice")
		if p := limitMember(t, r.header, "RateLimit", "a"); p["r"] != left {
			t.Fatalf("%v, want %d left", p, left)
		}
	}
	g.expect(429, "/", "X-User: alice")
	if g.served.Load() != 10 {
		t.Errorf("%d requests reached the target", g.served.Load())
	}
}

func limitHeaderFamilies(t *testing.T, program string) {
	const rest = limitBehind + `limits: {loose: {rate: 1/h, burst: 9}, tight: {rate: 1/h, burst: 1}}
routes: [{path: /*, upstream: app, limits: [loose, tight]}]
`
	g := limitStart(t, program, "rate_limit_headers: [standard, legacy]\n"+rest)
	g.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("RateLimit", `"theirs";r=1;t=2`)
		w.Header().Set("X-RateLimit-Limit", "1000")
	}
	r := g.expect(200, "/", "X-User: alice")
	if got := r.header.Values("X-RateLimit-Limit"); !slices.Equal(got, []string{"2"}) || r.header.Get("X-RateLimit-Remaining") != "1" ||
		r.header.Get("X-RateLimit-Reset") != "3600" {
		t.Errorf("%v", r.header)
	}
	if p := limitMember(t, r.header, "RateLimit", "theirs"); p["r"] != 1 {
		t.Errorf("the upstream's member: %v", p)
	}
	if p := limitMember(t, r.header, "RateLimit", "tight"); p["r"] != 1 {
		t.Errorf("our member: %v", p)
	}
	g.write("rate_limit_headers: []\n" + rest)
	if r := g.post("/api/v1/reload", ""); r.status != 200 {
		t.Fatalf("%d: %s", r.status, r.body)
	}
	r = g.expect(200, "/", "X-User: alice")
	if len(r.header.Values("RateLimit")) != 1 || r.header.Get("RateLimit-Policy") != "" || r.header.Get("X-RateLimit-Limit") != "1000" {
		t.Errorf("%v", r.header)
	}
	r = g.expect(429, "/", "X-User: alice")
	if r.header.Get("Retry-After") == "" || r.header.Get("RateLimit") != "" {
		t.Errorf("%v", r.header)
	}
}

func limitCheck(t *testing.T, program string) {
	g := limitStart(t, program, limitBehind+`limits: {a: {rate: 1/h, burst: 1}, ip: {rate: 1/h, per: ip}}
routes: [{path: /*, upstream: app, limits: [a]}]
`)
	g.expect(200, "/", "X-User: alice")
	for _, c := range []struct {
		body   string
		status int
		want   string
	}{
		{`{"key": "alice", "rule": "a", "peek": true}`, 200, `"allowed": true`},
		{`{"key": "alice", "rule": "a"}`, 200, `"remaining": 0`},
		{`{"key": "alice", "rule": "a"}`, 200, `"allowed": false`},
		{`{"key": "bob", "rule": "a", "cost": 3}`, 200, `"retry_after_s": null`},
		{`{"key": "x", "rate": "10/s", "burst": 5}`, 200, `"limit": 6`},
		{`{"key": "x", "rule": "nope"}`, 404, `no such rule: \"nope\"`},
		{`{"rule": "a"}`, 400, "key: missing"},
		{`{"key": 5, "rule": "a"}`, 400, "key: expected a string, got a number"},
		{`{"key": "x", "rule": "a", "cost": 1.5}`, 400, "cost: expected a whole number, got a number 1.5"},
		{`{"key": "x", "rule": "a", "peek": "yes"}`, 400, "peek: expected true or false, got a string"},
		{`{"key": "x", "rule": "a", "costs": 1}`, 400, `unknown field \"costs\"`},
		{`{"key": "x", "rule": "a"} {}`, 400, "more than one JSON value"},
		{`{"key": "x", "rate": "often"}`, 400, "rate: expected a number and a time"},
		{`{"key": "x", "rule": "ip"}`, 400, `\"x\" is no address`},
		{`[]`, 400, "not the JSON object"},
		{``, 400, "not the JSON object"},
		{`{"key": "` + strings.Repeat("x", 20_000) + `"}`, 400, "too large"},
	} {
		r := g.post("/api/v1/limits/check", c.body)
		if r.status != c.status || !strings.Contains(r.body, c.want) {
			t.Errorf("%.60s: %d %s, want %d %s", c.body, r.status, r.body, c.status, c.want)
		}
		if r.status != 200 {
			g.problem(r)
		}
	}
	g.expect(429, "/", "X-User: alice")
	if r := g.do("GET", g.admin+"/api/v1/limits", ""); r.status != 200 || !strings.Contains(r.body, `"rate": "1/h"`) ||
		!strings.Contains(r.body, `"name": "(ad hoc)"`) {
		t.Errorf("%d: %s", r.status, r.body)
	}
}

func limitMetrics(t *testing.T, program string) {
	g := limitStart(t, program, limitBehind+`limits: {a: {rate: 1/h, max_keys: 1}}
routes: [{path: /*, upstream: app, limits: [a]}]
`)
	g.expect(200, "/", "X-User: alice")
	g.expect(429, "/", "X-User: alice")
	g.expect(200, "/", "X-User: bob")
	page := g.do("GET", g.admin+"/metrics", "").body
	for _, want := range []string{
		`sluice_limit_decisions_total{outcome="allowed",rule="a"} 2`,
		`sluice_limit_decisions_total{outcome="refused",rule="a"} 1`,
		`sluice_limit_keys{rule="a"} 1`,
		`sluice_limit_forgotten_total{rule="a",state="indebted"} 1`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}

// Many clients at once get what the rule allows, to the last request.
func limitFlood(t *testing.T, program string) {
	g := limitStart(t, program, limitBehind+`limits: {a: {rate: 1/h, burst: 99, per: global}}
routes: [{path: /*, upstream: app, limits: [a]}]
`)
	statuses := make(chan int)
	for i := range 8 {
		go func() {
			for range 50 {
				statuses <- limitStatus(g.url, fmt.Sprint(i))
			}
		}()
	}
	count := map[int]int{}
	for range 8 * 50 {
		count[<-statuses]++
	}
	if count[200] != 100 || count[429] != 300 || g.served.Load() != 100 {
		t.Errorf("%v, %d served", count, g.served.Load())
	}
}

// limitStatus asks once and returns the status, 0 for an error.
func limitStatus(url, user string) int {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return 0
	}
	req.Header.Set("X-User", user)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}
