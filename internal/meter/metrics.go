package meter

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/window"
)

var (
	byKind       = []string{"kind"}
	descRequests = prometheus.NewDesc("sluice_meter_requests", "Requests in the timeframe, of all names together.", byKind, nil)
	descKeys     = prometheus.NewDesc("sluice_meter_keys", "Names that are counted.", byKind, nil)
	descDropped  = prometheus.NewDesc("sluice_meter_dropped_keys_total",
		"Names that made room for others although they had requests in the timeframe.", byKind, nil)
	descLost      = prometheus.NewDesc("sluice_meter_dropped_requests_total", "Requests of such names, which are not counted any more.", byKind, nil)
	descPublished = prometheus.NewDesc("sluice_meter_publications_total", "Attempts to tell other nodes the counts, by result.", []string{"result"}, nil)
)

// Describe implements prometheus.Collector.
func (m *Meter) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRequests, descKeys, descDropped, descLost} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. It gives totals alone: what clients call themselves must not decide how much a
// scrape weighs.
func (m *Meter) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, now := m.tables.Load(), window.Now()
	for _, k := range kinds {
		requests := uint64(0)
		for _, w := range t.of(k).All() {
			requests += w.Count(now)
		}
		dropped := sumDropped(m.dropped[k], t.of(k).Dropped())
		ch <- metric(descRequests, prometheus.GaugeValue, requests, string(k))
		ch <- metric(descKeys, prometheus.GaugeValue, uint64(t.of(k).Len()), string(k))
		ch <- metric(descDropped, prometheus.CounterValue, dropped.Active, string(k))
		ch <- metric(descLost, prometheus.CounterValue, dropped.Count, string(k))
	}
}

// Describe implements prometheus.Collector.
func (c *Cluster) Describe(ch chan<- *prometheus.Desc) { ch <- descPublished }

// Collect implements prometheus.Collector.
func (c *Cluster) Collect(ch chan<- prometheus.Metric) {
	ch <- metric(descPublished, prometheus.CounterValue, c.published.Load(), "success")
	ch <- metric(descPublished, prometheus.CounterValue, c.failed.Load(), "failure")
}

func metric(d *prometheus.Desc, kind prometheus.ValueType, v uint64, label string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, kind, float64(v), label)
}
