package limit

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
)

// scripted is a backend that says what it is told to, and writes down what it is asked.
type scripted struct {
	name string
	deny map[string]bool // rules that it refuses
	err  error
	log  *[]string
}

func names(calls []call) (list []string) {
	for i := range calls {
		list = append(list, fmt.Sprintf("%s:%d", calls[i].rule.name, calls[i].n))
	}
	return list
}

func (s *scripted) decide(_ time.Duration, calls []call) (bool, error) {
	*s.log = append(*s.log, fmt.Sprint(s.name, " decides ", names(calls)))
	allowed := s.err == nil
	for i := range calls {
		calls[i].decision = gcra.Decision{Allowed: !s.deny[calls[i].rule.name], Limit: 9, RetryAfter: time.Minute}
		allowed = allowed && calls[i].decision.Allowed
	}
	return allowed, s.err
}

func (s *scripted) refund(_ time.Duration, calls []call) {
	*s.log = append(*s.log, fmt.Sprint(s.name, " refunds ", names(calls)))
	for i := range calls {
		calls[i].decision = gcra.Decision{Allowed: true, Limit: 9, Remaining: 9}
	}
}

func (s *scripted) peek(time.Duration, *call) error { return s.err }

// TestModes plays a request whose rules are decided by three backends.
func TestModes(t *testing.T) {
	down := errors.New("down")
	for _, c := range []struct {
		name     string
		deny     string
		err      error
		outcome  Outcome
		violated string
		log      string
	}{
		{"all allow", "", nil, Passed, "[]",
			"[one decides [a:1 b:2] two decides [c:1] three decides [d:1] one decides [s:1] two decides [t:1] " +
				"two refunds [t:1] one refunds [s:1] three refunds [d:1] two refunds [c:1] one refunds [a:1 b:2]]"},
		{"the first refuses", "b", nil, Refused, "[b]", "[one decides [a:1 b:2]]"},
		{"the last refuses", "d", nil, Refused, "[d]",
			"[one decides [a:1 b:2] two decides [c:1] three decides [d:1] two refunds [c:1] one refunds [a:1 b:2]]"},
		{"the last is down", "", down, Undecided, "[]",
			"[one decides [a:1 b:2] two decides [c:1] three decides [d:1] two refunds [c:1] one refunds [a:1 b:2]]"},
		{"a shadow refuses", "s", nil, Passed, "[]",
			"[one decides [a:1 b:2] two decides [c:1] three decides [d:1] one decides [s:1] two decides [t:1] " +
				"two refunds [t:1] one refunds [s:0] three refunds [d:1] two refunds [c:1] one refunds [a:1 b:2]]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log []string
			deny := map[string]bool{c.deny: true}
			one, two := &scripted{"one", deny, nil, &log}, &scripted{"two", deny, nil, &log}
			three := &scripted{"three", deny, c.err, &log}
			s := &Set{rules: []*rule{
				scriptedRule("a", one, 1, false), scriptedRule("b", one, 2, false), scriptedRule("c", two, 1, false),
				scriptedRule("d", three, 1, false), scriptedRule("s", one, 1, true), scriptedRule("t", two, 1, true),
			}}
			var g Grant
			q := Request{Client: []byte("alice"), Addr: netip.MustParseAddr("192.0.2.1"), HTTP: new(http1.Request)}
			if got := s.Decide(&g, &q); got != c.outcome {
				t.Errorf("outcome %d, want %d", got, c.outcome)
			}
			if got := fmt.Sprint(g.Violated()); got != c.violated {
				t.Errorf("violated %s, want %s", got, c.violated)
			}
			g.Refund()
			g.Refund()
			if got := fmt.Sprint(log); got != c.log {
				t.Errorf("log\n%s, want\n%s", got, c.log)
			}
		})
	}
}

func scriptedRule(name string, b backend, cost int64, shadow bool) *rule {
	cfg := &config.Limit{Name: name, Per: config.PerClient, Cost: config.Cost{Fixed: cost}, Shadow: shadow}
	return &rule{account: &account{name: name}, cfg: cfg, scope: NewScope(cfg), backend: b, terms: &terms{}}
}

// Rules are decided by mode, what asks nobody first, and those that only report last; within that in the order of the route.
func TestOrderOfModes(t *testing.T) {
	rs := &Rules{byName: map[string]*rule{}}
	var given []string
	for _, r := range []struct {
		name   string
		mode   config.LimitMode
		shadow bool
	}{
		{"strict1", config.ModeStrict, false}, {"shadow1", config.ModeLocal, true}, {"lease1", config.ModeLease, false},
		{"local1", config.ModeLocal, false}, {"strict2", config.ModeStrict, false}, {"local2", config.ModeLocal, false},
	} {
		rs.byName[r.name] = &rule{account: &account{name: r.name}, cfg: &config.Limit{Mode: r.mode, Shadow: r.shadow}}
		given = append(given, r.name)
	}
	var got []string
	for _, r := range rs.Set(given).rules {
		got = append(got, r.name)
	}
	if want := "[local1 local2 lease1 strict1 strict2 shadow1]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}
