package live

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// counts are the totals since the start, as one sample has found them.
type counts struct {
	at       time.Time
	outcomes map[string]float64
	flushes  map[string]float64 // by reason
	calls    float64            // of upstreams
	saved    float64
	latency  histogram // seconds
	sizes    histogram // requests
}

// count reads the totals out of the metrics, over all routes and targets. What is missing is 0.
func count(metrics prometheus.Gatherer, now time.Time) (counts, error) {
	c := counts{at: now, outcomes: map[string]float64{}, flushes: map[string]float64{}}
	families, err := metrics.Gather()
	for _, f := range families {
		for _, m := range f.Metric {
			switch f.GetName() {
			case "sluice_outcomes_total":
				c.outcomes[label(m, "outcome")] += m.Counter.GetValue()
			case "sluice_flushes_total":
				c.flushes[label(m, "reason")] += m.Counter.GetValue()
			case "sluice_upstream_calls_total":
				c.calls += m.Counter.GetValue()
			case "sluice_upstream_calls_saved_total":
				c.saved += m.Counter.GetValue()
			case "sluice_request_duration_seconds":
				c.latency.add(m.Histogram)
			case "sluice_flush_batch_size":
				c.sizes.add(m.Histogram)
			}
		}
	}
	return c, err
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// histogram has the counts up to each bound, as Prometheus does, the last without a bound.
type histogram struct {
	bounds []float64
	counts []float64
	sum    float64
}

// add adds a histogram of the same bounds.
func (h *histogram) add(m *dto.Histogram) {
	if h.counts == nil {
		h.counts = make([]float64, len(m.Bucket)+1)
		for _, b := range m.Bucket {
			h.bounds = append(h.bounds, b.GetUpperBound())
		}
	}
	for i, b := range m.Bucket[:min(len(m.Bucket), len(h.bounds))] {
		h.counts[i] += float64(b.GetCumulativeCount())
	}
	h.counts[len(h.counts)-1] += float64(m.GetSampleCount())
	h.sum += m.GetSampleSum()
}

// since is what came after earlier.
func (h *histogram) since(earlier *histogram) histogram {
	d := histogram{bounds: h.bounds, counts: append([]float64(nil), h.counts...), sum: h.sum - earlier.sum}
	for i := range earlier.counts {
		d.counts[i] -= earlier.counts[i]
	}
	return d
}

func (h *histogram) total() float64 {
	if len(h.counts) == 0 {
		return 0
	}
	return h.counts[len(h.counts)-1]
}

func (h *histogram) mean() float64 {
	if h.total() == 0 {
		return 0
	}
	return h.sum / h.total()
}

// buckets are the counts of the single buckets.
func (h *histogram) buckets() []Bucket {
	var list []Bucket
	below := 0.0
	for i, n := range h.counts {
		b := Bucket{Count: n - below}
		if i < len(h.bounds) {
			b.UpTo = h.bounds[i]
		}
		list, below = append(list, b), n
	}
	return list
}

// quantile estimates, as Prometheus does, the value that the part q of all are below: in between the bounds of its bucket it goes
// straight. What is above the last bound counts as that. It is 0 if there is nothing.
func quantile(h histogram, q float64) float64 {
	rank := q * h.total()
	if rank <= 0 {
		return 0
	}
	for i, n := range h.counts {
		if n < rank {
			continue
		}
		if i == len(h.bounds) {
			break
		}
		low, below := 0.0, 0.0
		if i > 0 {
			low, below = h.bounds[i-1], h.counts[i-1]
		}
		return low + (h.bounds[i]-low)*(rank-below)/math.Max(n-below, 1)
	}
	return h.bounds[len(h.bounds)-1]
}
