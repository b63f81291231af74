package live

import (
	"context"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gateway has the metrics that a sampler reads.
type gateway struct {
	reg            *prometheus.Registry
	outcomes       *prometheus.CounterVec
	calls, saved   prometheus.Counter
	flushes        *prometheus.CounterVec
	latency, sizes prometheus.Histogram
}

func newGateway() *gateway {
	g := &gateway{
		reg:      prometheus.NewRegistry(),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_outcomes_total"}, []string{"outcome"}),
		calls:    prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_upstream_calls_total"}),
		saved:    prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_upstream_calls_saved_total"}),
		flushes:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_flushes_total"}, []string{"route", "reason"}),
		latency:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sluice_request_duration_seconds", Buckets: []float64{.01, .1, 1}}),
		sizes:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sluice_flush_batch_size", Buckets: []float64{1, 4}}),
	}
	g.reg.MustRegister(g.outcomes, g.calls, g.saved, g.flushes, g.latency, g.sizes)
	return g
}

func (g *gateway) sampler(opts Options) *Sampler {
	opts.Metrics, opts.Log = g.reg, slog.New(slog.DiscardHandler)
	return New(opts)
}

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway()
		g.outcomes.WithLabelValues("passed").Add(1000) // before anybody looked
		s := g.sampler(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		g.outcomes.WithLabelValues("passed").Add(30)
		g.outcomes.WithLabelValues("cached").Add(10)
		g.calls.Add(3)
		g.saved.Add(97)
		g.flushes.WithLabelValues("/a", "policy").Add(2)
		g.flushes.WithLabelValues("/b", "policy").Add(1)
		for range 100 {
			g.latency.Observe(.05)
		}
		g.sizes.Observe(3)
		g.sizes.Observe(7)
		_, next := s.Current()
		<-next
		got, _ := s.Current()
		if p := got.Point; !near(p.Rates["passed"], 30) || !near(p.Rates["cached"], 10) || !near(p.Requests, 40) || !near(p.Calls, 3) {
			t.Errorf("%+v", p)
		}
		if got.Totals["passed"] != 1030 || got.Saved.Share != .97 || got.Flushes.Reasons["policy"] != 3 || got.Flushes.MeanSize != 5 {
			t.Errorf("%+v", got)
		}
		if p := got.Point; p.P50 <= 10 || p.P50 >= 100 || p.P99 < p.P50 || p.P99 > 100 {
			t.Errorf("p50 %v ms and p99 %v ms of answers that took 50 ms, in a bucket from 10 to 100", p.P50, p.P99)
		}
		_, next = s.Current()
		<-next
		if got, _ := s.Current(); got.Point.Requests != 0 || len(s.History()) != 2 {
			t.Errorf("nothing happened in this second: %+v, %d points", got.Point, len(s.History()))
		}
		cancel()
		<-done
	})
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-6 }

// The sampler's memory does not grow, and the figures of the last minute forget what was before.
func TestForgets(t *testing.T) {
	g := newGateway()
	s := g.sampler(Options{})
	now := time.Now()
	g.saved.Add(1)
	for range 2 * Points {
		now = now.Add(Every)
		s.sample(now)
	}
	if n := len(s.History()); n != Points || len(s.ring) != Points+1 {
		t.Errorf("%d points and %d samples, expected %d and one more", n, len(s.ring), Points)
	}
	got, _ := s.Current()
	if got.Saved.Share != 1 || got.Saved.ShareLately != 0 {
		t.Errorf("%+v: expected that all was saved, and nothing in the last minute", got.Saved)
	}
}

// What is not there is told to be off, and what is there is asked each time.
func TestParts(t *testing.T) {
	g := newGateway()
	asked := 0
	s := g.sampler(Options{Jobs: func() *Jobs { asked++; return &Jobs{Queued: asked} }})
	s.sample(time.Now())
	got, _ := s.Current()
	if got.Market != nil || got.Jobs == nil || got.Jobs.Queued != 2 {
		t.Errorf("market %v, jobs %+v", got.Market, got.Jobs)
	}
}

func TestQuantile(t *testing.T) {
	h := histogram{bounds: []float64{1, 2, 4}, counts: []float64{0, 10, 20, 20}}
	for q, want := range map[float64]float64{.25: 1.5, .5: 2, .75: 3, 1: 4} {
		if got := quantile(h, q); !near(got, want) {
			t.Errorf("the quantile %v is %v, expected %v", q, got, want)
		}
	}
	if got := quantile(histogram{bounds: []float64{1}, counts: []float64{0, 5}}, .5); got != 1 {
		t.Errorf("above all bounds: %v, expected the last bound", got)
	}
	if got := quantile(histogram{}, .5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
