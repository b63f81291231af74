package limit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluicegate/sluice/internal/limit"
)

func ask(key, rule string, options ...func(*limit.Query)) *limit.Query {
	q := &limit.Query{}
	if key != "" {
		q.Key = &key
	}
	if rule != "" {
		q.Rule = &rule
	}
	for _, o := range options {
		o(q)
	}
	return q
}

func cost(n int64) func(*limit.Query) { return func(q *limit.Query) { q.Cost = &n } }
func peek(q *limit.Query)             { q.Peek = true }
func per(rate string, burst int64) func(*limit.Query) {
	return func(q *limit.Query) { q.Rate, q.Burst = &rate, &burst }
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, limits string, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, limits)) })
}

// show renders an answer in one line.
func show(a limit.Answer) string {
	wait := "never"
	if a.RetryAfter != nil {
		wait = fmt.Sprint(*a.RetryAfter)
	}
	s := fmt.Sprintf("%v %s %d/%d retry %s reset %v", a.Allowed, a.Rule, a.Remaining, a.Limit, wait, a.ResetAfter)
	if a.ShadowRefuse {
		s += " shadow"
	}
	return s
}

func TestCheck(t *testing.T) {
	const limits = `limits:
  a: {rate: 1/s, burst: 4, overrides: {bob: {rate: 1/min}}}
  two: {rate: 1/s, burst: 4, cost: 2}
  ip: {rate: 1/s, per: ip}
  all: {rate: 1/s, per: global}
  trial: {rate: 1/s, shadow: true}
`
	inBubble(t, limits, func(t *testing.T, w *world) {
		for i, c := range []struct {
			q    *limit.Query
			want string
		}{
			{ask("alice", "a"), "true a 4/5 retry 0 reset 1"},
			{ask("alice", "a", peek), "true a 4/5 retry 0 reset 1"},
			{ask("alice", "a", cost(0)), "true a 4/5 retry 0 reset 1"},
			{ask("alice", "a", cost(4)), "true a 0/5 retry 0 reset 5"},
			{ask("alice", "a"), "false a 0/5 retry 1 reset 5"},
			{ask("alice", "a", peek, cost(2)), "false a 0/5 retry 2 reset 5"},
			{ask("carol", "a", cost(6)), "false a 5/5 retry never reset 0"},
			{ask("bob", "a"), "true a 0/1 retry 0 reset 60"},
			{ask("alice", "two"), "true two 3/5 retry 0 reset 2"},
			{ask("192.0.2.1", "ip"), "true ip 0/1 retry 0 reset 1"},
			{ask("::ffff:192.0.2.1", "ip"), "false ip 0/1 retry 1 reset 1"},
			{ask("2001:db8::1", "ip"), "true ip 0/1 retry 0 reset 1"},
			{ask("2001:db8::/64", "ip"), "false ip 0/1 retry 1 reset 1"},
			{ask("", "all"), "true all 0/1 retry 0 reset 1"},
			{ask("whoever", "all"), "false all 0/1 retry 1 reset 1"},
			{ask("alice", "trial"), "true trial 0/1 retry 0 reset 1"},
			{ask("alice", "trial"), "true trial 0/1 retry 1 reset 1 shadow"},
			{ask("alice", "", per("1/s", 4)), "true  4/5 retry 0 reset 1"},
			{ask("alice", "", per("60/min", 4), peek), "true  4/5 retry 0 reset 1"}, // the same limit
			{ask("alice", "", per("1/s", 3)), "true  3/4 retry 0 reset 1"},          // another
			{ask("alice", "", per("1/s", 4), cost(5)), "false  4/5 retry 1 reset 1"},
		} {
			got, err := w.stage.Check(c.q)
			if err != nil || show(got) != c.want {
				t.Errorf("%d: %s, %v, want %s", i, show(got), err, c.want)
			}
		}
		if s := w.status("a"); s.Allowed != 4 || s.Refused != 2 || s.Keys != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// What is spent through the API is spent for the traffic, and the other way round.
func TestCheckSharesWithTraffic(t *testing.T) {
	w := newWorld(t, "limits: {a: {rate: 1/h, burst: 1}}")
	w.expect(limit.Passed)
	if a, err := w.stage.Check(ask("alice", "a")); err != nil || !a.Allowed {
		t.Fatalf("%+v, %v", a, err)
	}
	w.expect(limit.Refused)
	if a, err := w.stage.Check(ask("alice", "a")); err != nil || a.Allowed {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestCheckMistakes(t *testing.T) {
	w := newWorld(t, "limits: {a: {rate: 1/s}, ip: {rate: 1/s, per: ip}}")
	for _, c := range []struct {
		q    *limit.Query
		want string
	}{
		{ask("alice", ""), "rule: missing, expected the name of a rule, or rate and burst"},
		{ask("", "a"), "key: missing, expected who is counted: the rule is per client"},
		{ask("alice", "ip"), `key: "alice" is no address: the rule is per ip`},
		{ask("192.0.2.0/24", "ip"), `key: "192.0.2.0/24" is no address: the rule is per ip`},
		{ask(strings.Repeat("k", 1025), "a"), "key: longer than 1024 bytes"},
		{ask("alice", "a", cost(-1)), "cost: -1 is out of range, expected 0 or more"},
		{ask("alice", "a", per("1/s", 0)), "rule: goes without rate and burst"},
		{ask("alice", "", per("fast", 0)), "rate: expected a number and a time, as in 100/s, 120/min, 3/h, 1/day or 5/250ms"},
		{ask("alice", "", per("1/s", -1)), "burst: burst is -1, must be from 0 to 2⁶¹-1"},
		{ask("", "", per("1/s", 0)), "key: missing, expected who is counted"},
	} {
		_, err := w.stage.Check(c.q)
		var mistake *limit.QueryError
		if !errors.As(err, &mistake) || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	if _, err := w.stage.Check(ask("alice", "b")); !errors.Is(err, limit.ErrNoRule) {
		t.Errorf("unknown rule: %v", err)
	}
}

// However many limits come with questions, what is remembered is bounded.
func TestAdHocIsBounded(t *testing.T) {
	w := newWorld(t, "")
	for i := range 100_100 {
		if _, err := w.stage.Check(ask("alice", "", per("1/h", int64(i)))); err != nil {
			t.Fatal(err)
		}
	}
	if s := w.status("(ad hoc)"); s.Keys != 100_000 || s.Evicted != 100 || s.LostDebt <= 0 {
		t.Errorf("%+v", s)
	}
}

// Clients that went away are forgotten beside traffic, and Close ends what does it: the bubble waits for all goroutines.
func TestIdleClientsAreForgotten(t *testing.T) {
	inBubble(t, "limits: {a: {rate: 1/s}}", func(t *testing.T, w *world) {
		for i := range 1000 {
			w.expect(limit.Passed, from(fmt.Sprint(i)))
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if s := w.status("a"); s.Keys != 1000 {
			t.Errorf("too soon: %+v", s)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := w.status("a"); s.Keys != 0 || s.Expired != 1000 || s.Evicted != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestMaxKeys(t *testing.T) {
	w := newWorld(t, "limits: {a: {rate: 1/h, max_keys: 10}}")
	for i := range 15 {
		w.expect(limit.Passed, from(fmt.Sprint(i)))
	}
	if s := w.status("a"); s.Keys != 10 || s.MaxKeys != 10 || s.Evicted != 5 {
		t.Errorf("%+v", s)
	}
}

func TestMetrics(t *testing.T) {
	w := newWorld(t, "limits: {a: {rate: 1/h, max_keys: 2}, s: {rate: 1/h, shadow: true}}")
	for _, name := range []string{"alice", "alice", "bob"} {
		w.ask(from(name))
	}
	w.stage.Check(ask("alice", "s"))
	reg := prometheus.NewRegistry()
	reg.MustRegister(w.stage)
	want := `# HELP sluice_limit_decisions_total Decisions of a rule. A request that is refused counts for those that refused it.
# TYPE sluice_limit_decisions_total counter
sluice_limit_decisions_total{outcome="allowed",rule="(ad hoc)"} 0
sluice_limit_decisions_total{outcome="refused",rule="(ad hoc)"} 0
sluice_limit_decisions_total{outcome="shadow_refused",rule="(ad hoc)"} 0
sluice_limit_decisions_total{outcome="allowed",rule="a"} 2
sluice_limit_decisions_total{outcome="refused",rule="a"} 1
sluice_limit_decisions_total{outcome="shadow_refused",rule="a"} 0
sluice_limit_decisions_total{outcome="allowed",rule="s"} 2
sluice_limit_decisions_total{outcome="refused",rule="s"} 0
sluice_limit_decisions_total{outcome="shadow_refused",rule="s"} 1
# HELP sluice_limit_keys Keys that a rule remembers now.
# TYPE sluice_limit_keys gauge
sluice_limit_keys{rule="(ad hoc)"} 0
sluice_limit_keys{rule="a"} 2
sluice_limit_keys{rule="s"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "sluice_limit_decisions_total", "sluice_limit_keys"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(reg); err != nil || n != 9+3+6+3 {
		t.Errorf("%d series, %v", n, err)
	}
}

// A question that comes when the node is about to stop is not answered: what rules share with other nodes is closed next.
func TestCheckAfterClose(t *testing.T) {
	s := limit.New(nil)
	s.Apply(parse(t, "limits: {a: {rate: 1/s, per: global}}"))
	s.Close()
	rule := "a"
	if a, err := s.Check(&limit.Query{Rule: &rule}); err == nil {
		t.Errorf("answered %+v", a)
	}
}
