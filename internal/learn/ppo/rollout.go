package ppo

import (
	"math"
)

// horizon is how far ahead the trainer looks: over as many arrivals as cost the best schedule so many calls. What comes later counts
// exponentially less. Arrivals are the clock since they come whatever the policy does; if decisions or slots were, a policy could put costs off by
// having more of them.
const horizon = 6

// worst bounds what one decision is blamed for, in calls. Disasters are rare, and would drown the rest.
const worst = -2

// roll plays a span of decisions, at random as the actor's odds are, and says how good they were.
func (e *env) roll(t *trainer) {
	e.steps = e.steps[:0]
	for range span {
		e.steps = append(e.steps, step{})
		s := &e.steps[len(e.steps)-1]
		e.look(&s.x)
		t.norm.apply(s.x[:])
		logit := t.actor.forward(s.x[:actorInputs], e.actor)
		s.value = t.critic.forward(s.x[:], e.critic)
		s.serve = e.random.Float32() < chance(logit)
		s.logProb = logChance(logit, s.serve)
		e.play(s)
		if s.ends {
			t.restart(e)
		}
	}
	var x [criticInputs]float32
	e.look(&x)
	t.norm.apply(x[:])
	e.last = t.critic.forward(x[:], e.critic)
	e.judge()
}

// play takes the decision. The reward is by how much it makes the best that can still be done worse, in calls, and negative. (It differs from
// minus the cost by what the best schedule costs from each state on, which has the same optimum: Ng, Harada and Russell, "Policy invariance
// under reward transformations", ICML 1999.)
func (e *env) play(s *step) {
	s.better = float32(e.wait - e.serve)
	_, reward, terminated, truncated := e.sim.Step(s.serve)
	s.ends = terminated || truncated
	reward += min(e.serve, e.wait)
	if !s.ends {
		s.arrived = e.catchUp()
		e.serve, e.wait = e.plan.Judge(e.sim)
		reward -= min(e.serve, e.wait)
	}
	s.reward = float32(max(reward, worst) / horizon)
}

// judge computes the advantages and the targets of the critic: generalized advantage estimation, which keeps that part of what later decisions
// tell about an earlier one. (Schulman et al., "High-dimensional continuous control using generalized advantage estimation", ICLR 2016.)
func (e *env) judge() {
	discount := 1 - min(0.5, e.unit/horizon)
	next, advantage := float64(e.last), 0.0
	for i := len(e.steps) - 1; i >= 0; i-- {
		s := &e.steps[i]
		gamma := math.Pow(discount, float64(s.arrived))
		if s.ends {
			gamma = 0
		}
		surprise := float64(s.reward) + gamma*next - float64(s.value)
		advantage = surprise + gamma*keep*advantage
		s.advantage, s.target = float32(advantage), float32(advantage)+s.value
		next = float64(s.value)
	}
}

// level scales the advantages of the env to a variance of about 1, so that a setting in which calls are cheap matters as much as one in which they
// are not.
func (e *env) level() {
	sum, square := 0.0, 0.0
	for i := range e.steps {
		a := float64(e.steps[i].advantage)
		sum, square = sum+a, square+a*a
	}
	n := float64(len(e.steps))
	mean := sum / n
	deviation := math.Sqrt(max(0, square/n-mean*mean))
	if e.scale == 0 {
		e.scale = deviation
	}
	e.scale += (deviation - e.scale) / 4
	for i := range e.steps {
		s := &e.steps[i]
		s.advantage = (s.advantage - float32(mean)) / float32(max(e.scale, leastScale))
	}
}

// leastScale keeps what is noise in a setting without choices from being taken for a lesson.
const leastScale = 0.003

// weigh makes what a decision matters its weight in the imitation: on average 1 in each setting.
func (e *env) weigh() {
	sum := 0.0
	for i := range e.steps {
		sum += math.Abs(float64(e.steps[i].better))
	}
	mean := float32(max(1e-3, sum/float64(len(e.steps))))
	for i := range e.steps {
		s := &e.steps[i]
		s.advantage = min(5, float32(math.Abs(float64(s.better)))/mean)
	}
}

// chance is the chance of serving.
func chance(logit float32) float32 { return float32(1 / (1 + math.Exp(-float64(logit)))) }

// logChance is the logarithm of the chance of the decision.
func logChance(logit float32, serve bool) float32 {
	z := float64(logit)
	if serve {
		z = -z
	}
	return float32(-softplus(z))
}

// softplus is log(1+exp(z)).
func softplus(z float64) float64 {
	if z > 30 {
		return z
	}
	return math.Log1p(math.Exp(z))
}
