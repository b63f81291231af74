package limit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/rate"
)

// showJoint renders a joint answer in one line: "true: 4, -, refused 0" for three questions, the second of which has no rule.
func showJoint(j limit.Joint) string {
	var parts []string
	for _, v := range j.Verdicts {
		text := fmt.Sprint(v.Remaining)
		if !v.Allowed {
			text = "refused " + text
		}
		if !v.Limited {
			text = "-"
		}
		parts = append(parts, text)
	}
	s := fmt.Sprintf("%v: %s", j.Allowed, strings.Join(parts, ", "))
	if j.RetryAfter > 0 {
		s += fmt.Sprint(" retry ", j.RetryAfter)
	}
	return s
}

func about(rule, key string) limit.Ask { return limit.Ask{Rule: rule, Key: key, Cost: limit.RuleCost} }

func TestCheckAll(t *testing.T) {
	const limits = `limits:
  trial: {rate: 1/min, shadow: true}
  a: {rate: 1/s, burst: 4}
  two: {rate: 1/s, burst: 4, cost: 2}
  all: {rate: 1/h, burst: 1, per: global}
`
	three := limit.OwnLimit{Rate: rate.Rate{Count: 3, Period: time.Minute}, Burst: 2}
	inBubble(t, limits, func(t *testing.T, w *world) {
		for i, c := range []struct {
			wait time.Duration
			asks []limit.Ask
			want string
		}{
			{0, nil, "true: "},
			{0, []limit.Ask{about("none", "x")}, "true: -"},
			{0, []limit.Ask{about("trial", "x"), about("none", "x"), about("two", "x"), about("a", "x")}, "true: 0, -, 3, 4"},
			{0, []limit.Ask{about("trial", "x"), about("a", "x")}, "true: 0, 3"},
			{0, []limit.Ask{{Rule: "a", Key: "x", Cost: 4}, about("trial", "y"), about("all", "")}, "false: refused 3, 1, 2 retry 1s"},
			{time.Second, []limit.Ask{{Rule: "a", Key: "x", Cost: 4}, about("trial", "y"), about("all", "")}, "true: 0, 0, 1"},
			{0, []limit.Ask{{Rule: "a", Key: "x", Cost: 2, Refund: true}, about("all", "")}, "true: 2, 0"},
			{0, []limit.Ask{{Rule: "a", Key: "x", Cost: 2, Refund: true}, about("all", "")}, "false: 2, refused 0 retry 1h0m0s"},
			{0, []limit.Ask{{Rule: "a", Key: "new", Cost: 0}}, "true: 5"},
			{0, []limit.Ask{{Rule: "a", Own: &three, Key: "x", Cost: limit.RuleCost}, about("a", "x")}, "true: 2, 1"},
			{0, []limit.Ask{{Rule: "b", Own: &three, Key: "x", Cost: 3}, about("a", "x")}, "false: refused 2, 1 retry 20s"},
		} {
			time.Sleep(c.wait)
			j, err := w.stage.CheckAll(c.asks)
			if err != nil || showJoint(j) != c.want {
				t.Errorf("%d: %s, %v, want %s", i, showJoint(j), err, c.want)
			}
		}
		if s := w.status("a"); s.Allowed != 5 || s.Refused != 1 {
			t.Errorf("%+v", s)
		}
		if s := w.status("trial"); s.Allowed != 2 || s.ShadowRefused != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A cost that can never pass says so, and a limit that cannot be built is an error that has spent nothing.
func TestCheckAllEdges(t *testing.T) {
	w := newWorld(t, "limits: {a: {rate: 1/h}}")
	j, err := w.stage.CheckAll([]limit.Ask{{Rule: "a", Key: "x", Cost: 2}})
	if err != nil || j.Allowed || j.RetryAfter != limit.Never {
		t.Errorf("%+v, %v", j, err)
	}
	bad := limit.Ask{Rule: "a", Own: &limit.OwnLimit{Rate: rate.Rate{Count: 1, Period: -1}}}
	if j, err := w.stage.CheckAll([]limit.Ask{about("a", "x"), bad}); err == nil {
		t.Errorf("%+v", j)
	}
	if j, err := w.stage.CheckAll([]limit.Ask{about("a", "x")}); err != nil || !j.Allowed {
		t.Errorf("%+v, %v", j, err)
	}
}

// Clients are told of the rules that were decided: neither of those that only report, nor of limits that came with a question.
func TestCheckAllFields(t *testing.T) {
	w := newWorld(t, "limits: {a: {rate: 1/s, burst: 4}, b: {rate: 1/s}, trial: {rate: 1/s, shadow: true}}\nrate_limit_headers: [standard, legacy]")
	own := limit.Ask{Rule: "x", Own: &limit.OwnLimit{Rate: rate.Rate{Count: 1, Period: time.Second}}, Cost: 1}
	j, err := w.stage.CheckAll([]limit.Ask{about("trial", "x"), own, about("a", "x"), about("b", "x")})
	want := `[{RateLimit-Policy "a";q=5;w=5, "b";q=1;w=1} {RateLimit "a";r=4;t=1, "b";r=0;t=1} ` +
		`{X-RateLimit-Limit 1} {X-RateLimit-Remaining 0} {X-RateLimit-Reset 1}]`
	if got := fmt.Sprint(j.Fields); err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	if j, err := w.stage.CheckAll([]limit.Ask{about("trial", "y")}); err != nil || j.Fields != nil {
		t.Errorf("%v, %v", j.Fields, err)
	}
}
