package learn

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
)

// A Contender is a policy to compare. It gets to know the setting, but not the traffic.
type Contender struct {
	Name   string
	Policy func(*Config) coalesce.Policy
}

// Rules returns the fixed rules that a learned policy is to beat. A timer is for the whole hold.
func Rules() []Contender {
	return []Contender{
		{"immediate", func(*Config) coalesce.Policy { return flush.Immediate{} }},
		{"timer", func(c *Config) coalesce.Policy { return flush.Timer{After: c.Hold} }},
		{"size", func(*Config) coalesce.Policy { return flush.Size{N: 8} }},
		{"balance", func(c *Config) coalesce.Policy { return flush.Balance{CallCost: c.CallCost} }},
		{"threshold", func(c *Config) coalesce.Policy { return flush.Threshold{CallCost: c.CallCost} }},
	}
}

// The names under which an evaluation lists what nobody can do who doesn't know the traffic beforehand.
const (
	ClairvoyantName = "clairvoyant"
	HindsightName   = "hindsight"
)

// A Result is what a policy did in a cell: means over the seeds, and waits of all requests of all seeds.
type Result struct {
	Policy     string  `json:"policy"`
	Regime     string  `json:"regime"` // as Parse understands it
	CallCostMS float64 `json:"call_cost_ms"`
	Freshness  string  `json:"freshness"` // strict or relaxed
	Unseen     bool    `json:"unseen"`
	CostRatio  float64 `json:"cost_ratio"` // cost over that of the clairvoyant
	Low        float64 `json:"cost_ratio_low"`
	High       float64 `json:"cost_ratio_high"` // 95 % interval, by the bootstrap
	Reduction  float64 `json:"reduction"`       // share of the requests that needed no call of their own
	WaitMean   float64 `json:"wait_mean_ms"`
	WaitP50    float64 `json:"wait_p50_ms"` // in slots: 0 for a request that joins a call
	WaitP99    float64 `json:"wait_p99_ms"`
	ByPolicy   float64 `json:"by_policy"` // share of the calls
	ByHold     float64 `json:"by_hold"`
	BySize     float64 `json:"by_size"`
	Fallbacks  int     `json:"fallbacks"`
	Latency    string  `json:"latency"` // of the upstream, as ParseLatency understands it
	HoldMS     float64 `json:"hold_ms"`
	MaxBatch   int     `json:"max_batch"`
	Group      string  `json:"group"`
	Triple     string  `json:"triple,omitempty"` // hindsight's
}

// Evaluation says how to compare.
type Evaluation struct {
	Cells      []Cell
	Contenders []Contender
	Seeds      int // pieces of traffic for each cell
	Requests   int // arrivals of each; 0 means 20,000
	Workers    int // cells at once; 0 means 1
	// Progress, if not nil, is called after each cell, by one goroutine at a time.
	Progress func(done, of int)
}

// Run plays all contenders, and the clairvoyant and the best fixed rule in hindsight, in all cells, each with the same traffic. The results come in the
// order of the cells and then of the contenders. It returns early, with ctx.Err(), when ctx ends.
func (e *Evaluation) Run(ctx context.Context) (*Report, error) {
	results := make([][]Result, len(e.Cells))
	next := make(chan int)
	var workers sync.WaitGroup
	var progress sync.Mutex // guards done and the calls of Progress
	done := 0
	for range max(1, e.Workers) {
		workers.Go(func() {
			for i := range next {
				results[i] = e.cell(&e.Cells[i])
				progress.Lock()
				done++
				if e.Progress != nil {
					e.Progress(done, len(e.Cells))
				}
				progress.Unlock()
			}
		})
	}
	for i := range e.Cells {
		if ctx.Err() != nil {
			break
		}
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &Report{Cells: slices.Concat(results...)}, nil
}

// evalSeed is the first seed of the traffic that policies are judged by. Training keeps below it.
const evalSeed = 1 << 40

// cell compares in one cell.
func (e *Evaluation) cell(c *Cell) []Result {
	cfg := c.Config
	cfg.Requests = e.Requests
	traffic := make([]Traffic, e.Seeds)
	plans := make([]*Plan, e.Seeds)
	for i := range traffic {
		traffic[i] = cfg.Draw(evalSeed + uint64(i))
		plans[i] = Optimum(cfg, traffic[i])
	}
	play := func(name string, policy func(seed int) coalesce.Policy) Result {
		sim := New(cfg)
		t := newTally(name, c)
		for i := range traffic {
			sim.Play(traffic[i])
			t.add(sim.Finish(policy(i)), plans[i].Cost)
		}
		return t.result()
	}
	var results []Result
	for _, contender := range e.Contenders {
		policy := contender.Policy(&cfg)
		results = append(results, play(contender.Name, func(int) coalesce.Policy { return policy }))
	}
	best := BestHindsight(cfg, traffic)
	hindsight := play(HindsightName, func(int) coalesce.Policy { return best })
	hindsight.Triple = best.String()
	return append(results, hindsight, play(ClairvoyantName, func(seed int) coalesce.Policy { return plans[seed] }))
}

// A tally sums up the seeds of one policy in one cell.
type tally struct {
	r      Result
	ratios []float64
	total  Outcome
}

func newTally(name string, c *Cell) *tally {
	freshness := "strict"
	if c.Relaxed {
		freshness = "relaxed"
	}
	return &tally{r: Result{
		Policy: name, Regime: c.Arrivals.String(), CallCostMS: millis(c.CallCost), Freshness: freshness, Unseen: c.Unseen, Group: c.Group,
		Latency: c.Latency.String(), HoldMS: millis(c.Hold), MaxBatch: c.MaxBatch,
	}}
}

func (t *tally) add(o Outcome, least float64) {
	t.ratios = append(t.ratios, o.Cost/least)
	t.total.Requests += o.Requests
	t.total.Calls += o.Calls
	t.total.ByPolicy += o.ByPolicy
	t.total.ByHold += o.ByHold
	t.total.BySize += o.BySize
	t.total.Fallbacks += o.Fallbacks
	t.total.Waits.Merge(&o.Waits)
}

func (t *tally) result() Result {
	r, o := t.r, &t.total
	r.CostRatio = mean(t.ratios)
	r.Low, r.High = bootstrap(t.ratios)
	r.Reduction = o.Reduction()
	r.WaitMean, r.WaitP50, r.WaitP99 = millis(o.Waits.Mean()), millis(o.Waits.Quantile(0.5)), millis(o.Waits.Quantile(0.99))
	calls := float64(max(1, o.Calls))
	r.ByPolicy, r.ByHold, r.BySize = float64(o.ByPolicy)/calls, float64(o.ByHold)/calls, float64(o.BySize)/calls
	r.Fallbacks = o.Fallbacks
	return r
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(max(1, len(xs)))
}

// geometricMean is 0 of none.
func geometricMean(xs []float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	sum := 0.0
	for _, x := range xs {
		sum += math.Log(x)
	}
	return math.Exp(sum / float64(len(xs)))
}

// bootstrap returns an interval that has the mean in 95 of 100 cases: that of the middle 95 % of the means of samples drawn from the sample.
func bootstrap(xs []float64) (low, high float64) {
	const draws = 1000
	r := rand.New(rand.NewPCG(1, uint64(len(xs))))
	means := make([]float64, draws)
	sample := make([]float64, len(xs))
	for i := range means {
		for k := range sample {
			sample[k] = xs[r.IntN(len(xs))]
		}
		means[i] = mean(sample)
	}
	slices.Sort(means)
	return means[draws*25/1000], means[draws*975/1000]
}
