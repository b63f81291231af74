package rls_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	descriptor "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	pb "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/rls"
)

// world is a service with a client, over a socket.
type world struct {
	t      testing.TB
	stage  *limit.Stage
	server *rls.Server
	reg    *prometheus.Registry
	conn   *grpc.ClientConn
	client pb.RateLimitServiceClient
}

// newWorld serves the domain "edge" with limits, and whatever else stands at the top level.
func newWorld(t testing.TB, limits string, options ...func(*rls.Options)) *world {
	t.Helper()
	w := &world{t: t, stage: limit.New(nil), reg: prometheus.NewRegistry()}
	t.Cleanup(w.stage.Close)
	text := "upstreams: {a: {targets: [\"http://127.0.0.1:9090\"]}}\nroutes: [{path: /*, upstream: a}]\n" + limits
	c, err := config.Parse("sluice.yaml", []byte(text), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.stage.Apply(c)
	opts := rls.Options{Limits: w.stage, Domain: "edge", Metrics: w.reg}
	for _, o := range options {
		o(&opts)
	}
	w.server = rls.New(opts)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- w.server.Serve(ln) }()
	t.Cleanup(func() {
		w.server.Shutdown(context.Background())
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	if w.conn, err = grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.conn.Close() })
	w.client = pb.NewRateLimitServiceClient(w.conn)
	return w
}

// entries makes a descriptor of keys and values in turn.
func entries(keysAndValues ...string) *descriptor.RateLimitDescriptor {
	d := new(descriptor.RateLimitDescriptor)
	for i := 0; i < len(keysAndValues); i += 2 {
		d.Entries = append(d.Entries, &descriptor.RateLimitDescriptor_Entry{Key: keysAndValues[i], Value: keysAndValues[i+1]})
	}
	return d
}

func hits(n uint64, d *descriptor.RateLimitDescriptor) *descriptor.RateLimitDescriptor {
	d.HitsAddend = wrapperspb.UInt64(n)
	return d
}

func giveBack(d *descriptor.RateLimitDescriptor) *descriptor.RateLimitDescriptor {
	d.IsNegativeHits = true
	return d
}

func call(list ...*descriptor.RateLimitDescriptor) *pb.RateLimitRequest {
	return &pb.RateLimitRequest{Domain: "edge", Descriptors: list}
}

func (w *world) ask(req *pb.RateLimitRequest) *pb.RateLimitResponse {
	w.t.Helper()
	r, err := w.client.ShouldRateLimit(w.t.Context(), req)
	if err != nil {
		w.t.Fatalf("%v: %v", req, err)
	}
	if len(r.Statuses) != len(req.Descriptors) {
		w.t.Fatalf("%d statuses of %d descriptors", len(r.Statuses), len(req.Descriptors))
	}
	return r
}

// expect asks, and compares the overall code, and of each descriptor the code and what is left, as in "OK: OK 4, OVER_LIMIT 0". A
// descriptor that is not limited has no number.
func (w *world) expect(want string, list ...*descriptor.RateLimitDescriptor) *pb.RateLimitResponse {
	w.t.Helper()
	r := w.ask(call(list...))
	if got := show(r); got != want {
		w.t.Errorf("%v: %s, want %s", list, got, want)
	}
	return r
}

func show(r *pb.RateLimitResponse) string {
	var parts []string
	for _, s := range r.Statuses {
		text := s.Code.String()
		if s.CurrentLimit != nil {
			text += fmt.Sprint(" ", s.LimitRemaining)
		}
		parts = append(parts, text)
	}
	return r.OverallCode.String() + ": " + strings.Join(parts, ", ")
}

func TestRuleOfTheLastKey(t *testing.T) {
	w := newWorld(t, `limits:
  client: {rate: 1/h, burst: 4, overrides: {bob: {rate: 1/h}}}
  address: {rate: 1/h, per: ip}
  everyone: {rate: 1/h, burst: 1, per: global}
  costly: {rate: 1/h, burst: 4, cost: 3}
`)
	for _, c := range []struct {
		want string
		d    *descriptor.RateLimitDescriptor
	}{
		{"OK: OK 4", entries("client", "alice")},
		{"OK: OK 3", entries("client", "alice")},
		{"OK: OK 4", entries("tenant", "acme", "client", "alice")}, // another allowance of the same rule
		{"OK: OK 4", entries("tenant", "other", "client", "alice")},
		{"OK: OK", entries("client", "alice", "unknown", "x")},
		{"OK: OK 0", entries("client", "bob")},
		{"OVER_LIMIT: OVER_LIMIT 0", entries("client", "bob")},
		{"OK: OK 4", entries("client", "")},
		{"OK: OK 0", entries("address", "192.0.2.1")},
		{"OVER_LIMIT: OVER_LIMIT 0", entries("address", "::ffff:192.0.2.1")},
		{"OK: OK 0", entries("address", "2001:db8::1")},
		{"OVER_LIMIT: OVER_LIMIT 0", entries("address", "2001:db8::2")},
		{"OK: OK 0", entries("address", "not an address")},
		{"OVER_LIMIT: OVER_LIMIT 0", entries("address", "nor this")},
		{"OK: OK 1", entries("everyone", "a")},
		{"OK: OK 0", entries("everyone", "b")},
		{"OVER_LIMIT: OVER_LIMIT 0", entries("everyone", "c")},
		{"OK: OK 2", entries("costly", "a")},
		{"OVER_LIMIT: OVER_LIMIT 2", entries("costly", "a")},
		{"OK: OK 1", hits(1, entries("costly", "a"))},
	} {
		w.expect(c.want, c.d)
	}
}

// What a client sends to the gateway and what a proxy asks about the client come out of the same allowance.
func TestSharesWithTheStage(t *testing.T) {
	w := newWorld(t, "limits: {client: {rate: 1/h, burst: 1}}")
	rule, key := "client", "alice"
	if a, err := w.stage.Check(&limit.Query{Rule: &rule, Key: &key}); err != nil || a.Remaining != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	w.expect("OK: OK 0", entries("client", "alice"))
	if a, err := w.stage.Check(&limit.Query{Rule: &rule, Key: &key}); err != nil || a.Allowed {
		t.Fatalf("%+v, %v", a, err)
	}
}

func TestAllOrNothing(t *testing.T) {
	w := newWorld(t, `limits:
  everyone: {rate: 1/h, burst: 9, per: global}
  client: {rate: 1/h}
  trial: {rate: 1/h, shadow: true}
`)
	all := func(name string) []*descriptor.RateLimitDescriptor {
		return []*descriptor.RateLimitDescriptor{
			entries("trial", name), entries("unknown", "x"), entries("everyone", ""), entries("client", name),
		}
	}
	w.expect("OK: OK 0, OK, OK 9, OK 0", all("alice")...)
	w.expect("OVER_LIMIT: OK 0, OK, OK 9, OVER_LIMIT 0", all("alice")...)
	w.expect("OVER_LIMIT: OK 0, OK, OK 9, OVER_LIMIT 0", all("alice")...)
	w.expect("OK: OK 0, OK, OK 8, OK 0", all("bob")...)
	w.expect("OK: OK 0", entries("trial", "alice")) // it only reports
	w.expect("OVER_LIMIT: OK 1, OVER_LIMIT 0", entries("client", "carol"), entries("client", "carol"))
	w.expect("OK: OK 0", entries("client", "carol"))
	for _, s := range w.stage.List() {
		if s.Name == "trial" && s.ShadowRefused != 1 {
			t.Errorf("%+v", s)
		}
	}
}

func TestManyDescriptors(t *testing.T) {
	w := newWorld(t, "limits: {client: {rate: 1/h}}")
	var list []*descriptor.RateLimitDescriptor
	for i := range 32 {
		list = append(list, entries("client", fmt.Sprint(i)))
	}
	if r := w.ask(call(list...)); r.OverallCode != pb.RateLimitResponse_OK {
		t.Errorf("%v", show(r))
	}
	w.expect("OVER_LIMIT: OK 1, OVER_LIMIT 0", entries("client", "new"), entries("client", "31"))
}

func TestCost(t *testing.T) {
	w := newWorld(t, "limits: {client: {rate: 1/h, burst: 9}}")
	req := call(entries("client", "a"), hits(5, entries("client", "b")), hits(0, entries("client", "c")))
	req.HitsAddend = 3
	if got, want := show(w.ask(req)), "OK: OK 7, OK 5, OK 10"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	w.expect("OK: OK 7", hits(0, entries("client", "a")))
	r := w.expect("OVER_LIMIT: OVER_LIMIT 10", hits(1<<63, entries("client", "d")))
	if headers := headersOf(r); headers["Retry-After"] != "" {
		t.Errorf("a cost that never fits: %v", headers)
	}
}

func TestRefund(t *testing.T) {
	w := newWorld(t, "limits: {client: {rate: 1/h, burst: 9}, other: {rate: 1/h}}")
	w.expect("OK: OK 2", hits(8, entries("client", "a")))
	w.expect("OK: OK 7", giveBack(hits(5, entries("client", "a"))))
	w.expect("OK: OK 8, OK 0", giveBack(entries("client", "a")), entries("other", "a"))
	w.expect("OVER_LIMIT: OK 8, OVER_LIMIT 0", giveBack(entries("client", "a")), entries("other", "a"))
	w.expect("OK: OK 10", giveBack(hits(100, entries("client", "a"))))
}

// Different values never make the same key.
func TestKeysAreUnambiguous(t *testing.T) {
	w := newWorld(t, "limits: {client: {rate: 1/h}}")
	long := strings.Repeat("x", 2000)
	for _, d := range []*descriptor.RateLimitDescriptor{
		entries("client", "a/b"), entries("x", "a", "client", "b"), entries("client", "ab"), entries("client", "a\x1fb"),
		entries("client", "a\x1bsb"), entries("x", "a\x1b", "client", "sb"), entries("x", "a\x1f", "client", "b"), entries("x", "a", "client", "\x1fb"),
		entries("x", "", "client", ""), entries("client", ""), entries("x", "a", "y", "", "client", "b"),
		entries("client", long), entries("client", long+"x"), entries("x", long, "client", ""),
	} {
		w.expect("OK: OK 0", d)
		w.expect("OVER_LIMIT: OVER_LIMIT 0", d)
	}
}

func TestHeaders(t *testing.T) {
	for _, c := range []struct{ families, allowed, refused string }{
		{"[standard]", `map[RateLimit:"client";r=1;t=3600 RateLimit-Policy:"client";q=2;w=7200]`,
			`map[RateLimit:"client";r=1;t=3600 RateLimit-Policy:"client";q=2;w=7200 Retry-After:3600]`},
		{"[legacy]", `map[X-RateLimit-Limit:2 X-RateLimit-Remaining:1 X-RateLimit-Reset:3600]`,
			`map[Retry-After:3600 X-RateLimit-Limit:2 X-RateLimit-Remaining:1 X-RateLimit-Reset:3600]`},
		{"[]", "map[]", "map[Retry-After:3600]"},
	} {
		w := newWorld(t, "limits: {client: {rate: 1/h, burst: 1}, trial: {rate: 1/h, shadow: true}}\nrate_limit_headers: "+c.families)
		two := []*descriptor.RateLimitDescriptor{entries("client", "a"), entries("trial", "a"), override(9, entries("x", "a"))}
		if got := fmt.Sprint(headersOf(w.ask(call(two...)))); got != c.allowed {
			t.Errorf("%s, want %s", got, c.allowed)
		}
		two[0] = hits(2, two[0])
		if got := fmt.Sprint(headersOf(w.ask(call(two...)))); got != c.refused {
			t.Errorf("%s, want %s", got, c.refused)
		}
	}
}

func headersOf(r *pb.RateLimitResponse) map[string]string {
	m := map[string]string{}
	for _, h := range r.ResponseHeadersToAdd {
		m[h.Key] = h.Value
	}
	return m
}

func TestOtherDomain(t *testing.T) {
	w := newWorld(t, "limits: {client: {rate: 1/h}}")
	req := call(entries("client", "a"))
	req.Domain = "elsewhere"
	for range 3 {
		if got := show(w.ask(req)); got != "OK: OK" {
			t.Errorf("%s", got)
		}
	}
	w.expect("OK: OK 0", entries("client", "a"))
}

func TestMistakes(t *testing.T) {
	w := newWorld(t, "limits: {client: {rate: 1/h}}")
	many := make([]*descriptor.RateLimitDescriptor, 33)
	for i := range many {
		many[i] = entries("client", "a")
	}
	good := entries("client", "a")
	for _, c := range []struct {
		req  *pb.RateLimitRequest
		want string
	}{
		{&pb.RateLimitRequest{Descriptors: many[:1]}, "domain: missing"},
		{call(), "descriptors: missing, expected at least one"},
		{call(many...), "descriptors: there are 33, expected at most 32"},
		{call(good, entries()), "descriptors[1].entries: missing, expected at least one"},
		{call(entries(make([]string, 34)...)), "descriptors[0].entries: there are 17, expected at most 16"},
		{call(good, entries("client", "a", "", "b")), "descriptors[1].entries[1].key: empty"},
		{call(overrideUnit(entries("x", "a"), 99)), "descriptors[0].limit.unit: 99 is not known"},
		{call(good, override(4_000_000_000, entries("x", "a"))), "descriptors[1].limit.requests_per_unit: "},
	} {
		_, err := w.client.ShouldRateLimit(t.Context(), c.req)
		if status.Code(err) != codes.InvalidArgument || !strings.HasPrefix(status.Convert(err).Message(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	_, err := w.client.ShouldRateLimit(t.Context(), call(entries("client", strings.Repeat("x", 1<<20))))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a call that is too long: %v", err)
	}
	w.expect("OK: OK 0", good) // none of them has spent anything
}

func TestMetrics(t *testing.T) {
	w := newWorld(t, "limits: {client: {rate: 1/h}}")
	w.expect("OK: OK 0", entries("client", "a"))
	w.expect("OVER_LIMIT: OVER_LIMIT 0", entries("client", "a"))
	w.expect("OK: OK", entries("unknown", "a"))
	w.client.ShouldRateLimit(t.Context(), call())
	want := `# HELP sluice_rate_limit_service_calls_total Calls of other proxies, by outcome: ok, over_limit, unlimited (no descriptor has a rule, or another domain), invalid, undecided.
# TYPE sluice_rate_limit_service_calls_total counter
sluice_rate_limit_service_calls_total{outcome="invalid"} 1
sluice_rate_limit_service_calls_total{outcome="ok"} 1
sluice_rate_limit_service_calls_total{outcome="over_limit"} 1
sluice_rate_limit_service_calls_total{outcome="undecided"} 0
sluice_rate_limit_service_calls_total{outcome="unlimited"} 1
`
	if err := testutil.GatherAndCompare(w.reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// patience bounds how long a test waits for something that must happen.
const patience = time.Minute
