package ppo

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/learn"
)

// ahead says which of the arrivals to come the critic gets to know. Arrivals don't depend on what the policy does, so what the critic expects may
// depend on them: that biases no gradient, and takes much of the noise out of it. (Mao et al., "Variance reduction for reinforcement learning
// in input-driven environments", ICLR 2019.)
var ahead = [...]int{0, 1, 2, 3, 5, 7, 11, 15, 23, 31}

const (
	actorInputs  = flush.NumFeatures
	criticInputs = flush.NumFeatures + len(ahead)
)

// A step is one decision of an episode.
type step struct {
	x       [criticInputs]float32 // the features, as the networks get them, and the future
	serve   bool
	logProb float32 // of the decision, when it was taken
	value   float32 // what the critic expected
	reward  float32
	arrived int     // arrivals until the next decision
	ends    bool    // the episode ended with it
	better  float32 // by how much serving beats waiting, for one who knows the future

	advantage, target float32
}

// env plays one key after the other for the trainer.
type env struct {
	sim    *learn.Sim
	cfg    learn.Config
	state  *coalesce.State
	plan   *learn.Plan
	unit   float64 // what an arrival costs in the best schedule, in calls
	random *rand.Rand
	times  []time.Duration // of its arrivals
	next   int             // the arrival that comes next

	serve, wait float64 // the choices of the schedule

	scale     float64 // of its advantages, smoothed
	decisions int     // of the episode, while inputs are measured

	steps []step
	last  float32 // the value of the state after the last step

	actor, critic *trace
}

// begin begins an episode in a setting. Before it counts every request is served at once for a while, so that the rates are those of a key that was
// there before.
func (e *env) begin(cfg learn.Config, seed uint64, warm int) {
	e.cfg, e.sim = cfg, learn.New(cfg)
	e.state = e.sim.Reset(seed)
	t := e.sim.Traffic()
	e.times = t.Times
	warm = min(warm, len(e.times)/2) // a recording may be short
	e.plan = learn.OptimumFrom(cfg, t, warm)
	e.unit = max(1e-9, e.plan.Cost/float64(len(e.times)-warm))
	e.next, e.decisions = 0, 0
	e.catchUp()
	for e.next <= warm && e.next < len(e.times) {
		if e.advance(true) { // all that are left have joined the last call
			e.state = e.sim.Reset(seed)
			e.plan, e.next = learn.Optimum(cfg, t), 0
			e.catchUp()
			break
		}
	}
	e.decisions = 0
	e.serve, e.wait = e.plan.Judge(e.sim)
}

// catchUp counts the arrivals until the state's time.
func (e *env) catchUp() (arrived int) {
	for e.next < len(e.times) && e.times[e.next] <= e.state.Now {
		e.next++
		arrived++
	}
	return arrived
}

// advance plays one decision.
func (e *env) advance(serve bool) (ended bool) {
	e.decisions++
	_, _, terminated, truncated := e.sim.Step(serve)
	if terminated || truncated {
		return true
	}
	e.catchUp()
	return false
}

// look returns what the networks see: the features, and for the critic the future.
func (e *env) look(x *[criticInputs]float32) {
	var features [flush.NumFeatures]float32
	flush.Features(e.state, e.cfg.CallCost, &features)
	copy(x[:], features[:])
	cost := float64(e.cfg.CallCost)
	for i, k := range ahead {
		wait := time.Duration(math.MaxInt64)
		if e.next+k < len(e.times) {
			wait = e.times[e.next+k] - e.state.Now
		}
		x[flush.NumFeatures+i] = float32(math.Log1p(min(float64(wait)/cost, 100)) / 2)
	}
}
