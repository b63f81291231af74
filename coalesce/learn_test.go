package coalesce_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sluicegate/sluice/coalesce"
)

// lastState is a policy that serves at once and remembers what it was asked.
type lastState struct{ coalesce.State }

func (p *lastState) Decide(s coalesce.State) coalesce.Decision {
	p.State = s
	return coalesce.Decision{Serve: true}
}

// TestRatesOfRandomArrivals: at random arrivals the mean of the rates is the true rate, on each time scale.
func TestRatesOfRandomArrivals(t *testing.T) {
	for _, rate := range []float64{2, 50, 2000} {
		bubble(t, coalesce.Config{}, func(t *testing.T, g *group, _ *events) {
			p := &lastState{}
			opt := &options{Policy: p, Hold: ms, Fetch: takes(0, "v")}
			random := rand.New(rand.NewPCG(1, 2))
			var sum [3]float64
			const warm, n = 2000, 5000
			for i := range warm + n {
				time.Sleep(time.Duration(random.ExpFloat64() / rate * 1e9))
				if _, _, err := g.Do(t.Context(), "key", 1, opt); err != nil {
					t.Fatal(err)
				}
				for k, r := range p.Rates {
					if i >= warm {
						sum[k] += r / n
					}
				}
			}
			for k, scale := range []time.Duration{coalesce.ShortScale, coalesce.MiddleScale, coalesce.LongScale} {
				long := warm/rate > 3*scale.Seconds() // otherwise it has not seen enough of it
				if long && math.Abs(sum[k]/rate-1) > 0.1 {
					t.Errorf("rate %g over %v: %g", rate, scale, sum[k])
				}
			}
		})
	}
}

// TestRatesDecay: a burst is forgotten on the short scale long before it is on the long one.
func TestRatesDecay(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, _ *events) {
		p := &lastState{}
		opt := &options{Policy: p, Hold: ms, Fetch: takes(0, "v")}
		for range 100 {
			ask(t, g, "key", 1, opt)
		}
		time.Sleep(time.Second)
		ask(t, g, "key", 1, opt)
		for k, scale := range []time.Duration{coalesce.ShortScale, coalesce.MiddleScale, coalesce.LongScale} {
			want := 100 / scale.Seconds() * math.Exp(-1/scale.Seconds())
			if got := p.Rates[k]; math.Abs(got/want-1) > 1e-9 {
				t.Errorf("%v: %g, want %g", scale, got, want)
			}
		}
	})
}

// TestGap: the mean of the latest gaps follows them, is not thrown off by a pause, and at an arrival knows nothing of the gap before it.
func TestGap(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, _ *events) {
		p := &lastState{}
		opt := &options{Policy: p, Hold: ms, Fetch: takes(0, "v")}
		arrive := func(n int, gap time.Duration) time.Duration {
			for range n {
				time.Sleep(gap)
				if _, _, err := g.Do(t.Context(), "key", 1, opt); err != nil {
					t.Fatal(err)
				}
			}
			return p.Gap
		}
		for _, c := range []struct {
			n           int
			gap         time.Duration
			least, most time.Duration
		}{
			{1, ms, 0, 0},
			{1, 8 * ms, 0, 0},
			{1, ms, 8*ms - 1, 8 * ms},
			{60, 2 * ms, 2 * ms, 2*ms + ms/100},
			{1, time.Second, 2*ms - 1, 2*ms + ms/100}, // the pause is not yet in it
			{1, 2 * ms, 4 * ms, 5 * ms},               // by an eighth, on a logarithmic scale: 2 × 500^(1/8)
			{30, 2 * ms, 2 * ms, 2*ms + ms/10},
			{60, 0, 0, 2 * time.Microsecond}, // together; that counts as 1 µs
		} {
			if got := arrive(c.n, c.gap); got < c.least || got > c.most {
				t.Errorf("after %d gaps of %v: %v, expected %v to %v", c.n, c.gap, got, c.least, c.most)
			}
		}
	})
}

// TestLatencyEstimates learns call times of several distributions, one after the other.
func TestLatencyEstimates(t *testing.T) {
	bubble(t, coalesce.Config{}, func(t *testing.T, g *group, _ *events) {
		random := rand.New(rand.NewPCG(1, 2))
		var next time.Duration
		p := &lastState{}
		opt := &options{Policy: p, Hold: ms, Fetch: func(context.Context, *call) (string, error) {
			time.Sleep(next)
			return "v", nil
		}}
		logNormal := func(median time.Duration, sigma float64) func() time.Duration {
			return func() time.Duration { return time.Duration(float64(median) * math.Exp(sigma*random.NormFloat64())) }
		}
		for _, c := range []struct {
			name string
			draw func() time.Duration
		}{
			{"20 ms always", func() time.Duration { return 20 * ms }},
			{"around 20 ms", logNormal(20*ms, 0.5)},
			{"ten times as slow", logNormal(200*ms, 0.5)},
			{"fast, and widely spread", logNormal(5*ms, 1)},
			{"exponential", func() time.Duration { return time.Duration(random.ExpFloat64() * 1e7) }},
		} {
			var drawn, p50, p99 []time.Duration
			for i := range 4000 {
				next = c.draw()
				if _, _, err := g.Do(t.Context(), "key", 1, opt); err != nil {
					t.Fatal(err)
				}
				if drawn = append(drawn, next); i >= 2000 {
					p50, p99 = append(p50, p.LatencyP50), append(p99, p.LatencyP99)
				}
			}
			slices.Sort(drawn)
			near(t, c.name+", p50", p50, drawn[len(drawn)/2], 1.25)
			near(t, c.name+", p99", p99, drawn[len(drawn)*99/100], 1.6)
		}
	})
}

// near fails the test if the median of the estimates is off by more than the factor, or one in a hundred by more than its third power.
func near(t *testing.T, name string, estimates []time.Duration, want time.Duration, factor float64) {
	t.Helper()
	off := make([]float64, len(estimates))
	for i, e := range estimates {
		off[i] = math.Exp(math.Abs(math.Log(float64(e) / float64(want))))
	}
	slices.Sort(off)
	mid, worst := off[len(off)/2], off[len(off)*99/100]
	t.Logf("%s: %v, off by a factor of %.2f, %.2f in the worst hundredth", name, want, mid, worst)
	if mid > factor || worst > factor*factor*factor {
		t.Errorf("%s: off by a factor of %.2f, %.2f in the worst hundredth", name, mid, worst)
	}
}
