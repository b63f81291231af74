// Package ppo trains flush policies in the simulation of package learn: first by imitation of the schedule that knows the future, and then by
// proximal policy optimization (Schulman et al., "Proximal policy optimization algorithms", 2017).
//
// Training is reproducible: the same seed, steps and recordings make the same policy, bit for bit, on any number of processors of the same kind.
package ppo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/learn"
)

// Options say how to train.
type Options struct {
	Steps   int              // decisions to learn from, at least LeastSteps
	Seed    uint64           // of all random numbers
	Traces  []*learn.Traces  // recorded traffic, which then is half of what is played
	Command string           // for the policy file: how it was made
	Notes   func(p Progress) // called after each update, unless nil

	// Checkpoint is the file in which the state is kept from time to time, and from which a training that was interrupted goes on. It is removed at
	// the end. Empty: none.
	Checkpoint string
}

// LeastSteps is the least number of steps in which anything is learned.
const LeastSteps = 2000

// Progress is how far a training has come.
type Progress struct {
	Step, Steps int
	Resumed     int // steps that an earlier run has made
	Imitating   bool
	// Ratio is the geometric mean of the costs in the validation, as multiples of those of the best schedule; 0 if it was not measured this
	// time. Balance is the same of the rule.
	Ratio, Balance float64
}

// The hyperparameters.
const (
	hidden      = 32   // units of each hidden layer
	mostEnvs    = 256  // keys that are played side by side
	span        = 128  // decisions of each key between two updates
	updates     = 20   // at least so many
	generation  = 4    // updates after which all keys begin anew, in other settings
	epochs      = 4    // times that each decision is learned from
	batches     = 8    // steps of the optimizer in each epoch
	startRate   = 1e-3 // of learning; it goes down to 0
	clipRatio   = 0.2
	clipNorm    = 0.5
	keep        = 0.95    // λ of the advantage estimation
	startWeight = 0.003   // of the entropy; it goes down to 0
	averaged    = 16      // updates over which the network is averaged that is shipped
	validated   = 100_000 // steps between two validations, about
)

// imitated is how many steps imitate: a fifth, but no more than 500,000.
func imitated(steps int) int { return min(steps/5, 500_000) }

// trainer is a training under way.
type trainer struct {
	o    Options
	envs []*env
	work []*workspace

	actor, critic         *mlp
	actorAdam, criticAdam *adam
	average               []float32 // of the actor's parameters
	norm                  normal
	iteration             int
	best                  []float32 // the averaged parameters that did best in the validation so far
	bestRatio             float64

	order    []*step
	contests []contest
	balance  float64
}

// Train trains a policy. If ctx ends first the error is ctx.Err(), and with a checkpoint the same call goes on later from there.
func Train(ctx context.Context, o Options) (*flush.Network, error) {
	if o.Steps < LeastSteps {
		return nil, fmt.Errorf("%d steps are too few, expected at least %d", o.Steps, LeastSteps)
	}
	t := newTrainer(o)
	if err := t.resume(); err != nil {
		return nil, err
	}
	resumed := t.step()
	for t.step() < o.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t.iterate()
		p := Progress{Step: t.step(), Steps: o.Steps, Resumed: resumed, Imitating: t.imitating(), Balance: t.balance}
		if t.due() {
			p.Ratio = t.validate()
		}
		if o.Notes != nil {
			o.Notes(p)
		}
		if t.iteration%generation == 0 {
			if err := t.save(); err != nil {
				return nil, err
			}
		}
	}
	return t.finish()
}

func newTrainer(o Options) *trainer {
	t := &trainer{o: o}
	random := t.random(0, 0)
	t.actor, t.critic = newMLP(actorInputs, hidden, random), newMLP(criticInputs, hidden, random)
	t.actorAdam, t.criticAdam = newAdam(t.actor.size()), newAdam(t.critic.size())
	t.average = append(t.average, t.actor.params...)
	for range shards {
		t.work = append(t.work, &workspace{
			actorTrace: newTrace(hidden), criticTrace: newTrace(hidden),
			actor: make([]float32, t.actor.size()), critic: make([]float32, t.critic.size()),
		})
	}
	for range max(4, min(mostEnvs, o.Steps/updates/span)) {
		t.envs = append(t.envs, &env{actor: newTrace(hidden), critic: newTrace(hidden)})
	}
	t.norm = t.measure()
	t.prepare()
	return t
}

// random returns random numbers for a purpose, from the seed.
func (t *trainer) random(what, which uint64) *rand.Rand {
	return rand.New(rand.NewPCG(t.o.Seed, what<<48|which))
}

// step is how many decisions have been learned from.
func (t *trainer) step() int { return t.iteration * len(t.envs) * span }

// left is the part of the training that is to be done, 1 to 0.
func (t *trainer) left() float64 { return max(0, 1-float64(t.step())/float64(t.o.Steps)) }

func (t *trainer) imitating() bool  { return t.step() < imitated(t.o.Steps) }
func (t *trainer) rate() float64    { return startRate * max(0.02, t.left()) }
func (t *trainer) entropy() float64 { return startWeight * t.left() }

// iterate plays and learns once.
func (t *trainer) iterate() {
	imitating := t.imitating()
	each(len(t.envs), func(i int) {
		e := t.envs[i]
		if t.iteration%generation == 0 {
			e.random, e.scale = t.random(1, uint64(t.iteration*len(t.envs)+i)), 0
			t.restart(e)
		}
		e.roll(t)
		if imitating {
			e.weigh()
		} else {
			e.level()
		}
	})
	t.update(t.random(2, uint64(t.iteration)))
	t.iteration++
	for i, p := range t.actor.params {
		t.average[i] += (p - t.average[i]) / averaged
	}
}

// restart has the key begin an episode in another setting.
func (t *trainer) restart(e *env) {
	cfg, warm := draw(e.random, t.o.Traces)
	e.begin(cfg, e.random.Uint64()>>trainingSeeds, warm)
}

// trainingSeeds is by how many bits the seeds of traffic are shortened, to stay below those of evaluations.
const trainingSeeds = 64 - 39

// finish returns the network that is shipped: the best of all that were validated.
func (t *trainer) finish() (*flush.Network, error) {
	if t.best == nil {
		return nil, errors.New("the training came to nothing: its weights went out of range")
	}
	n, err := t.network(t.best, flush.Training{Command: t.o.Command, Seed: t.o.Seed, Steps: t.step()})
	if err != nil {
		return nil, err
	}
	return n, t.forget()
}

// network returns the actor with those parameters as it is shipped: with the scaling of the inputs in the first layer.
func (t *trainer) network(params []float32, training flush.Training) (*flush.Network, error) {
	layers := make([]flush.Layer, 3)
	for i, l := range t.actor.layers(params) {
		rows := l.weights
		for j := range l.bias {
			row := append([]float32(nil), rows[:l.inputs]...)
			rows = rows[l.inputs:]
			bias := l.bias[j]
			if i == 0 {
				bias = t.norm.fold(row, bias)
			}
			layers[i].Weights, layers[i].Bias = append(layers[i].Weights, row), append(layers[i].Bias, bias)
		}
	}
	return flush.NewNetwork(layers, training)
}
