package sim_test

import (
	"testing"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/lease/sim"
)

// limits are of all kinds: exact and fractional T, fast and slow, with bursts and without.
var limits = []gcra.Limit{
	gcra.MustLimit(1000, time.Second, 500),
	gcra.MustLimit(7, time.Second, 3),
	gcra.MustLimit(1000, time.Minute, 0),
	gcra.MustLimit(100, time.Second, 20),
	gcra.MustLimit(333_333, time.Second, 5000),
	gcra.MustLimit(50, time.Second, 200),
}

func seeds() uint64 {
	if testing.Short() {
		return 6
	}
	return 40
}

// What all nodes spent goes through a limiter of its own, which must not refuse any of it: see world.spend.
func TestNoWindowSeesMoreThanTheLimit(t *testing.T) {
	for seed := range seeds() {
		c := sim.Config{
			Seed: seed, Nodes: 1 + int(seed)%7, Keys: 40, Limit: func(key int) gcra.Limit { return limits[(key+int(seed))%len(limits)] },
			Rate: 10_000, Zipf: 1.2, Spread: 1 + int(seed)%7, Duration: 8 * time.Second,
			Latency: 2 * time.Millisecond, Timeout: 5 * time.Millisecond, Trouble: int(seed) % 3 * 200,
		}
		r := sim.Run(c)
		if r.Over != 0 {
			t.Errorf("seed %d: %d tokens were spent beyond the limits: %+v", seed, r.Over, r)
		}
		if r.Admitted == 0 || r.Refused == 0 || r.Calls == 0 {
			t.Errorf("seed %d: nothing was tried: %+v", seed, r)
		}
		t.Logf("%2d: unspent %.2f%%, busy %.2f%%, calls %.1f%% of strict's, failed %d, deaths %d", seed,
			100*sim.Unspent(r.Admitted, r.Ideal), 100*sim.Unspent(r.BusyAdmitted, r.BusyIdeal), 100*float64(r.Calls)/float64(r.Requests), r.Failed, r.Deaths)
	}
}

// TestOneHotKey drives one key of 10,000/s on three nodes.
func TestOneHotKey(t *testing.T) {
	for _, load := range []float64{0.5, 0.95, 1, 2, 10} {
		for _, burst := range []int64{100, 1000, 10_000} {
			r := sim.Run(sim.Config{
				Seed: 1, Nodes: 3, Keys: 2, Limit: func(int) gcra.Limit { return gcra.MustLimit(10_000, time.Second, burst) },
				Rate: 10_000 * load / 1.1, Zipf: 50, Spread: 3, Duration: 10 * time.Second, Latency: time.Millisecond, Timeout: 5 * time.Millisecond,
			})
			calls, unspent := float64(r.Calls)/float64(r.Requests), sim.Unspent(r.Admitted, r.Ideal)
			t.Logf("load %4.2f, burst %5d: calls %.2f%% of strict's (%.0f/s), unspent %.2f%%", load, burst, 100*calls, float64(r.Calls)/r.Elapsed.Seconds(), 100*unspent)
			if r.Over != 0 || burst >= 1000 && (calls > 0.05 || unspent > 0.05) {
				t.Errorf("load %v, burst %d: %+v", load, burst, r)
			}
		}
	}
}
