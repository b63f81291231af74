package storage

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/internal/journal"
)

// metrics count what this node did; gauges of the state are read when somebody asks for them.
type metrics struct {
	commands  *prometheus.CounterVec
	latency   prometheus.Histogram
	uploads   prometheus.Gauge
	received  prometheus.Counter
	sent      prometheus.Counter
	collected prometheus.Counter
	state     []gauge
}

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

var kindNames = [...]string{"", "jobs", "retry", "set", "reserve", "put", "release", "remove", "collected"}

var outcomeNames = [...]string{"done", "invalid", "over_quota", "full", "not_found", "no_session", "unmet"}

func (m *metrics) init() {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_store_" + name, Help: help})
	}
	m.commands = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_store_commands_total", Help: "Commands this node put into the log, by kind and by what became of them.",
	}, []string{"command", "result"})
	m.latency = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "sluice_store_commit_seconds", Help: "From a command's arrival until it was in the log, synced and applied.",
		Buckets: []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	})
	m.uploads = prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_store_uploads", Help: "Uploads that are under way on this node."})
	m.received = counter("received_bytes_total", "Content that this node has stored.")
	m.sent = counter("sent_bytes_total", "Content that this node has sent.")
	m.collected = counter("collected_blobs_total", "Blobs that nothing referred to any more and this node has deleted.")
	m.initState()
}

func (m *metrics) initState() {
	one := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	add := func(name, help string, read func(*reading) float64) {
		always := name == "up" || name == "ready"
		m.state = append(m.state, gauge{prometheus.NewDesc("sluice_store_"+name, help, nil, nil), prometheus.GaugeValue, read, always})
	}
	add("objects", "Objects that are stored.", func(r *reading) float64 { return float64(r.stats.Objects) })
	add("object_bytes", "Bytes of all objects as quotas count them, of whatever month.", func(r *reading) float64 { return float64(r.stats.Size) })
	add("content_bytes", "Bytes of the content of all objects.", func(r *reading) float64 { return float64(r.stats.Length) })
	add("garbage_blobs", "Blobs that are to be deleted.", func(r *reading) float64 { return float64(r.stats.Garbage) })
	add("users", "Users who have limits of their own, or used or reserved something this month.", func(r *reading) float64 { return float64(r.stats.Users) })
	add("reservations", "Reservations of uploads and jobs.", func(r *reading) float64 { return float64(r.stats.Reservations) })
	add("up", "1 while the journal answers, 0 when it has stopped for good.", func(r *reading) float64 { return one(r.running) })
	add("ready", "1 while requests can be taken, as /readyz says.", func(r *reading) float64 { return one(r.ready) })
	m.state = append(m.state, gauge{
		prometheus.NewDesc("sluice_store_log_records_total", "Records of the log that were applied. Commands per record is how many share a sync.", nil, nil),
		prometheus.CounterValue, func(r *reading) float64 { return float64(r.status.Sequence) }, false,
	}, gauge{
		prometheus.NewDesc("sluice_store_log_commands_total", "Commands of the log that were applied, of all nodes.", nil, nil),
		prometheus.CounterValue, func(r *reading) float64 { return float64(r.status.Commands) }, false,
	})
}

func (m *metrics) observe(k kind, r Reply, err error, took time.Duration) {
	result := outcomeNames[r.Outcome]
	switch {
	case err == nil:
		m.latency.Observe(took.Seconds())
	case errors.Is(err, journal.ErrUnknown):
		result = "unknown"
	case errors.Is(err, journal.ErrStopped):
		result = "stopped"
	default:
		result = "unavailable"
	}
	m.commands.WithLabelValues(kindNames[k], result).Inc()
}

// own are the metrics that count by themselves.
func (m *metrics) own() []prometheus.Collector {
	return []prometheus.Collector{m.commands, m.latency, m.uploads, m.received, m.sent, m.collected}
}

// Describe implements prometheus.Collector.
func (s *Storage) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range s.metrics.own() {
		c.Describe(ch)
	}
	for _, g := range s.metrics.state {
		ch <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (s *Storage) Collect(ch chan<- prometheus.Metric) {
	for _, c := range s.metrics.own() {
		c.Collect(ch)
	}
	r := reading{status: s.Status(), ready: s.Ready() == nil}
	r.running = s.Read(func(st *State) { r.stats = st.Stats() }) == nil
	for _, g := range s.metrics.state {
		if r.running || g.always {
			ch <- prometheus.MustNewConstMetric(g.desc, g.kind, g.read(&r))
		}
	}
}
