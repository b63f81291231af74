package limit_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/redislimit"
	"github.com/sluicegate/sluice/test/redistest"
)

// newSharedWorld makes a stage on a Redis of its own. Decisions have so much time that a busy machine is no outage.
func newSharedWorld(t testing.TB, limits string) (*world, *redistest.Server) {
	t.Helper()
	server := redistest.Start(t)
	shared, err := limit.OpenShared(redislimit.Config{Options: redis.UniversalOptions{Addrs: []string{server.Addr}}, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := shared.Close(); err != nil && !errors.Is(err, redislimit.ErrUnavailable) {
			t.Error(err)
		}
	})
	w := &world{t: t, stage: limit.New(shared), now: time.Now()}
	t.Cleanup(w.stage.Close)
	w.reload("redis: redis://" + server.Addr + "/0\n" + limits)
	return w, server
}

// metric is the value of a gauge without labels.
func (w *world) metric(name string) float64 {
	w.t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(w.stage)
	families, err := reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	w.t.Fatalf("no metric %s", name)
	panic("unreachable")
}

// until waits until cond holds; patience bounds a failing test.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestSharedModes(t *testing.T) {
	for _, mode := range []string{"strict", "lease"} {
		t.Run(mode, func(t *testing.T) {
			w, _ := newSharedWorld(t, "limits:\n  near: {rate: 1/h, burst: 9}\n  far: {rate: 1/h, burst: 2, mode: "+mode+"}\n"+
				"  seen: {rate: 1/h, burst: 1, mode: "+mode+", shadow: true}\n")
			for range 3 {
				w.expect(limit.Passed)
			}
			if got := w.grant.Shadowed(); got != "seen" {
				t.Errorf("the rule that only reports would have refused, and %q did", got)
			}
			w.expect(limit.Refused)
			if got := strings.Join(w.grant.Violated(), " "); got != "far" || w.grant.RetryAfter() <= 0 || w.grant.RetryAfter() > time.Hour {
				t.Errorf("%s refused, for %v", got, w.grant.RetryAfter())
			}
			if near := w.status("near"); near.Allowed != 3 || near.Keys != 1 {
				t.Errorf("%+v", near)
			}
			for range 6 { // what far refused has been given back to near
				w.expect(limit.Refused)
			}
			name := "near"
			one := int64(1)
			alice := "alice"
			if a, err := w.stage.Check(&limit.Query{Rule: &name, Key: &alice, Cost: &one, Peek: true}); err != nil || a.Remaining != 7 {
				t.Errorf("near has %+v left, %v", a, err)
			}
		})
	}
}

// await decides requests until one passes.
func (w *world) await() {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if w.ask() == limit.Passed {
			return
		}
	}
	w.t.Fatalf("nothing passes; violated: %v", w.grant.Violated())
}

// A request that nobody served costs nothing, and its decision says so.
func TestSharedRefund(t *testing.T) {
	for _, mode := range []string{"strict", "lease"} {
		t.Run(mode, func(t *testing.T) {
			w, _ := newSharedWorld(t, "limits: {far: {rate: 1/h, burst: 2, mode: "+mode+"}}")
			pass := func() { w.expect(limit.Passed) }
			if mode == "lease" { // what is given back is on its way for a moment; a refused request spends nothing
				pass = w.await
			}
			for range 20 {
				pass()
				w.grant.Refund()
				w.grant.Refund()
			}
			for range 3 {
				pass()
			}
			w.expect(limit.Refused)
		})
	}
}

// The name of a client is a view of a buffer that is used for something else afterwards. Nobody may keep it.
func TestSharedKeysAreCopied(t *testing.T) {
	w, server := newSharedWorld(t, "limits: {far: {rate: 1/h, burst: 2, mode: lease}}")
	ask := func(name string) limit.Outcome {
		buffer := []byte(name)
		defer copy(buffer, "?????")
		return w.ask(func(q *limit.Request) { q.Client = buffer })
	}
	story := func(a, b string) {
		t.Helper()
		for i, who := range []string{a, a, a, b, a} {
			want := limit.Passed
			if i == 4 {
				want = limit.Refused
			}
			if got := ask(who); got != want {
				t.Fatalf("request %d, of %s: outcome %d, want %d", i, who, got, want)
			}
		}
	}
	story("alice", "bobby")
	if got := w.metric("sluice_limit_lease_keys"); got != 2 {
		t.Errorf("this node remembers %v clients, and there were 2", got)
	}
	server.Kill()
	until(t, "this node to decide alone", func() bool { return ask("carol") == limit.Refused })
	story("danny", "ellen") // of the others it knows from before that they have to wait
}

func TestSharedOnError(t *testing.T) {
	for _, mode := range []string{"strict", "lease"} {
		t.Run(mode, func(t *testing.T) {
			rules := "  open: {rate: 1/h, burst: 2, mode: " + mode + ", on_error: open}\n  share: {rate: 1/h, burst: 2, mode: " + mode + "}\n"
			w, server := newSharedWorld(t, "limits:\n"+rules+"  closed: {rate: 1/h, burst: 9, mode: "+mode+", on_error: closed}\n")
			redisIs := "redis: redis://" + server.Addr + "/0\nlimits:\n"
			server.Kill()
			w.expect(limit.Undecided, from("bob")) // one that is closed closes all
			if got := w.grant.Violated(); len(got) > 0 {
				t.Errorf("%v refused, and nothing was decided", got)
			}
			w.reload(redisIs + rules)
			for range 5 { // both let it pass, and what nobody served is given back
				w.expect(limit.Passed, from("bob"))
				w.grant.Refund()
			}
			for range 3 {
				w.expect(limit.Passed, from("bob"))
			}
			w.expect(limit.Refused, from("bob"))
			if got := strings.Join(w.grant.Violated(), " "); got != "share" {
				t.Errorf("%s refused", got)
			}
			bob := "bob"
			for name, want := range map[string]bool{"open": true, "share": false} {
				for _, peek := range []bool{true, false} {
					a, err := w.stage.Check(&limit.Query{Rule: &name, Key: &bob, Peek: peek})
					if err != nil || a.Allowed != want {
						t.Errorf("%s, peek %v: %+v, %v", name, peek, a, err)
					}
				}
			}
			w.reload(redisIs + "  closed: {rate: 1/h, mode: " + mode + ", on_error: closed}\n  seen: {rate: 1/h, mode: " + mode + ", on_error: closed, shadow: true}\n")
			name := "closed"
			for _, peek := range []bool{true, false} {
				if a, err := w.stage.Check(&limit.Query{Rule: &name, Key: &bob, Peek: peek}); !errors.Is(err, redislimit.ErrUnavailable) {
					t.Errorf("closed, peek %v: %+v, %v", peek, a, err)
				}
			}
		})
	}
}

// Overrides at run time go before those of the configuration, and without a burst they leave it as it is.
func TestRunTimeOverrides(t *testing.T) {
	w, _ := newSharedWorld(t, "limits:\n  a: {rate: 1/s, burst: 4, overrides: {alice: {rate: 2/s, burst: 6}}}\n  ip: {rate: 1/s, per: ip}\n")
	w.set = w.rules.Set([]string{"a"})
	left := func(name string) int64 {
		rule := "a"
		a, err := w.stage.Check(&limit.Query{Rule: &rule, Key: &name, Peek: true})
		if err != nil {
			t.Fatal(err)
		}
		return a.Limit
	}
	set := func(o limit.Override) {
		t.Helper()
		if _, err := w.stage.SetOverride(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if got := left("alice"); got != 7 {
		t.Fatalf("alice has %d", got)
	}
	burst := int64(19)
	set(limit.Override{Client: "alice", Rule: "a", Rate: "60/min", Burst: &burst})
	until(t, "alice to have 20", func() bool { return left("alice") == 20 })
	for range 20 {
		w.expect(limit.Passed)
	}
	w.expect(limit.Refused)
	set(limit.Override{Client: "alice", Rule: "a", Rate: "1/day"})
	until(t, "alice to have the burst of the configuration", func() bool { return left("alice") == 7 })
	if was, err := w.stage.UnsetOverride(t.Context(), "alice", "a"); !was || err != nil {
		t.Fatal(was, err)
	}
	if got := left("bob"); got != 5 {
		t.Errorf("bob has %d", got)
	}
	var mistake *limit.QueryError
	if _, err := w.stage.SetOverride(t.Context(), limit.Override{Client: "alice", Rule: "ip", Rate: "1/s"}); !errors.As(err, &mistake) {
		t.Errorf("per ip: %v", err)
	}
	if _, err := w.stage.SetOverride(t.Context(), limit.Override{Client: "alice", Rule: "b", Rate: "1/s"}); !errors.Is(err, limit.ErrNoRule) {
		t.Errorf("no rule: %v", err)
	}
	if _, err := newWorld(t, "").stage.Overrides(t.Context(), "", ""); !errors.Is(err, limit.ErrNoRedis) {
		t.Errorf("without Redis: %v", err)
	}
}

func BenchmarkDecideShared(b *testing.B) {
	for _, mode := range []string{"strict", "lease"} {
		b.Run(mode, func(b *testing.B) {
			w, _ := newSharedWorld(b, "limits: {client: {rate: 1000000000/s, burst: 1000000000, mode: "+mode+"}}")
			q := request()
			q.Time = w.now
			b.ReportAllocs()
			for b.Loop() {
				if w.set.Decide(&w.grant, &q) != limit.Passed {
					b.Fatal("refused")
				}
			}
		})
	}
}
