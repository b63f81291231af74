package flush_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
)

const ms = time.Millisecond

// dense is a key that has had random arrivals at that rate for a long time.
func dense(rate float64) [3]float64 { return [3]float64{rate, rate, rate} }

func TestDecisions(t *testing.T) {
	serve := coalesce.Decision{Serve: true}
	after := func(d time.Duration) coalesce.Decision { return coalesce.Decision{After: d} }
	for _, c := range []struct {
		policy coalesce.Policy
		state  coalesce.State
		want   coalesce.Decision
	}{
		{flush.Immediate{}, coalesce.State{Size: 1, Arrival: true}, serve},
		{flush.Timer{After: 20 * ms}, coalesce.State{Size: 1, Arrival: true}, after(20 * ms)},
		{flush.Timer{After: 20 * ms}, coalesce.State{Size: 9, Age: 19 * ms}, after(ms)},
		{flush.Timer{After: 20 * ms}, coalesce.State{Size: 1, Age: 20 * ms}, serve},
		{flush.Timer{}, coalesce.State{Size: 1}, serve},
		{flush.Size{N: 3}, coalesce.State{Size: 2}, after(0)},
		{flush.Size{N: 3}, coalesce.State{Size: 3}, serve},
		{flush.Size{}, coalesce.State{Size: 1}, serve},
		{flush.Balance{CallCost: 25 * ms}, coalesce.State{Size: 1, Arrival: true}, after(25 * ms)},
		{flush.Balance{CallCost: 25 * ms}, coalesce.State{Size: 5, Waiting: 5 * ms}, after(4 * ms)},
		{flush.Balance{CallCost: 25 * ms}, coalesce.State{Size: 3, Waiting: 25*ms - 1}, after(1)},
		{flush.Balance{CallCost: 25 * ms}, coalesce.State{Size: 3, Waiting: 25 * ms}, serve},
		{flush.Balance{}, coalesce.State{Size: 1}, serve},
		// 1000/s × 25 ms = 25; 6·7 < 50 ≤ 7·8. Six wait until 25 ms × 6 / 42 is the rate's longest silence.
		{flush.Threshold{CallCost: 25 * ms}, coalesce.State{Size: 7, Arrival: true, SinceArrival: ms, Rates: dense(1000)}, serve},
		{flush.Threshold{CallCost: 25 * ms}, coalesce.State{Size: 6, Arrival: true, SinceArrival: ms, Rates: dense(1000)}, after(3571429)},
		{flush.Threshold{CallCost: 25 * ms}, coalesce.State{Size: 6, SinceArrival: 3571429, Rates: dense(1000)}, serve},
		{flush.Threshold{CallCost: 25 * ms}, coalesce.State{Size: 1, Arrival: true, SinceArrival: coalesce.Never}, serve},
		{flush.Threshold{CallCost: 25 * ms}, coalesce.State{Size: 1, Arrival: true, SinceArrival: time.Second, Rates: dense(1000)}, serve},
		// The same with joining, and calls of 20 ms: √(50+20) − 20 is below 1.
		{
			flush.Threshold{CallCost: 25 * ms},
			coalesce.State{Size: 1, Arrival: true, SinceArrival: ms, Rates: dense(1000), Relaxed: true, LatencyP50: 20 * ms}, serve,
		},
	} {
		t.Run(fmt.Sprintf("%T%+v", c.policy, c.state), func(t *testing.T) {
			if got := c.policy.Decide(c.state); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestBest compares the formulas with a search for the least cost of a request.
func TestBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := math.Exp(rapid.Float64Range(-3, 12).Draw(t, "log rate"))
		cost := time.Duration(math.Exp(rapid.Float64Range(0, 20).Draw(t, "log cost")))
		kappa := rate * cost.Seconds()
		n := flush.Best(rate, cost)
		if n < 1 || float64(n)*float64(n+1) < 2*kappa || n > 1 && float64(n)*float64(n-1) >= 2*kappa {
			t.Fatalf("n* = %d at κ = %g", n, kappa)
		}
		perRequest := func(n int) float64 { return kappa/float64(n) + float64(n-1)/2 }
		for _, other := range []int{n - 2, n - 1, n + 1, n + 2} {
			if other > 0 && perRequest(other) < perRequest(n)*(1-1e-12) {
				t.Fatalf("%d costs %g, n* = %d costs %g", other, perRequest(other), n, perRequest(n))
			}
		}
	})
}

func TestBestJoining(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := math.Exp(rapid.Float64Range(-3, 10).Draw(t, "log rate"))
		cost := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "cost"))
		length := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "length"))
		kappa, during := rate*cost.Seconds(), rate*length.Seconds()
		perRequest := func(n float64) float64 { return (kappa + n*(n-1)/2 + n*during + during*during/2) / (n + during) }
		n := flush.BestJoining(rate, cost, length)
		if n < 1 {
			t.Fatalf("n* = %g", n)
		}
		for _, other := range []float64{n * 0.99, n * 1.01, n + 1} {
			if other >= 1 && perRequest(other) < perRequest(n)*(1-1e-9) {
				t.Fatalf("%g costs %g, n* = %g costs %g", other, perRequest(other), n, perRequest(n))
			}
		}
	})
}

func TestBestAtTheEdges(t *testing.T) {
	for _, c := range []struct {
		rate float64
		cost time.Duration
		want int
	}{
		{0, time.Hour, 1}, {1000, 0, 1}, {1000, -ms, 1}, {-5, ms, 1}, {math.NaN(), ms, 1}, {1000, ms, 1}, {1001, ms, 2}, {3000, ms, 2}, {3001, ms, 3},
		{math.Inf(1), ms, 1e9},
	} {
		if got := flush.Best(c.rate, c.cost); got != c.want {
			t.Errorf("Best(%g, %v) = %d, want %d", c.rate, c.cost, got, c.want)
		}
	}
	if got := flush.BestJoining(math.NaN(), ms, ms); got != 1 {
		t.Errorf("BestJoining(NaN) = %g", got)
	}
}

func anyState(t *rapid.T) coalesce.State {
	duration := func(name string) time.Duration {
		return time.Duration(math.Exp(rapid.Float64Range(0, 30).Draw(t, name)) - 1)
	}
	s := coalesce.State{
		Now: duration("now"), Arrival: rapid.Bool().Draw(t, "arrival"), Size: rapid.IntRange(1, 5000).Draw(t, "size"),
		Waiting: duration("waiting"), Age: duration("age"), SinceArrival: duration("since"),
		LatencyP50: duration("p50"), LatencyP99: duration("p99"), Relaxed: rapid.Bool().Draw(t, "relaxed"),
	}
	for i := range s.Rates {
		s.Rates[i] = math.Exp(rapid.Float64Range(-10, 15).Draw(t, "rate"))
	}
	return s
}

// TestTheyKeepTheirWord has time go on without arrivals, from any state: a policy that asked to be asked again must come to serve the slot,
// and in few questions.
func TestTheyKeepTheirWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyState(t)
		cost := time.Duration(math.Exp(rapid.Float64Range(0, 26).Draw(t, "cost")))
		p := rapid.SampledFrom([]coalesce.Policy{
			flush.Immediate{}, flush.Timer{After: cost}, flush.Balance{CallCost: cost}, flush.Threshold{CallCost: cost},
		}).Draw(t, "policy")
		for range 4 {
			d := p.Decide(s)
			if d.Serve {
				return
			}
			if d.After <= 0 {
				t.Fatalf("%T: %+v for %+v: never asked again", p, d, s)
			}
			if s.Arrival {
				s.Arrival, s.SinceArrival = false, 0
			}
			s.Age, s.SinceArrival, s.Waiting = s.Age+d.After, s.SinceArrival+d.After, s.Waiting+time.Duration(s.Size)*d.After
		}
		t.Fatalf("%T doesn't serve: %+v", p, s)
	})
}

// TestBalanceIsTwoCompetitive plays random arrivals and compares with the schedule that knew them all.
func TestBalanceIsTwoCompetitive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cost := rapid.Int64Range(1, 10_000).Draw(t, "cost")
		arrivals := []int64{0}
		for range rapid.IntRange(0, 40).Draw(t, "arrivals") {
			arrivals = append(arrivals, arrivals[len(arrivals)-1]+rapid.Int64Range(0, cost).Draw(t, "gap"))
		}
		paid, best := playBalance(arrivals, cost), optimum(arrivals, cost)
		// Times are whole nanoseconds, so a slot may wait one too long for each of its waiters.
		if slack := int64(len(arrivals)); paid > 2*best+slack {
			t.Fatalf("balance pays %d, the optimum %d", paid, best)
		}
	})
}

// playBalance returns the cost of the arrivals under Balance.
func playBalance(arrivals []int64, cost int64) (paid int64) {
	p := flush.Balance{CallCost: time.Duration(cost)}
	var size, waited, now int64
	for i, a := range arrivals {
		waited += size * (a - now)
		now, size = a, size+1
		next := int64(math.MaxInt64)
		if i+1 < len(arrivals) {
			next = arrivals[i+1]
		}
		d := p.Decide(coalesce.State{Size: int(size), Waiting: time.Duration(waited), Arrival: true})
		if d.Serve || now+int64(d.After) <= next {
			paid += cost + waited + size*int64(d.After)
			size, waited = 0, 0
		}
	}
	return paid
}

// optimum returns the least cost of the arrivals: each slot is best served when one arrives.
func optimum(arrivals []int64, cost int64) int64 {
	least := make([]int64, len(arrivals)+1)
	for j := 1; j <= len(arrivals); j++ {
		least[j] = math.MaxInt64
		waited := int64(0)
		for i := j - 1; i >= 0; i-- {
			waited += arrivals[j-1] - arrivals[i]
			least[j] = min(least[j], least[i]+cost+waited)
		}
	}
	return least[len(arrivals)]
}

func TestParse(t *testing.T) {
	params := flush.Params{After: ms, Size: 2, CallCost: 3 * ms, Net: network(t, 4)}
	want := []coalesce.Policy{
		flush.Immediate{}, flush.Timer{After: ms}, flush.Size{N: 2}, flush.Balance{CallCost: 3 * ms}, flush.Threshold{CallCost: 3 * ms},
		flush.PPO{Net: params.Net, CallCost: 3 * ms},
	}
	for i, name := range flush.Names() {
		if got, err := flush.Parse(name, params); got != want[i] || err != nil {
			t.Errorf("%s: %#v, %v", name, got, err)
		}
		if got, err := flush.Parse(name, flush.Params{}); name != "immediate" && (got != nil || !errors.Is(err, flush.ErrParam)) {
			t.Errorf("%s without parameters: %#v, %v", name, got, err)
		}
	}
	if got, err := flush.Parse("Timer", params); got != nil || !errors.Is(err, flush.ErrUnknown) {
		t.Errorf("%#v, %v", got, err)
	}
}

func BenchmarkDecide(b *testing.B) {
	s := coalesce.State{Size: 3, Arrival: true, SinceArrival: ms, Rates: dense(1000), Waiting: ms, LatencyP50: 20 * ms}
	for _, p := range []coalesce.Policy{flush.Balance{CallCost: 25 * ms}, flush.Threshold{CallCost: 25 * ms}} {
		b.Run(fmt.Sprintf("%T", p), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if p.Decide(s).Serve {
					b.Fatal("serves")
				}
			}
		})
	}
}
