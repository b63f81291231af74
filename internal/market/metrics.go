package market

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/internal/journal"
)

// metrics count what this node was asked; gauges of the state are read when somebody asks for them.
type metrics struct {
	commands *prometheus.CounterVec
	latency  prometheus.Histogram
	known    [giveBack + 1][outcomes]prometheus.Counter // what commands has by kind and result, without a search
	state    []gauge
}

// Results of a command: an Outcome, or one of these.
const (
	unavailable = int(NotFound) + 1 + iota
	unknown
	stopped
	outcomes
)

var resultNames = [outcomes]string{
	"done", "invalid", "overflow", "full", "key_reused", "not_found", "unavailable", "unknown", "stopped",
}

var kindNames = [giveBack + 1]string{"", "buy", "sell", "cancel", "lease", "return"}

// String returns the kind's name.
func (k kind) String() string { return kindNames[k] }

// A gauge is a figure that is read from the state.
type gauge struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	read   func(*reading) float64
	always bool // also when the journal has stopped, and the state can't be read
}

// A reading is all figures as of one moment.
type reading struct {
	stats   Stats
	status  journal.Status
	running bool
	ready   bool
}

func (m *metrics) init() {
	m.commands = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_market_commands_total", Help: "Commands this node was asked to carry out, by kind and by what became of them.",
	}, []string{"command", "result"})
	m.latency = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "sluice_market_commit_seconds", Help: "From a command's arrival until it was in the log, synced and applied.",
		Buckets: []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	})
	for k := buy; k <= giveBack; k++ {
		for i, result := range resultNames {
			m.known[k][i] = m.commands.WithLabelValues(k.String(), result)
		}
	}
	one := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	add := func(name, help string, t prometheus.ValueType, read func(*reading) float64) {
		m.state = append(m.state, gauge{prometheus.NewDesc("sluice_market_"+name, help, nil, nil), t, read, name == "up" || name == "ready"})
	}
	add("users", "Users who ever placed an order.", prometheus.GaugeValue, func(r *reading) float64 { return float64(r.stats.Users) })
	add("open_bids", "Bids that are open.", prometheus.GaugeValue, func(r *reading) float64 { return float64(r.stats.Book.Bids) })
	add("prices", "Prices that have open bids.", prometheus.GaugeValue, func(r *reading) float64 { return float64(r.stats.Book.Prices) })
	add("open_volume", "Volume of the open bids.", prometheus.GaugeValue, func(r *reading) float64 { return float64(r.stats.Book.Open) })
	add("left_volume", "Supply that is left over.", prometheus.GaugeValue, func(r *reading) float64 { return float64(r.stats.Book.Left) })
	add("sold_volume_total", "Supply of all sales.", prometheus.CounterValue, func(r *reading) float64 { return float64(r.stats.Book.Sold) })
	add("allocated_volume_total", "Volume of all fills.", prometheus.CounterValue, func(r *reading) float64 { return float64(r.stats.Book.Allocated) })
	add("fills_total", "Fills since the log began.", prometheus.CounterValue, func(r *reading) float64 { return float64(r.stats.Fills) })
	add("idempotency_keys", "Idempotency keys that are remembered.", prometheus.GaugeValue, func(r *reading) float64 { return float64(r.stats.Keys) })
	add("leases", "Leases that are out.", prometheus.GaugeValue, func(r *reading) float64 { return float64(r.stats.Leases) })
	add("log_records_total", "Records of the log that were applied. Commands per record is how many share a sync.", prometheus.CounterValue,
		func(r *reading) float64 { return float64(r.status.Sequence) })
	add("log_commands_total", "Commands of the log that were applied, of all nodes.", prometheus.CounterValue,
		func(r *reading) float64 { return float64(r.status.Commands) })
	add("up", "1 while the journal answers, 0 when it has stopped for good.", prometheus.GaugeValue, func(r *reading) float64 { return one(r.running) })
	add("ready", "1 while orders can be taken, as /readyz says.", prometheus.GaugeValue, func(r *reading) float64 { return one(r.ready) })
}

func (m *metrics) observe(k kind, r Reply, err error, took time.Duration) {
	result := int(r.Outcome)
	switch {
	case err == nil:
		m.latency.Observe(took.Seconds())
	case errors.Is(err, journal.ErrUnknown):
		result = unknown
	case errors.Is(err, journal.ErrStopped):
		result = stopped
	default:
		result = unavailable
	}
	m.known[k][result].Inc()
}

// Describe implements prometheus.Collector.
func (m *Market) Describe(ch chan<- *prometheus.Desc) {
	m.metrics.commands.Describe(ch)
	m.metrics.latency.Describe(ch)
	for _, g := range m.metrics.state {
		ch <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (m *Market) Collect(ch chan<- prometheus.Metric) {
	m.metrics.commands.Collect(ch)
	m.metrics.latency.Collect(ch)
	r := reading{status: m.Status(), ready: m.Ready() == nil}
	r.running = m.Read(func(s *State) { r.stats = s.Stats() }) == nil
	for _, g := range m.metrics.state {
		if r.running || g.always {
			ch <- prometheus.MustNewConstMetric(g.desc, g.kind, g.read(&r))
		}
	}
}
