package limit

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/rate"
)

// Ask is one of several questions that CheckAll decides together: about a rule, or about a limit that comes with the question.
type Ask struct {
	Rule   string    // the name of a rule, or anything with Own
	Own    *OwnLimit // asks about this limit instead of the rule
	Key    string    // who is counted. Any text will do: for a rule that is per ip, all that are no address share one allowance
	Cost   int64     // RuleCost, or 0 or more
	Refund bool      // the cost is not taken but given back, if the other questions are allowed
}

// OwnLimit is a limit that comes with a question. Together with the key it is its memory, as that of a Query.
type OwnLimit struct {
	Rate  rate.Rate
	Burst int64
}

// RuleCost as the cost of an Ask is the fixed cost of its rule, and 1 with an OwnLimit.
const RuleCost = -1

// Verdict is the answer to one Ask.
type Verdict struct {
	Limited    bool // false: no rule has the name, and nothing else below is set but Allowed
	Allowed    bool // true as well if the rule only reports
	Rate       rate.Rate
	Remaining  int64         // what can be spent at once now
	ResetAfter time.Duration // until everything can be spent at once again
}

// Joint is the answer to several questions.
type Joint struct {
	Allowed    bool          // none was refused; otherwise nothing was spent and nothing given back
	RetryAfter time.Duration // how long to wait if not allowed, Never if the cost can never be allowed
	Verdicts   []Verdict     // in the order of the questions
	Fields     []Field       // what clients are told of the rules, as with Grant.AddFields
}

// ErrUndecided is the error about a rule that is shared, could not be decided, and lets nothing pass then.
var ErrUndecided = errors.New("a limit that is shared cannot be decided now")

// CheckAll decides several questions now, all or nothing, in the same way as a request by its rules: rules that only report come after
// the others, and only if those allow. The error is ErrUndecided, or one about an OwnLimit that cannot be a limit.
func (s *Stage) CheckAll(asks []Ask) (Joint, error) {
	asked, err := s.callsOf(asks)
	if err != nil {
		return Joint{}, err
	}
	g := Grant{now: s.since(time.Now()), headers: s.rules.Load().headers}
	first := slices.IndexFunc(asked, func(c askedCall) bool { return c.refund })
	if first < 0 {
		first = len(asked)
	}
	for i := range asked[:first] {
		g.calls = append(g.calls, asked[i].call)
		if !asked[i].rule.cfg.Shadow {
			g.enforced = len(g.calls)
		}
	}
	outcome := g.decideAll()
	if outcome == Undecided {
		return Joint{}, ErrUndecided
	}
	for i := range g.calls {
		asked[i].call = g.calls[i]
	}
	return g.joint(outcome == Passed, asked, len(asks)), nil
}

// askedCall is a call with the index of its question.
type askedCall struct {
	call
	ask    int
	refund bool
}

// callsOf makes a call of every question that has a rule, in the order in which they are decided: those that are enforced by mode, those that
// only report, and last what is given back.
func (s *Stage) callsOf(asks []Ask) ([]askedCall, error) {
	rules := s.rules.Load()
	calls := make([]askedCall, 0, len(asks))
	for i := range asks {
		a := &asks[i]
		r, key := rules.byName[a.Rule], a.Key
		if a.Own != nil {
			limit, err := a.Own.Rate.Limit(a.Own.Burst)
			if err != nil {
				return nil, err
			}
			r = &rule{account: s.adHoc, cfg: &config.Limit{Cost: config.Cost{Fixed: 1}}, backend: local{}}
			r.terms = newTerms(s.adHoc, a.Own.Rate, a.Own.Burst)
			key = adHocKey(limit, key)
		}
		if r == nil {
			continue
		}
		c := call{rule: r, key: r.keyFrom(key), n: a.Cost}
		c.terms = r.termsOf(c.key)
		if a.Cost < 0 {
			c.n = r.cfg.Cost.Fixed
		}
		calls = append(calls, askedCall{c, i, a.Refund})
	}
	slices.SortStableFunc(calls, func(a, b askedCall) int {
		return cmp.Or(cmp.Compare(refundRank(a), refundRank(b)), compareRules(a.rule, b.rule))
	})
	return calls, nil
}

func refundRank(c askedCall) int {
	if c.refund {
		return 1
	}
	return 0
}

// joint completes the answer to n questions: the calls that the grant has not decided are looked at, or given back.
func (g *Grant) joint(passed bool, asked []askedCall, n int) Joint {
	j := Joint{Allowed: passed, Verdicts: make([]Verdict, n)}
	for i := range j.Verdicts {
		j.Verdicts[i].Allowed = true
	}
	for i := range asked {
		c := &asked[i]
		switch {
		case c.refund && passed:
			calls := []call{c.call}
			c.rule.backend.refund(g.now, calls)
			c.call = calls[0]
		case c.refund || i >= g.decided && !passed:
			if c.rule.backend.peek(g.now, &c.call) != nil {
				continue // what is left is not known, and nobody was refused for it
			}
		}
		j.Verdicts[c.ask] = Verdict{
			Limited:    true,
			Allowed:    c.decision.Allowed || c.refund || c.rule.cfg.Shadow,
			Rate:       c.terms.rate,
			Remaining:  c.decision.Remaining,
			ResetAfter: c.decision.ResetAfter,
		}
	}
	if !passed {
		j.RetryAfter = g.RetryAfter()
	}
	j.Fields = g.fields()
	return j
}
