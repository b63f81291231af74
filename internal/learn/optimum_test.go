package learn_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/learn"
)

// tick is the unit of the small instances. It is no less than what coalesce takes for the shortest time to the next question.
const tick = 10 * time.Microsecond

// anySmall draws a setting and traffic so small that every schedule can be tried.
func anySmall(t *rapid.T) (learn.Config, learn.Traffic) {
	ticks := func(least, most int, name string) time.Duration {
		return tick * time.Duration(rapid.IntRange(least, most).Draw(t, name))
	}
	cfg := learn.Config{
		Arrivals: learn.Poisson{Rate: 1}, CallCost: ticks(1, 30, "call cost"), Hold: ticks(0, 12, "hold"),
		MaxBatch: rapid.IntRange(0, 4).Draw(t, "max batch"), Relaxed: rapid.Bool().Draw(t, "relaxed"),
	}
	var traffic learn.Traffic
	var at time.Duration
	for range rapid.IntRange(1, 9).Draw(t, "arrivals") {
		traffic.Times = append(traffic.Times, at)
		traffic.Calls = append(traffic.Calls, ticks(0, 8, "call"))
		at += ticks(1, 6, "gap")
	}
	return cfg, traffic
}

// tryAll returns the least cost of the arrivals from i on by trying to serve the slot at every tick.
func tryAll(cfg *learn.Config, t *learn.Traffic, i int) time.Duration {
	m := len(t.Times)
	if i == m {
		return 0
	}
	least := time.Duration(math.MaxInt64)
	for at := t.Times[i]; at <= t.Times[i]+cfg.Hold; at += tick {
		end, until := at, at // when waiting ends, and which arrivals the call answers
		if cfg.Relaxed {
			end = at + t.Calls[i]
			until = end
		}
		cost, waiters, j := cfg.CallCost, 0, i
		for ; j < m && t.Times[j] <= until; j++ {
			cost += end - t.Times[j]
			if t.Times[j] <= at {
				waiters++
			}
		}
		if cfg.MaxBatch > 0 && waiters > cfg.MaxBatch {
			break
		}
		least = min(least, cost+tryAll(cfg, t, j))
		if cfg.MaxBatch > 0 && waiters == cfg.MaxBatch {
			break
		}
	}
	return least
}

// TestOptimumIsTheBestOfAll compares the plan with all schedules there are, and has the simulation play it: the plan must cost what it says.
func TestOptimumIsTheBestOfAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg, traffic := anySmall(t)
		plan := learn.Optimum(cfg, traffic)
		want := float64(tryAll(&cfg, &traffic, 0)) / float64(cfg.CallCost)
		if plan.Cost != want {
			t.Fatalf("the plan costs %g, the best of all schedules %g", plan.Cost, want)
		}
		sim := learn.New(cfg)
		sim.Play(traffic)
		played := sim.Finish(plan)
		if math.Abs(played.Cost-plan.Cost) > 1e-9 || played.Calls != len(plan.Serves) {
			t.Fatalf("played, the plan of %g in %d calls costs %g in %d", plan.Cost, len(plan.Serves), played.Cost, played.Calls)
		}
	})
}

// anyPolicy draws one that decides by what it sees.
func anyPolicy(t *rapid.T, cost time.Duration) coalesce.Policy {
	return rapid.SampledFrom([]coalesce.Policy{
		flush.Immediate{}, flush.Timer{After: cost}, flush.Size{N: 3}, flush.Balance{CallCost: cost}, flush.Threshold{CallCost: cost},
		learn.Hindsight{N: 5, Gap: cost / 3, Budget: 2 * cost},
	}).Draw(t, "policy")
}

// TestOptimumOnLongTraffic: no policy costs less, the plan costs what it says, and balance at most twice as much where that was proven.
func TestOptimumOnLongTraffic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := anySetting(t)
		cfg.Requests = 300
		traffic := cfg.Draw(cfg.Seed)
		plan := learn.Optimum(cfg, traffic)
		sim := learn.New(cfg)
		sim.Play(traffic)
		policy := anyPolicy(t, cfg.CallCost)
		if o := sim.Finish(policy); o.Cost < plan.Cost*(1-1e-9) {
			t.Fatalf("%#v costs %g, the optimum %g", policy, o.Cost, plan.Cost)
		}
		sim.Play(traffic)
		// Where the plan is to serve in less than the shortest time that coalesce waits, it is late.
		if o := sim.Finish(plan); o.Cost < plan.Cost*(1-1e-9) || o.Cost > plan.Cost*1.02 {
			t.Fatalf("played, the plan of %g costs %g", plan.Cost, o.Cost)
		}
		cfg.Hold, cfg.MaxBatch, cfg.Relaxed = time.Hour, 0, false
		sim = learn.New(cfg)
		sim.Play(traffic)
		free := learn.Optimum(cfg, traffic)
		if o := sim.Finish(flush.Balance{CallCost: cfg.CallCost}); o.Cost > 2.02*free.Cost {
			t.Fatalf("balance costs %g, the optimum %g", o.Cost, free.Cost)
		}
	})
}

// anySetting draws a setting with traffic of any kind.
func anySetting(t *rapid.T) learn.Config {
	duration := func(least, most time.Duration, name string) time.Duration {
		return time.Duration(rapid.Int64Range(int64(least), int64(most)).Draw(t, name))
	}
	source := rapid.SampledFrom([]learn.Source{
		learn.Poisson{Rate: 30}, learn.Poisson{Rate: 3000}, learn.Modulated{{Rate: 10, Stay: 300 * ms}, {Rate: 2000, Stay: 30 * ms}},
		learn.Flash{Rate: 20, Peak: 2000, Every: time.Second, Decay: 100 * ms}, learn.Pareto{Rate: 200, Alpha: 1.3},
		learn.Diurnal{Rate: 200, Depth: 0.9, Period: time.Second}, learn.LogNormal{Rate: 100, Sigma: 2},
	}).Draw(t, "source")
	return learn.Config{
		Arrivals: source, CallCost: duration(ms/2, 200*ms, "call cost"), Hold: duration(0, 100*ms, "hold"),
		MaxBatch: rapid.SampledFrom([]int{0, 1, 7, 128}).Draw(t, "max batch"), Relaxed: rapid.Bool().Draw(t, "relaxed"),
		Latency: learn.Latency{
			Median: duration(0, 50*ms, "latency"), Sigma: rapid.SampledFrom([]float64{0, 0.5}).Draw(t, "sigma"),
			Capacity: rapid.SampledFrom([]float64{0, 300}).Draw(t, "capacity"),
		},
		Seed: rapid.Uint64().Draw(t, "seed"),
	}
}

// TestJudge has a player always take the answer that is said to cost less. What each step costs is what the least cost from there on goes down by,
// and at the beginning that is the plan's.
func TestJudge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := anySetting(t)
		cfg.Requests = 200
		sim := learn.New(cfg)
		sim.Reset(cfg.Seed)
		if !sim.Asking() {
			return
		}
		plan := learn.Optimum(cfg, sim.Traffic())
		left := plan.Cost
		for over := false; !over; {
			serve, wait := plan.Judge(sim)
			least := min(serve, wait)
			if least < left-1e-6 {
				t.Fatalf("from here on it is %g or %g, but %g are left", serve, wait, left)
			}
			// In relaxed mode the best time may be between two questions.
			if !cfg.Relaxed && least > left+1e-6 {
				t.Fatalf("from here on it is %g or %g, but only %g are left", serve, wait, left)
			}
			_, reward, terminated, truncated := sim.Step(serve <= wait)
			left = least + reward
			over = terminated || truncated
		}
		if math.Abs(left) > 1e-6 {
			t.Fatalf("%g are left at the end", left)
		}
	})
}
