package ppo

import (
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/learn"
)

// A contest is a setting with its traffic and what the best schedule pays for it, to measure policies by.
type contest struct {
	cfg     learn.Config
	traffic learn.Traffic
	best    float64
}

func newContest(cfg learn.Config, seed uint64) contest {
	t := cfg.Draw(seed)
	return contest{cfg: cfg, traffic: t, best: max(1, learn.Optimum(cfg, t).Cost)}
}

// ratio is what the policy pays, as a multiple of the best schedule.
func (c *contest) ratio(p coalesce.Policy) float64 {
	s := learn.New(c.cfg)
	s.Play(c.traffic)
	return s.Finish(p).Cost / c.best
}

// meanRatio is the geometric mean of what the policy pays in all contests.
func meanRatio(all []contest, policy func(callCost time.Duration) coalesce.Policy) float64 {
	logs := make([]float64, len(all))
	each(len(all), func(i int) { logs[i] = math.Log(all[i].ratio(policy(all[i].cfg.CallCost))) })
	sum := 0.0
	for _, x := range logs {
		sum += x
	}
	return math.Exp(sum / float64(len(all)))
}

// each calls f for 0 to n−1, several at a time.
func each(n int, f func(i int)) {
	next := make(chan int)
	var run sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		run.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	run.Wait()
}

// The sizes of the validation.
const (
	validationArrivals = 1500
	validationSettings = 40
	traceSettings      = 12
	leastValidations   = 5
)

// prepare makes the contests of the validation: the cells that may be seen, settings as they are trained in, and the recordings; with traffic of
// their own.
func (t *trainer) prepare() {
	var settings []learn.Config
	for _, c := range learn.Seen() {
		settings = append(settings, c.Config)
	}
	random := t.random(4, 0)
	for range validationSettings {
		cfg, _ := draw(random, nil)
		settings = append(settings, cfg)
	}
	for _, trace := range t.o.Traces {
		for range traceSettings {
			cfg, _ := draw(random, nil)
			cfg.Arrivals = trace
			settings = append(settings, cfg)
		}
	}
	seed := random.Uint64() >> trainingSeeds
	t.contests = make([]contest, len(settings))
	each(len(settings), func(i int) {
		settings[i].Requests = validationArrivals
		t.contests[i] = newContest(settings[i], seed+uint64(i))
	})
	t.balance = meanRatio(t.contests, func(cost time.Duration) coalesce.Policy { return flush.Balance{CallCost: cost} })
}

// due reports whether it is time for a validation.
func (t *trainer) due() bool {
	perUpdate := len(t.envs) * span
	every := max(generation, min(validated/perUpdate, t.o.Steps/perUpdate/leastValidations))
	return t.iteration%every == 0 || t.step() >= t.o.Steps
}

// validate measures the averaged network, and keeps it if it is the best so far.
func (t *trainer) validate() float64 {
	n, err := t.network(t.average, flush.Training{})
	if err != nil {
		return math.Inf(1) // the weights are out of range; an earlier network is kept
	}
	ratio := meanRatio(t.contests, func(cost time.Duration) coalesce.Policy { return flush.PPO{Net: n, CallCost: cost} })
	if t.best == nil || ratio < t.bestRatio {
		t.best, t.bestRatio = append(t.best[:0], t.average...), ratio
	}
	return ratio
}

// Figures are what a policy file says of its network: the costs as multiples of those of the best schedule, geometric means over the cells of
// sluice eval, with other traffic than in training, and less of it than there.
func Figures(n *flush.Network) map[string]float64 {
	groups := map[string][]contest{}
	for i, c := range append(learn.Seen(), learn.Unseen()...) {
		name := "seen"
		switch {
		case c.Relaxed:
			name = "unseen_relaxed"
		case c.Unseen:
			name = "unseen_strict"
		}
		c.Requests = 2 * validationArrivals
		groups[name] = append(groups[name], newContest(c.Config, 1<<39+uint64(i)))
	}
	out := map[string]float64{}
	for name, contests := range groups {
		ratio := meanRatio(contests, func(cost time.Duration) coalesce.Policy { return flush.PPO{Net: n, CallCost: cost} })
		out[name] = math.Round(ratio*1e4) / 1e4
	}
	return out
}
