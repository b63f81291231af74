package ppo

import (
	"math"
	"math/rand/v2"
	"sync"
)

// shards is the number of parts that a minibatch's gradient is summed in, each by itself. It is fixed, so that the sums are the same on any number of
// processors.
const shards = 4

// workspace is what one shard needs.
type workspace struct {
	actorTrace, criticTrace *trace
	actor, critic           []float32 // gradients
}

// update has the networks learn from all steps.
func (t *trainer) update(random *rand.Rand) {
	order := t.order[:0]
	for _, e := range t.envs {
		for i := range e.steps {
			order = append(order, &e.steps[i])
		}
	}
	t.order = order
	rate := t.rate()
	for range epochs {
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for rest := order; len(rest) > 0; {
			n := min((len(order)+batches-1)/batches, len(rest))
			t.learn(rest[:n], rate)
			rest = rest[n:]
		}
	}
}

// learn makes one step of both optimizers.
func (t *trainer) learn(batch []*step, rate float64) {
	var run sync.WaitGroup
	for i, w := range t.work {
		part := batch[len(batch)*i/shards : len(batch)*(i+1)/shards]
		run.Go(func() { t.gradients(w, part, 1/float32(len(batch))) })
	}
	run.Wait()
	actor, critic := t.work[0].actor, t.work[0].critic
	for _, w := range t.work[1:] {
		addTo(actor, 1, w.actor)
		addTo(critic, 1, w.critic)
	}
	t.actorAdam.step(t.actor.params, actor, rate, clipNorm)
	t.criticAdam.step(t.critic.params, critic, 2*rate, clipNorm)
}

// gradients sums the gradients of both losses over a part of the batch.
func (t *trainer) gradients(w *workspace, part []*step, weight float32) {
	clear(w.actor)
	clear(w.critic)
	imitating, entropy := t.imitating(), t.entropy()
	for _, s := range part {
		logit := t.actor.forward(s.x[:actorInputs], w.actorTrace)
		d := float32(0)
		if imitating {
			d = imitationLoss(s, logit)
		} else {
			d = policyLoss(s, logit, entropy)
		}
		if d != 0 {
			t.actor.backward(s.x[:actorInputs], w.actorTrace, d*weight, w.actor)
		}
		value := t.critic.forward(s.x[:], w.criticTrace)
		t.critic.backward(s.x[:], w.criticTrace, max(-1, min(1, value-s.target))*weight, w.critic)
	}
}

// policyLoss is the derivative by the logit of PPO's loss: the ratio of the chances of the decision, now and when it was taken, times its advantage,
// but with no gain from a ratio beyond 1±clip; less the entropy. (Schulman et al., "Proximal policy optimization algorithms", 2017.)
func policyLoss(s *step, logit float32, entropy float64) float32 {
	p := chance(logit)
	ratio := float32(math.Exp(float64(logChance(logit, s.serve) - s.logProb)))
	d := entropy32(entropy, logit, p)
	if s.advantage > 0 && ratio > 1+clipRatio || s.advantage < 0 && ratio < 1-clipRatio {
		return d
	}
	return d - s.advantage*ratio*(flag(s.serve)-p)
}

// entropy32 is the derivative of minus the entropy, times its weight.
func entropy32(weight float64, logit, p float32) float32 {
	return float32(weight) * logit * p * (1 - p)
}

// imitationLoss is the derivative of a logistic loss in which a decision counts as much as it matters.
func imitationLoss(s *step, logit float32) float32 {
	return s.advantage * (chance(logit) - flag(s.better > 0))
}

func flag(is bool) float32 {
	if is {
		return 1
	}
	return 0
}
