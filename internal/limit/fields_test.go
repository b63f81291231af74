package limit

import (
	"math"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/sluicegate/sluice/gcra"
)

// decided is a call of a rule with a name and a decision.
func decided(name string, l gcra.Limit, d gcra.Decision) call {
	return call{rule: &rule{account: &account{name: name}}, terms: &terms{limit: l, policy: policyMember(name, l)}, decision: d}
}

// member parses a field with one member, or more, and returns its i-th.
func member(t *testing.T, field []byte, i, of int) httpsfv.Item {
	t.Helper()
	list, err := httpsfv.UnmarshalList([]string{string(field)})
	if err != nil || len(list) != of {
		t.Fatalf("%s: %v, %d members, want %d", field, err, len(list), of)
	}
	item, ok := list[i].(httpsfv.Item)
	if !ok {
		t.Fatalf("%s: member %d is no item", field, i)
	}
	return item
}

func param(t *testing.T, item httpsfv.Item, name string) int64 {
	t.Helper()
	v, ok := item.Params.Get(name)
	n, isInt := v.(int64)
	if !ok || !isInt {
		t.Fatalf("%v: parameter %s is %v", item, name, v)
	}
	return n
}

func TestFieldsParse(t *testing.T) {
	for _, c := range []struct {
		name       string
		limit      gcra.Limit
		decision   gcra.Decision
		q, w, r, t int64
	}{
		{"burst", gcra.MustLimit(100, time.Minute, 99), gcra.Decision{Remaining: 50, ResetAfter: 30 * time.Second}, 100, 60, 50, 30},
		{"one", gcra.MustLimit(1, time.Second, 0), gcra.Decision{Remaining: 0, ResetAfter: 1}, 1, 1, 0, 1},
		{"full", gcra.MustLimit(7, time.Second, 0), gcra.Decision{Remaining: 1}, 1, 1, 1, 0},
		{"up", gcra.MustLimit(2, 3*time.Second, 1), gcra.Decision{ResetAfter: time.Second + 1}, 2, 3, 0, 2},
		{"fast", gcra.MustLimit(1e9, time.Second, 1<<60), gcra.Decision{Remaining: 1 << 60}, maxInteger, 1152921505, maxInteger, 0},
		{`quo"ted \name`, gcra.MustLimit(1, time.Second, 4), gcra.Decision{Remaining: 3, ResetAfter: 2e9}, 5, 5, 3, 2},
	} {
		calls := []call{decided(c.name, c.limit, c.decision)}
		policy := member(t, appendPolicy(nil, calls), 0, 1)
		state := member(t, appendState(nil, calls), 0, 1)
		if policy.Value != c.name || state.Value != c.name {
			t.Errorf("%s: named %v and %v", c.name, policy.Value, state.Value)
		}
		got := [4]int64{param(t, policy, "q"), param(t, policy, "w"), param(t, state, "r"), param(t, state, "t")}
		if want := [4]int64{c.q, c.w, c.r, c.t}; got != want {
			t.Errorf("%s: q, w, r, t are %v, want %v", c.name, got, want)
		}
	}
}

func TestFieldsOfSeveralRules(t *testing.T) {
	calls := []call{
		decided("a", gcra.MustLimit(1, time.Second, 1), gcra.Decision{Remaining: 1, ResetAfter: time.Second}),
		decided("b", gcra.MustLimit(1, time.Second, 8), gcra.Decision{Remaining: 7, ResetAfter: 2 * time.Second}),
	}
	if got, want := string(appendPolicy(nil, calls)), `"a";q=2;w=2, "b";q=9;w=9`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := string(appendState(nil, calls)), `"a";r=1;t=1, "b";r=7;t=2`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if v := member(t, appendState(nil, calls), 1, 2).Value; v != "b" {
		t.Errorf("second member is %v", v)
	}
}

func TestTightest(t *testing.T) {
	d := func(remaining int64, retry time.Duration) call {
		return call{decision: gcra.Decision{Remaining: remaining, RetryAfter: retry}}
	}
	for _, c := range []struct {
		calls []call
		want  int
	}{
		{[]call{d(5, 0), d(3, 0), d(4, 0)}, 1},
		{[]call{d(5, 0), d(5, 0)}, 0},
		{[]call{d(0, 0), d(0, 1), d(0, 2)}, 2},
		{[]call{d(0, gcra.Never), d(0, 2)}, 0},
	} {
		if got := tightest(c.calls); got != &c.calls[c.want] {
			t.Errorf("%v: %v", c.calls, got)
		}
	}
}

func TestSecondsRoundUp(t *testing.T) {
	for d, want := range map[time.Duration]int64{
		-1: 0, 0: 0, 1: 1, time.Second: 1, time.Second + 1: 2, math.MaxInt64: 9223372037,
	} {
		if got := seconds(d); got != want {
			t.Errorf("seconds(%d) = %d, want %d", d, got, want)
		}
	}
}

func TestReplaces(t *testing.T) {
	g := Grant{decided: 1, headers: headers{standard: true}}
	if g.Replaces([]byte("X-RateLimit-Limit")) {
		t.Error("replaces what it does not add")
	}
	g.headers.legacy = true
	for name, want := range map[string]bool{
		"X-RateLimit-Limit": true, "x-ratelimit-remaining": true, "X-Ratelimit-Reset": true, "X-RateLimit-Policy": false, "RateLimit": false,
	} {
		if g.Replaces([]byte(name)) != want {
			t.Errorf("Replaces(%s) = %v", name, !want)
		}
	}
	if (&Grant{headers: g.headers}).Replaces([]byte("X-RateLimit-Limit")) {
		t.Error("replaces a field of a request that no rule decided")
	}
}
