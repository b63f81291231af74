package learn_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/internal/learn"
)

// examples are the spellings of all kinds but recordings.
func examples() []string {
	all := slices.Clone(learn.Spellings())
	return slices.DeleteFunc(all, func(s string) bool { return strings.HasPrefix(s, "trace:") })
}

func parse(t interface {
	Helper()
	Fatal(...any)
}, spelling string) learn.Source {
	t.Helper()
	s, err := learn.Parse(spelling)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParseAndString(t *testing.T) {
	for _, spelling := range examples() {
		if got := parse(t, spelling).String(); got != spelling {
			t.Errorf("%s comes back as %s", spelling, got)
		}
	}
	for _, spelling := range []string{
		"", "poisson", "poisson:", "poisson:5", "poisson:0/s", "poisson:-1/s", "poisson:NaN/s", "poisson:1e9/s", "poisson:5/s,6/s", "poisson:5/s,x=1", "fish:1/s",
		"mmpp:5/s@2s", "mmpp:0/s@1s,0/s@1s", "mmpp:5/s@2s,5/s", "mmpp:5/s@0s,5/s@1s", "diurnal:5/s,depth=2,period=1s", "diurnal:5/s,depth=1",
		"flash:5/s,peak=9/s,every=1s", "pareto:5/s,alpha=1", "lognormal:5/s,sigma=-1", "lognormal:5/s,sigma=x", "poisson:5/s,",
	} {
		if s, err := learn.Parse(spelling); !errors.Is(err, learn.ErrSpelling) {
			t.Errorf("%q: %v, %v", spelling, s, err)
		}
	}
	if _, err := learn.Parse("trace:testdata/none.csv"); err == nil {
		t.Error("a trace that isn't there")
	}
}

func TestParseLatency(t *testing.T) {
	for _, spelling := range []string{"0", "20ms", "20ms,sigma=0.5", "20ms,capacity=500/s", "1m,sigma=2,capacity=0.5/s"} {
		l, err := learn.ParseLatency(spelling)
		if err != nil || l.String() != spelling {
			t.Errorf("%s: %v, %v", spelling, l, err)
		}
	}
	for _, spelling := range []string{"", "20", "-1ms", "sigma=1", "20ms,sigma=x", "20ms,capacity=5", "20ms,depth=1", "20ms,sigma=1,sigma=1"} {
		if l, err := learn.ParseLatency(spelling); !errors.Is(err, learn.ErrSpelling) {
			t.Errorf("%q: %v, %v", spelling, l, err)
		}
	}
}

// TestSources: times ascend from 0 on, are as many as asked for, and depend on nothing but the seed.
func TestSources(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := learn.Config{Arrivals: parse(t, rapid.SampledFrom(examples()).Draw(t, "source")), Requests: 500, Latency: learn.Latency{Median: ms, Sigma: 1}}
		seed := rapid.Uint64().Draw(t, "seed")
		one, again, other := cfg.Draw(seed), cfg.Draw(seed), cfg.Draw(seed+1)
		if len(one.Times) != 500 || len(one.Calls) != 500 || !slices.IsSorted(one.Times) || one.Times[0] < 0 || slices.Min(one.Calls) < 0 {
			t.Fatalf("%v", one)
		}
		if !slices.Equal(one.Times, again.Times) || !slices.Equal(one.Calls, again.Calls) || slices.Equal(one.Times, other.Times) {
			t.Fatal("the seed doesn't determine the traffic")
		}
	})
}

// TestMeanRates: over a long time each source has the rate that it says.
func TestMeanRates(t *testing.T) {
	for spelling, want := range map[string]float64{
		"poisson:50/s":                                   50,
		"mmpp:10/s@300ms,100/s@100ms":                    (10*0.3 + 100*0.1) / 0.4,
		"mmpp:0/s@100ms,20/s@100ms,100/s@100ms":          40,
		"diurnal:100/s,depth=0.9,period=2s":              100,
		"flash:10/s,peak=500/s,every=2s,decay=50ms":      10 + 490*0.05/2,
		"pareto:100/s,alpha=2.5":                         100,
		"lognormal:100/s,sigma=1":                        100,
		"diurnal:100/s,depth=0,period=1s":                100,
		"flash:200/s,peak=200.00001/s,every=1s,decay=1s": 200,
	} {
		times := parse(t, spelling).Times(nil, 200_000, rand.New(rand.NewPCG(1, 1)))
		got := float64(len(times)) / times[len(times)-1].Seconds()
		if math.Abs(got/want-1) > 0.05 {
			t.Errorf("%s: %g a second, want %g", spelling, got, want)
		}
	}
}

// variation is the standard deviation of the gaps, over their mean.
func variation(times []time.Duration) float64 {
	var sum, squares float64
	for i := 1; i < len(times); i++ {
		gap := (times[i] - times[i-1]).Seconds()
		sum, squares = sum+gap, squares+gap*gap
	}
	n := float64(len(times) - 1)
	return math.Sqrt(squares/n-(sum/n)*(sum/n)) / (sum / n)
}

// TestShapes: gaps of random arrivals vary as much as their mean, and those of bursty ones far more.
func TestShapes(t *testing.T) {
	for spelling, want := range map[string][2]float64{
		"poisson:50/s":              {0.97, 1.03},
		"mmpp:5/s@2s,500/s@200ms":   {3, 8},
		"lognormal:100/s,sigma=1":   {1.2, 1.4}, // √(e−1) = 1.31
		"pareto:100/s,alpha=1.2":    {4, 1000},  // infinite
		"lognormal:100/s,sigma=0":   {0, 1e-6},
		"pareto:100/s,alpha=100":    {0, 0.02},
		"mmpp:50/s@50ms,50/s@500ms": {0.97, 1.03}, // it jumps to where it is
	} {
		got := variation(parse(t, spelling).Times(nil, 100_000, rand.New(rand.NewPCG(1, 1))))
		if got < want[0] || got > want[1] {
			t.Errorf("%s: gaps vary by %g, want %v", spelling, got, want)
		}
	}
}

func TestLatency(t *testing.T) {
	logs := func(l learn.Latency, rate float64) (middle, spread float64) {
		cfg := learn.Config{Arrivals: learn.Poisson{Rate: rate}, Latency: l, Requests: 50_000}
		for _, took := range cfg.Draw(3).Calls {
			x := math.Log(took.Seconds() / l.Median.Seconds())
			middle, spread = middle+x/50_000, spread+x*x/50_000
		}
		return middle, math.Sqrt(spread - middle*middle)
	}
	for _, c := range []struct {
		latency        learn.Latency
		rate           float64
		middle, spread float64
	}{
		{learn.Latency{Median: 20 * ms}, 10, 0, 0},
		{learn.Latency{Median: 20 * ms, Sigma: 0.5}, 1, 0, 0.5},
		{learn.Latency{Median: 20 * ms, Capacity: 100}, 100, math.Log(2), 0.05},
	} {
		if middle, spread := logs(c.latency, c.rate); math.Abs(middle-c.middle) > 0.03 || math.Abs(spread-c.spread) > 0.03 {
			t.Errorf("%v at %g/s: mean of the logarithm %g, deviation %g; want %g, %g", c.latency, c.rate, middle, spread, c.middle, c.spread)
		}
	}
	cfg := learn.Config{Arrivals: learn.Poisson{Rate: 10_000}, Latency: learn.Latency{Median: 20 * ms, Sigma: 0.5}, Requests: 1000}
	calls := cfg.Draw(1).Calls
	for i := 1; i < len(calls); i++ {
		if r := float64(calls[i]) / float64(calls[i-1]); r > 1.1 || r < 0.9 {
			t.Fatalf("the latency jumps by a factor of %g within 0.1 ms", r)
		}
	}
}

func TestReserved(t *testing.T) {
	for _, c := range learn.Seen() {
		if learn.Reserved(c.Arrivals) {
			t.Errorf("%v is seen and reserved", c.Arrivals)
		}
	}
	for _, c := range learn.Unseen() {
		if !c.Unseen || !learn.Reserved(c.Arrivals) {
			t.Errorf("%v is unseen, but not reserved", c.Arrivals)
		}
	}
	for spelling, want := range map[string]bool{
		"poisson:1500/s": true, "poisson:1300/s": true, "poisson:1000/s": false,
		"mmpp:20/s@700ms,2000/s@30ms": true, "mmpp:20/s@600ms,1900/s@35ms": true, "mmpp:20/s@700ms,2000/s@60ms": false, "mmpp:20/s@700ms,2000/s@30ms,5/s@1s": false,
	} {
		if got := learn.Reserved(parse(t, spelling)); got != want {
			t.Errorf("%s: reserved is %v", spelling, got)
		}
	}
}
