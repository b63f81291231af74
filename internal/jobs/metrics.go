package jobs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	accepted *prometheus.CounterVec
	attempts *prometheus.CounterVec
	duration *prometheus.HistogramVec
	jobs     *prometheus.Desc
	oldest   *prometheus.Desc
	payloads *prometheus.Desc
}

var verdictNames = [...]string{"retry", "done", "retry", "failed", "released"}

func (m *metrics) init() {
	m.accepted = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_jobs_enqueued_total", Help: "Jobs that this node was asked to accept, by what became of that.",
	}, []string{"queue", "result"})
	m.attempts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_jobs_attempts_total", Help: "Attempts that this node made, by how they ended.",
	}, []string{"queue", "result"})
	m.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sluice_jobs_attempt_seconds", Help: "How long attempts of this node took.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
	}, []string{"queue"})
	m.jobs = prometheus.NewDesc("sluice_jobs", "Jobs of all nodes, by where they are in their life.", []string{"queue", "state"}, nil)
	m.oldest = prometheus.NewDesc("sluice_jobs_oldest_seconds", "How long the oldest job has waited that is ready to run.", []string{"queue"}, nil)
	m.payloads = prometheus.NewDesc("sluice_jobs_payload_bytes", "What this node keeps of payloads and results: needed, in files, and in memory.", []string{"part"}, nil)
}

func (m *metrics) ran(queue string, v Verdict, took time.Duration) {
	m.attempts.WithLabelValues(queue, verdictNames[v]).Inc()
	m.duration.WithLabelValues(queue).Observe(took.Seconds())
}

func (m *metrics) enqueued(queue string, o Outcome) {
	m.accepted.WithLabelValues(queue, o.String()).Inc()
}

// Describe implements prometheus.Collector.
func (s *Service) Describe(ch chan<- *prometheus.Desc) {
	s.metrics.accepted.Describe(ch)
	s.metrics.attempts.Describe(ch)
	s.metrics.duration.Describe(ch)
	ch <- s.metrics.jobs
	ch <- s.metrics.oldest
	ch <- s.metrics.payloads
}

// Collect implements prometheus.Collector.
func (s *Service) Collect(ch chan<- prometheus.Metric) {
	s.metrics.accepted.Collect(ch)
	s.metrics.attempts.Collect(ch)
	s.metrics.duration.Collect(ch)
	var all []QueueStats
	var kept PayloadStats
	now := s.now()
	if err := s.log.Read(func(st *State) { all, kept = st.Stats(now), st.PayloadStats() }); err != nil {
		return // the log has stopped
	}
	for part, n := range map[string]int64{"needed": kept.Live, "disk": kept.Disk, "memory": kept.Memory} {
		ch <- prometheus.MustNewConstMetric(s.metrics.payloads, prometheus.GaugeValue, float64(n), part)
	}
	for _, q := range all {
		for phase, n := range map[Phase]int{Queued: q.Queued, Running: q.Running, Done: q.Done, Failed: q.Failed} {
			ch <- prometheus.MustNewConstMetric(s.metrics.jobs, prometheus.GaugeValue, float64(n), q.Queue, phase.String())
		}
		ch <- prometheus.MustNewConstMetric(s.metrics.oldest, prometheus.GaugeValue, q.Age.Seconds(), q.Queue)
	}
}
