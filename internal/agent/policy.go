package agent

import (
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/agent/pb"
)

// Terms are those on which a client's agent is asked.
type Terms struct {
	Timeout  time.Duration   // for an answer
	CallCost time.Duration   // what the agent is told that a call is worth
	Instead  coalesce.Policy // decides where the agent does not
}

// Policy returns a policy that asks the client's agent. A question keeps no request from its slot; where the answer fails to come, the rule decides
// instead, about the slot as it is by then, and the decision is marked as a fallback.
func (c *Client) Policy(t Terms) coalesce.AsyncPolicy { return &remote{c, t} }

// remote is a policy that asks.
type remote struct {
	client *Client
	Terms
}

// Decide is for those who cannot wait: it is the rule's decision.
func (r *remote) Decide(s coalesce.State) coalesce.Decision { return instead{r.Instead}.Decide(s) }

// Ask implements [coalesce.AsyncPolicy].
func (r *remote) Ask(s coalesce.State, answer func(coalesce.Policy)) (d coalesce.Decision, pending bool) {
	if why, may := r.client.circuit.begin(time.Now()); !may {
		r.client.options.Observe(why, 0)
		return r.Decide(s), false
	}
	go r.client.call(r, &s, answer)
	return d, true
}

// instead is a rule in the place of the agent.
type instead struct{ rule coalesce.Policy }

func (i instead) Decide(s coalesce.State) coalesce.Decision {
	d := i.rule.Decide(s)
	d.Fallback = true
	return d
}

// leastRecheck is how soon an agent is asked again at the earliest.
const leastRecheck = 250 * time.Microsecond

// verdict is what the agent has said about a state. If it doesn't say when to ask again, as agents of the first version never do, that is when a policy
// in the process would be asked.
func (r *remote) verdict(s *coalesce.State, m *pb.FlushDecision) coalesce.Policy {
	v := verdict{serve: m.GetShouldFlush(), again: s.Now + flush.Recheck(s, r.CallCost)}
	if after := m.GetRecheckAfterMs(); after > 0 {
		v.again = s.Now + time.Duration(min(float64(after), mostMillis)*float64(time.Millisecond))
	}
	return v
}

// verdict is an answer of the agent.
type verdict struct {
	serve bool
	again time.Duration // when to ask again, since the group was made
}

func (v verdict) Decide(s coalesce.State) coalesce.Decision {
	if v.serve {
		return coalesce.Decision{Serve: true}
	}
	return coalesce.Decision{After: max(leastRecheck, v.again-s.Now)}
}
