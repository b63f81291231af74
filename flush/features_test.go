package flush_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
)

// TestFeaturesAreTame: whatever the state, all features are numbers of a size that a network can do with.
func TestFeaturesAreTame(t *testing.T) {
	extremes := []time.Duration{0, 1, time.Microsecond, time.Second, 1000 * time.Hour, math.MaxInt64 / 2, coalesce.Never}
	rates := []float64{0, 1e-300, 1, 1e9, math.MaxFloat64, math.Inf(1), math.NaN(), -1}
	rapid.Check(t, func(t *rapid.T) {
		s := anyState(t)
		for name, field := range map[string]*time.Duration{
			"since": &s.SinceArrival, "waiting": &s.Waiting, "age": &s.Age, "p50": &s.LatencyP50, "p99": &s.LatencyP99, "hold": &s.Hold, "for": &s.InFlightFor,
		} {
			if rapid.Bool().Draw(t, "extreme "+name) {
				*field = rapid.SampledFrom(extremes).Draw(t, name)
			}
		}
		for i := range s.Rates {
			if rapid.Bool().Draw(t, "extreme rate") {
				s.Rates[i] = rapid.SampledFrom(rates).Draw(t, "rate")
			}
		}
		s.InFlight, s.MaxBatch = rapid.Bool().Draw(t, "in flight"), rapid.SampledFrom([]int{0, 1, 128, 1 << 40}).Draw(t, "max batch")
		var out [flush.NumFeatures]float32
		flush.Features(&s, rapid.SampledFrom(extremes).Draw(t, "call cost"), &out)
		for i, v := range out {
			if !(v >= -12 && v <= 12) {
				t.Fatalf("feature %d is %g of %+v", i, v, s)
			}
		}
	})
}

// TestFeaturesScale: a slot at half the pace, where a call costs twice as much, looks the same, but for what rests on how many arrivals were seen.
func TestFeaturesScale(t *testing.T) {
	same := []int{
		flush.FeatureSize, flush.FeatureShort, flush.FeatureMiddle, flush.FeatureLong, flush.FeatureSlot, flush.FeatureArrival, flush.FeatureGap,
		flush.FeatureSilence, flush.FeatureWaiting, flush.FeatureAge, flush.FeatureLeft, flush.FeatureFull, flush.FeatureRelaxed, flush.FeatureLatency,
		flush.FeatureTail, flush.FeatureInFlight,
	}
	rapid.Check(t, func(t *rapid.T) {
		slow := time.Duration(rapid.IntRange(2, 10).Draw(t, "slower"))
		span := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Second)).Draw(t, name))
		}
		s := coalesce.State{
			Arrival: rapid.Bool().Draw(t, "arrival"), Size: rapid.IntRange(1, 100).Draw(t, "size"), Waiting: span("waiting"), Age: span("age"),
			SinceArrival: span("since"), LatencyP50: span("p50"), LatencyP99: span("p99"), Relaxed: rapid.Bool().Draw(t, "relaxed"), Hold: span("hold"),
			MaxBatch: 128, InFlight: rapid.Bool().Draw(t, "in flight"), InFlightFor: span("for"),
		}
		s.SinceArrival = min(s.SinceArrival, s.Age/2)
		cost := span("call cost")
		for i := range s.Rates {
			s.Rates[i] = rapid.Float64Range(0.1, 1000).Draw(t, "rate")
		}
		var one, other [flush.NumFeatures]float32
		flush.Features(&s, cost, &one)
		for _, d := range []*time.Duration{&s.Waiting, &s.Age, &s.SinceArrival, &s.LatencyP50, &s.LatencyP99, &s.Hold, &s.InFlightFor} {
			*d *= slow
		}
		for i := range s.Rates {
			s.Rates[i] /= float64(slow)
		}
		flush.Features(&s, cost*slow, &other)
		for _, i := range same {
			if math.Abs(float64(one[i]-other[i])) > 1e-5 {
				t.Fatalf("feature %d is %g, and %g at 1/%d of the pace", i, one[i], other[i], slow)
			}
		}
	})
}

// TestFeaturesTell: what matters to a decision changes the features that are for it, in the right direction.
func TestFeaturesTell(t *testing.T) {
	base := coalesce.State{Size: 4, Waiting: 20 * ms, Age: 10 * ms, SinceArrival: 2 * ms, Rates: dense(500), Hold: 50 * ms, MaxBatch: 128, LatencyP50: 20 * ms}
	for name, c := range map[string]struct {
		change func(*coalesce.State)
		up     []int
	}{
		"one more":        {func(s *coalesce.State) { s.Size++ }, []int{flush.FeatureSize, flush.FeatureBest, flush.FeatureSlot, flush.FeatureFull}},
		"a lower rate":    {func(s *coalesce.State) { s.Rates = dense(100) }, []int{flush.FeatureBest}},
		"a higher rate":   {func(s *coalesce.State) { s.Rates = dense(900) }, []int{flush.FeatureShort, flush.FeatureKnown, flush.FeatureExpected}},
		"a longer pause":  {func(s *coalesce.State) { s.SinceArrival = 4 * ms }, []int{flush.FeatureGap, flush.FeatureSurprise, flush.FeatureSilence}},
		"a later request": {func(s *coalesce.State) { s.Arrival = true }, []int{flush.FeatureArrival}},
		"more waiting":    {func(s *coalesce.State) { s.Waiting = 30 * ms }, []int{flush.FeatureWaiting}},
		"an older slot":   {func(s *coalesce.State) { s.Age = 20 * ms }, []int{flush.FeatureAge}},
		"a longer hold":   {func(s *coalesce.State) { s.Hold = 80 * ms }, []int{flush.FeatureLeft, flush.FeatureExpected}},
		"joining":         {func(s *coalesce.State) { s.Relaxed = true }, []int{flush.FeatureRelaxed, flush.FeatureLatency}},
		"a call":          {func(s *coalesce.State) { s.InFlight, s.InFlightFor = true, 5*ms }, []int{flush.FeatureInFlight}},
	} {
		changed := base
		c.change(&changed)
		var before, after [flush.NumFeatures]float32
		flush.Features(&base, 25*ms, &before)
		flush.Features(&changed, 25*ms, &after)
		for _, i := range c.up {
			if !(after[i] > before[i]) {
				t.Errorf("%s: feature %d goes from %g to %g", name, i, before[i], after[i])
			}
		}
	}
}

func TestFeaturesDontAllocate(t *testing.T) {
	s := coalesce.State{Size: 4, Rates: dense(500), Hold: 50 * ms}
	var out [flush.NumFeatures]float32
	if n := testing.AllocsPerRun(100, func() { flush.Features(&s, 25*ms, &out) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// TestRecheck: what waiters wait until the next question is a small part of a call, unless that would be too soon; and there are some in each hold.
func TestRecheck(t *testing.T) {
	for _, c := range []struct {
		size       int
		cost, hold time.Duration
		want       time.Duration
	}{
		{1, 32 * ms, 50 * ms, 2 * ms}, {2, 32 * ms, 50 * ms, 2 * ms}, {8, 32 * ms, 50 * ms, ms / 2}, {100, 32 * ms, 50 * ms, ms / 4},
		{1, time.Hour, 48 * ms, 6 * ms}, {1, ms, 50 * ms, ms / 4}, {0, 32 * ms, 50 * ms, 2 * ms}, {1, 0, 0, ms / 4},
	} {
		if got := flush.Recheck(&coalesce.State{Size: c.size, Hold: c.hold}, c.cost); got != c.want {
			t.Errorf("%d waiters, a call costs %v, hold %v: %v, want %v", c.size, c.cost, c.hold, got, c.want)
		}
	}
}
