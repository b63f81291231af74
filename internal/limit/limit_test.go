package limit_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/limit"
)

// parse reads a configuration of the limits that are given, and whatever else stands at the top level.
func parse(t testing.TB, limits string) *config.Config {
	t.Helper()
	text := "upstreams: {a: {targets: [\"http://127.0.0.1:9090\"]}}\nroutes: [{path: /*, upstream: a}]\n" + limits
	c, err := config.Parse("sluice.yaml", []byte(text), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// world is a stage with a configuration and a clock of its own.
type world struct {
	t     testing.TB
	stage *limit.Stage
	rules *limit.Rules
	set   *limit.Set
	grant limit.Grant
	now   time.Time
}

// newWorld makes a stage with limits, all of which apply, in the order of the file.
func newWorld(t testing.TB, limits string) *world {
	t.Helper()
	w := &world{t: t, stage: limit.New(nil), now: time.Now()}
	t.Cleanup(w.stage.Close)
	w.reload(limits)
	return w
}

func (w *world) reload(limits string) {
	w.t.Helper()
	c := parse(w.t, limits)
	w.rules = w.stage.Apply(c)
	w.set = w.rules.Set(c.LimitNames)
}

// request is one of alice, from 192.0.2.1, to /x, but for what the options change.
func request(options ...func(*limit.Request)) limit.Request {
	q := limit.Request{
		Client: []byte("alice"),
		Addr:   netip.MustParseAddr("192.0.2.1"),
		Route:  "/*",
		Path:   []byte("/x"),
		HTTP:   &http1.Request{Method: []byte("GET")},
	}
	for _, o := range options {
		o(&q)
	}
	return q
}

func from(name string) func(*limit.Request) {
	return func(q *limit.Request) { q.Client = []byte(name) }
}
func at(addr string) func(*limit.Request) {
	return func(q *limit.Request) { q.Addr = netip.MustParseAddr(addr) }
}
func route(name string) func(*limit.Request) { return func(q *limit.Request) { q.Route = name } }
func get(method, path string) func(*limit.Request) {
	return func(q *limit.Request) { q.HTTP.Method, q.Path = []byte(method), []byte(path) }
}
func field(name, value string) func(*limit.Request) {
	return func(q *limit.Request) {
		q.HTTP.Fields = append(q.HTTP.Fields, http1.Field{Name: []byte(name), Value: []byte(value)})
	}
}

// ask decides one request now.
func (w *world) ask(options ...func(*limit.Request)) limit.Outcome {
	q := request(options...)
	q.Time = w.now
	return w.set.Decide(&w.grant, &q)
}

// expect decides a request and compares.
func (w *world) expect(want limit.Outcome, options ...func(*limit.Request)) {
	w.t.Helper()
	if got := w.ask(options...); got != want {
		w.t.Fatalf("outcome %d, want %d; violated: %v", got, want, w.grant.Violated())
	}
}

// status is what the stage says of a rule.
func (w *world) status(name string) limit.Status {
	w.t.Helper()
	for _, s := range w.stage.List() {
		if s.Name == name {
			return s
		}
	}
	w.t.Fatalf("no rule %s", name)
	panic("unreachable")
}

func TestBurstAndRate(t *testing.T) {
	w := newWorld(t, "limits: {a: {rate: 1/s, burst: 4}}")
	for range 5 {
		w.expect(limit.Passed)
	}
	w.expect(limit.Refused)
	if got := w.grant.RetryAfter(); got != time.Second {
		t.Errorf("RetryAfter = %v", got)
	}
	if got := fmt.Sprint(w.grant.Violated()); got != "[a]" {
		t.Errorf("Violated = %s", got)
	}
	w.expect(limit.Passed, from("bob"))
	w.now = w.now.Add(time.Second)
	w.expect(limit.Passed)
	w.expect(limit.Refused)
	if s := w.status("a"); s.Allowed != 7 || s.Refused != 2 || s.ShadowRefused != 0 || s.Keys != 2 {
		t.Errorf("%+v", s)
	}
}

func TestPer(t *testing.T) {
	for _, c := range []struct {
		per          string
		same, others [2]func(*limit.Request)
	}{
		{"client", [2]func(*limit.Request){at("192.0.2.9"), route("/other")}, [2]func(*limit.Request){from("bob"), from("")}},
		{"route", [2]func(*limit.Request){at("192.0.2.9"), from("bob")}, [2]func(*limit.Request){route("/other"), route("GET /*")}},
		{"global", [2]func(*limit.Request){at("192.0.2.9"), from("bob")}, [2]func(*limit.Request){}},
		{"ip", [2]func(*limit.Request){from("bob"), at("::ffff:192.0.2.1")}, [2]func(*limit.Request){at("192.0.2.2"), at("2001:db8::1")}},
	} {
		t.Run(c.per, func(t *testing.T) {
			w := newWorld(t, "limits: {a: {rate: 1/h, per: "+c.per+"}}")
			w.expect(limit.Passed)
			for _, o := range c.same {
				w.expect(limit.Refused, o)
			}
			for _, o := range c.others {
				if o != nil {
					w.expect(limit.Passed, o)
				}
			}
		})
	}
}

// One subscriber has a whole /64 of IPv6, so it shares one allowance.
func TestPerIPv6Network(t *testing.T) {
	w := newWorld(t, "limits: {a: {rate: 1/h, per: ip}}")
	w.expect(limit.Passed, at("2001:db8:1:2::1"))
	w.expect(limit.Refused, at("2001:db8:1:2:ffff::9"))
	w.expect(limit.Refused, at("2001:db8:1:2::1%eth0"))
	w.expect(limit.Passed, at("2001:db8:1:3::1"))
	w.expect(limit.Passed, func(q *limit.Request) { q.Addr = netip.Addr{} })
}

// What one rule refuses is not taken from the others, wherever it stands.
func TestAllOrNothing(t *testing.T) {
	w := newWorld(t, `limits:
  global: {rate: 1/h, burst: 9, per: global}
  client: {rate: 1/h, burst: 1}
  ip: {rate: 1/h, burst: 9, per: ip}
`)
	w.expect(limit.Passed)
	w.expect(limit.Passed)
	for range 20 {
		w.expect(limit.Refused)
		if got := fmt.Sprint(w.grant.Violated()); got != "[client]" {
			t.Fatalf("Violated = %s", got)
		}
	}
	for i := range 8 {
		w.expect(limit.Passed, from(fmt.Sprint(i)))
	}
	w.expect(limit.Refused)
	if got := fmt.Sprint(w.grant.Violated()); got != "[global client ip]" {
		t.Errorf("Violated = %s", got)
	}
	if s := w.status("global"); s.Allowed != 10 || s.Refused != 1 {
		t.Errorf("%+v", s)
	}
}

func TestShadow(t *testing.T) {
	w := newWorld(t, `limits:
  trial: {rate: 1/h, shadow: true}
  client: {rate: 1/h, burst: 2}
`)
	w.expect(limit.Passed)
	if got := w.grant.Shadowed(); got != "" {
		t.Errorf("Shadowed = %q", got)
	}
	w.expect(limit.Passed)
	if got := w.grant.Shadowed(); got != "trial" {
		t.Errorf("Shadowed = %q", got)
	}
	w.expect(limit.Passed)
	w.expect(limit.Refused) // by client: trial isn't asked
	if got := fmt.Sprint(w.grant.Violated(), w.grant.Shadowed()); got != "[client]" {
		t.Errorf("Violated, Shadowed = %s", got)
	}
	if s := w.status("trial"); s.Allowed != 1 || s.ShadowRefused != 2 || s.Refused != 0 || !s.Shadow {
		t.Errorf("%+v", s)
	}
}

func TestOverrides(t *testing.T) {
	w := newWorld(t, "limits: {a: {rate: 1/h, burst: 9, overrides: {alice: {rate: 1/h}, bob: {rate: 1/h, burst: 1}}}}")
	w.expect(limit.Passed)
	w.expect(limit.Refused)
	w.expect(limit.Passed, from("bob"))
	w.expect(limit.Passed, from("bob"))
	w.expect(limit.Refused, from("bob"))
	for range 10 {
		w.expect(limit.Passed, from("carol"))
	}
	w.expect(limit.Refused, from("carol"))
}

func TestMatch(t *testing.T) {
	w := newWorld(t, `limits:
  posts: {rate: 1/h, match: {methods: [POST, PUT]}}
  below: {rate: 1/h, match: {path: /a/*}}
  exact: {rate: 1/h, match: {path: /b, methods: [GET]}}
`)
	for _, free := range [][2]string{{"GET", "/"}, {"GET", "/a"}, {"GET", "/b/"}, {"DELETE", "/b"}} {
		w.expect(limit.Passed, get(free[0], free[1]))
		w.expect(limit.Passed, get(free[0], free[1]))
	}
	w.expect(limit.Passed, get("PUT", "/"))
	w.expect(limit.Refused, get("POST", "/"))
	w.expect(limit.Passed, get("GET", "/a/"))
	w.expect(limit.Refused, get("GET", "/a/b"))
	w.expect(limit.Passed, get("GET", "/b"))
	w.expect(limit.Refused, get("GET", "/b"))
}

func TestCost(t *testing.T) {
	w := newWorld(t, `limits: {a: {rate: 1/h, burst: 9, cost: {header: X-Cost}}}`)
	w.expect(limit.Passed, field("x-cost", "7"))
	w.expect(limit.Refused, field("X-Cost", "4"))
	w.expect(limit.Passed, field("X-Cost", "0"))
	w.expect(limit.Passed) // 1
	w.expect(limit.Passed, field("X-Cost", "002"))
	w.expect(limit.Refused)
	w.expect(limit.Refused, field("X-Cost", "11"))
	if w.grant.RetryAfter() != limit.Never {
		t.Errorf("RetryAfter = %v of a cost above burst and one", w.grant.RetryAfter())
	}
	for _, bad := range []string{"", "-1", "+1", "1.5", "1 ", "0x1", "many", "1000000000000000", "99999999999999999999"} {
		w.expect(limit.BadCost, field("X-Cost", bad))
		if w.grant.CostField() != "X-Cost" {
			t.Errorf("CostField = %q", w.grant.CostField())
		}
	}
	w.expect(limit.BadCost, field("X-Cost", "1"), field("X-Cost", "1"))

	fixed := newWorld(t, "limits: {a: {rate: 1/h, burst: 9, cost: 5}}")
	fixed.expect(limit.Passed)
	fixed.expect(limit.Passed)
	fixed.expect(limit.Refused)
}

// A field with the cost of one rule that is malformed takes nothing from another.
func TestBadCostSpendsNothing(t *testing.T) {
	w := newWorld(t, "limits: {a: {rate: 1/h}, b: {rate: 1/h, cost: {header: X-Cost}}}")
	w.expect(limit.BadCost, field("X-Cost", "?"))
	w.expect(limit.Passed)
}

func TestRefund(t *testing.T) {
	w := newWorld(t, `limits:
  a: {rate: 1/h, per: global}
  b: {rate: 1/h, burst: 3, cost: 4}
  s: {rate: 1/h, shadow: true}
`)
	for range 3 {
		w.expect(limit.Passed)
		if w.grant.Shadowed() != "" {
			t.Fatal("the shadow rule was not refunded")
		}
		w.grant.Refund()
		w.grant.Refund() // no effect
	}
	w.expect(limit.Passed)
	w.expect(limit.Refused)
	w.grant.Refund() // of what was refused: no effect
	w.expect(limit.Refused)
}

// A reload keeps what was spent, under another rate too; another per counts other things.
func TestReloadKeepsDebt(t *testing.T) {
	w := newWorld(t, "limits: {a: {rate: 1/h, burst: 4}, gone: {rate: 1/h}}")
	for range 5 {
		w.reload("limits: {a: {rate: 1/h, burst: 4}}")
		w.expect(limit.Passed)
	}
	w.reload("limits: {b: {rate: 1/s}, a: {rate: 1/h, burst: 4}}")
	w.expect(limit.Refused)
	w.reload("limits: {a: {rate: 2/h, burst: 1}}")
	w.expect(limit.Refused)
	if s := w.status("a"); s.Allowed != 5 || s.Refused != 2 {
		t.Errorf("%+v", s)
	}
	w.reload("limits: {a: {rate: 1/h, burst: 4, per: global}}")
	w.expect(limit.Passed)
}

func TestStanding(t *testing.T) {
	w := newWorld(t, `access:
  allow: [alice, both, 10.0.0.0/8, 2001:db8::/32, 192.0.2.7]
  deny: [mallory, both, 10.9.0.0/16, "2001:db8:bad::/48"]
`)
	for _, c := range []struct {
		name, addr string
		want       limit.Standing
	}{
		{"carol", "192.0.2.1", limit.Ordinary},
		{"alice", "192.0.2.1", limit.Exempt},
		{"Alice", "192.0.2.1", limit.Ordinary},
		{"carol", "10.1.2.3", limit.Exempt},
		{"carol", "::ffff:10.1.2.3", limit.Exempt},
		{"carol", "192.0.2.7", limit.Exempt},
		{"carol", "192.0.2.8", limit.Ordinary},
		{"carol", "2001:db8:1::1", limit.Exempt},
		{"carol", "2001:db9::1", limit.Ordinary},
		{"mallory", "10.1.2.3", limit.Denied},
		{"both", "192.0.2.1", limit.Denied},
		{"alice", "10.9.1.1", limit.Denied},
		{"alice", "2001:db8:bad::1", limit.Denied},
	} {
		if got := w.rules.Standing([]byte(c.name), netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("Standing(%s, %s) = %d, want %d", c.name, c.addr, got, c.want)
		}
	}
	if got := w.rules.Standing([]byte("carol"), netip.Addr{}); got != limit.Ordinary {
		t.Errorf("without an address: %d", got)
	}
}

func TestNoRules(t *testing.T) {
	w := newWorld(t, "")
	if w.set != nil {
		t.Fatal("a set without rules")
	}
	w.expect(limit.Passed)
	w.grant.Refund()
}

// What the buffer of a connection held when a client came first is overwritten by the next request. The client must be known all
// the same.
func TestKeysOutliveTheirBuffer(t *testing.T) {
	w := newWorld(t, "limits: {a: {rate: 1/h}, b: {rate: 1/h, per: ip}}")
	buffer := []byte("alice")
	name := func(q *limit.Request) { q.Client = buffer }
	w.expect(limit.Passed, name)
	copy(buffer, "bobby")
	w.expect(limit.Passed, name, at("192.0.2.2"))
	copy(buffer, "alice")
	w.expect(limit.Refused, name, at("192.0.2.3"))
	w.expect(limit.Refused, from("bobby"), at("192.0.2.3"))
	w.expect(limit.Passed, from("carol"), at("192.0.2.3"))
}

const eachKind = `limits:
  everyone: {rate: 1000000000/s, per: global}
  client: {rate: 1000000/s, burst: 1000, overrides: {bob: {rate: 1000/s}}, cost: {header: X-Cost}}
  ip: {rate: 1000000/s, burst: 1000, per: ip, match: {methods: [GET], path: /*}}
  route: {rate: 1000000/s, burst: 1000, per: route}
  shadow: {rate: 1/h, shadow: true}
access: {allow: [10.0.0.0/8], deny: [mallory]}
`

func TestDecideAllocatesNothing(t *testing.T) {
	w := newWorld(t, eachKind)
	for _, q := range []limit.Request{request(), request(from("bob"), at("2001:db8::1"), field("X-Cost", "1"))} {
		allocs := testing.AllocsPerRun(1000, func() {
			w.now = w.now.Add(time.Millisecond)
			q.Time = w.now
			if w.rules.Standing(q.Client, q.Addr) != limit.Ordinary || w.set.Decide(&w.grant, &q) != limit.Passed {
				t.Error("refused")
			}
			w.grant.Refund()
		})
		if allocs != 0 {
			t.Errorf("%v allocations", allocs)
		}
	}
	refused := newWorld(t, strings.ReplaceAll(eachKind, "1000000/s, burst: 1000", "1/h"))
	q := request()
	q.Time = refused.now
	refused.set.Decide(&refused.grant, &q)
	if allocs := testing.AllocsPerRun(1000, func() { refused.set.Decide(&refused.grant, &q) }); allocs != 0 {
		t.Errorf("%v allocations of a request that is refused", allocs)
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, c := range []struct{ name, limits string }{
		{"one", "limits: {client: {rate: 1000000/s, burst: 1000}}"},
		{"two", "limits: {everyone: {rate: 1000000000/s, per: global}, client: {rate: 1000000/s, burst: 1000}}"},
		{"five", eachKind},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b, c.limits)
			q := request()
			b.ReportAllocs()
			for b.Loop() {
				w.now = w.now.Add(time.Millisecond)
				q.Time = w.now
				if w.set.Decide(&w.grant, &q) != limit.Passed {
					b.Fatal("refused")
				}
			}
		})
	}
}
