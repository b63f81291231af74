package learn_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/internal/learn"
)

// TestHindsightIsPlayedAsItIsSearched: what the search takes for the cost of a triple is what the simulation says of the policy.
func TestHindsightIsPlayedAsItIsSearched(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := anySetting(t)
		cfg.Requests = 300
		traffic := cfg.Draw(cfg.Seed)
		h := learn.Hindsight{
			N:      rapid.IntRange(0, 40).Draw(t, "n"),
			Gap:    time.Duration(rapid.Int64Range(0, int64(60*ms)).Draw(t, "gap")),
			Budget: time.Duration(rapid.Int64Range(0, int64(400*ms)).Draw(t, "budget")),
		}
		sim := learn.New(cfg)
		sim.Play(traffic)
		played := sim.Finish(h)
		if got := learn.HindsightCost(h, &cfg, &traffic); math.Abs(got-played.Cost) > 1e-9 {
			t.Fatalf("%+v: searched as %g, played %g", h, got, played.Cost)
		}
	})
}

// TestBestHindsight: of random arrivals the best triple is close to n*, and it is no worse than any of a few others.
func TestBestHindsight(t *testing.T) {
	cfg := learn.Config{Arrivals: learn.Poisson{Rate: 500}, CallCost: 25 * ms, Hold: 50 * ms, MaxBatch: 128, Requests: 5000}
	traffic := []learn.Traffic{cfg.Draw(1), cfg.Draw(2), cfg.Draw(3), cfg.Draw(4)}
	best := learn.BestHindsight(cfg, traffic)
	if best.N < 4 || best.N > 7 { // n* is 5
		t.Errorf("best: %+v", best)
	}
	total := func(h learn.Hindsight) (sum float64) {
		for i := range traffic {
			sum += learn.HindsightCost(h, &cfg, &traffic[i])
		}
		return sum
	}
	for _, other := range []learn.Hindsight{{1, 0, 0}, {5, 50 * ms, time.Second}, {6, 10 * ms, 25 * ms}, {200, 5 * ms, 25 * ms}, {200, 50 * ms, 25 * ms}} {
		if total(other) < total(best) {
			t.Errorf("%+v costs %g, the best %+v %g", other, total(other), best, total(best))
		}
	}
}
