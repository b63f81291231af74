package gateway

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/agent"
	"github.com/sluicegate/sluice/internal/config"
)

// terms are what the configuration says about when a batch is sent.
type terms struct {
	policy         config.FlushPolicy
	hold, callCost time.Duration
	maxBatch       int
	network        *flush.Network // of ppo; nil: that of the program
	agent          string
	agentTimeout   time.Duration
}

func termsOf(c *config.Coalesce) terms {
	return terms{c.Policy, c.Hold, c.CallCost, c.MaxBatch, c.Network, c.Agent, c.AgentTimeout}
}

func termsOfMerge(m *config.Merge) terms {
	return terms{m.Policy, m.Hold, m.CallCost, m.MaxBatch, m.Network, m.Agent, m.AgentTimeout}
}

// agents are the clients of the programs that decide, by address.
type agents map[string]*agent.Client

// agentsOf returns the clients that a configuration names, those of old among them.
func (g *Gateway) agentsOf(cfg *config.Config, old agents) agents {
	list := make(agents)
	add := func(address string) {
		switch {
		case address == "" || list[address] != nil:
		case old[address] != nil:
			list[address] = old[address]
		default:
			list[address] = g.metrics.agents.dial(address, g.log)
		}
	}
	for _, r := range cfg.Routes {
		if r.Coalesce != nil {
			add(r.Coalesce.Agent)
		}
		if r.Merge != nil {
			add(r.Merge.Agent)
		}
	}
	return list
}

// closeBut closes the clients that next does not have.
func (list agents) closeBut(next agents) {
	for address, client := range list {
		if next[address] != client {
			client.Close() // there is nothing to be done about a connection that does not close
		}
	}
}

// inProcess is the policy of package flush that decides in the place of an agent that does not answer.
const inProcess = "ppo"

// policy is the flush policy that the configuration names. The hold time and the batch's size bound every one of them.
func (list agents) policy(t terms) coalesce.Policy {
	if t.hold == 0 {
		return flush.Immediate{}
	}
	name := string(t.policy)
	if t.policy == config.PolicyRemote {
		name = inProcess
	}
	p, err := flush.Parse(name, flush.Params{After: t.hold, Size: t.maxBatch, CallCost: t.callCost, Net: t.network})
	if err != nil {
		panic(err) // the configuration has been checked
	}
	if t.policy == config.PolicyRemote {
		return list[t.agent].Policy(agent.Terms{Timeout: t.agentTimeout, CallCost: t.callCost, Instead: p})
	}
	return p
}

// agentMetrics are what is counted about agents.
type agentMetrics struct {
	questions *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
}

func newAgentMetrics() agentMetrics {
	return agentMetrics{
		questions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_agent_questions_total", Help: "Questions to a remote flush policy, by outcome: answered, or decided in the process because of a " +
				"timeout, an error or an invalid answer, or not asked since too many were open (busy) or several had failed in a row (away).",
		}, []string{"agent", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_agent_answer_seconds", Help: "How long remote flush policies took to answer.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"agent"}),
	}
}

// dial returns a client that is counted.
func (m *agentMetrics) dial(address string, log *slog.Logger) *agent.Client {
	outcomes := make([]prometheus.Counter, len(agent.Outcomes()))
	for _, o := range agent.Outcomes() {
		outcomes[o] = m.questions.WithLabelValues(address, o.String())
	}
	seconds := m.seconds.WithLabelValues(address)
	client, err := agent.Dial(address, agent.Options{Log: log.With("agent", address), Observe: func(o agent.Outcome, took time.Duration) {
		outcomes[o].Inc()
		if o == agent.Answered {
			seconds.Observe(took.Seconds())
		}
	}})
	if err != nil {
		panic(err) // the configuration has been checked
	}
	return client
}
