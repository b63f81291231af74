package gateway

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/internal/admit"
	"github.com/sluicegate/sluice/internal/upstream"
)

// validLabel is name as a label may hold it: valid UTF-8.
func validLabel(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }

// collector reports what the server and the upstreams count, when it is asked.
type collector struct{ g *Gateway }

var (
	connsOpen     = prometheus.NewDesc("sluice_connections_open", "Client connections now.", nil, nil)
	connsAccepted = prometheus.NewDesc("sluice_connections_accepted_total", "Client connections since the start.", nil, nil)
	panics        = prometheus.NewDesc("sluice_handler_panics_total", "Requests that met a defect of the gateway.", nil, nil)

	upRetries = prometheus.NewDesc("sluice_upstream_retries_total", "Requests tried again on another target.", []string{"upstream"}, nil)

	admitSlots    = prometheus.NewDesc("sluice_admit_slots", "Calls of the upstream that there may be at once.", []string{"upstream"}, nil)
	admitInFlight = prometheus.NewDesc("sluice_admit_in_flight", "Slots taken.", []string{"upstream"}, nil)
	admitWaiting  = prometheus.NewDesc("sluice_admit_waiting", "Requests that wait for a slot.", []string{"upstream"}, nil)
	admitRefused  = prometheus.NewDesc("sluice_admit_refused_total", "Requests that got no slot, by why.", []string{"upstream", "reason"}, nil)
	admitWaited   = prometheus.NewDesc("sluice_admit_wait_seconds", "How long requests have waited that got a slot; 0 for those that did not have to.",
		[]string{"upstream"}, nil)

	agentOpen = prometheus.NewDesc("sluice_agent_questions_open", "Questions to a remote flush policy that are not answered yet.", []string{"agent"}, nil)

	byTarget    = []string{"upstream", "target"}
	upCalls     = prometheus.NewDesc("sluice_upstream_calls_total", "Calls of a target.", byTarget, nil)
	upFailures  = prometheus.NewDesc("sluice_upstream_failures_total", "Calls that failed before a response began, by kind.", append(byTarget, "kind"), nil)
	upInFlight  = prometheus.NewDesc("sluice_upstream_in_flight", "Calls under way.", byTarget, nil)
	upIdle      = prometheus.NewDesc("sluice_upstream_idle_connections", "Connections kept for later calls.", byTarget, nil)
	upHealthy   = prometheus.NewDesc("sluice_upstream_healthy", "1 if the target is healthy and not ejected.", byTarget, nil)
	upEjections = prometheus.NewDesc("sluice_upstream_ejections_total", "How often failures have taken the target out.", byTarget, nil)
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		connsOpen, connsAccepted, panics, upRetries, upCalls, upFailures, upInFlight, upIdle, upHealthy, upEjections,
		admitSlots, admitInFlight, admitWaiting, admitRefused, admitWaited, agentOpen,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.g.server.Stats()
	ch <- gauge(connsOpen, float64(s.Open))
	ch <- counter(connsAccepted, s.Accepted)
	ch <- counter(panics, s.Panics)
	for _, u := range c.g.Status().Upstreams {
		ch <- counter(upRetries, u.Retries, u.Name)
		for i := range u.Targets {
			collectTarget(ch, u.Name, &u.Targets[i])
		}
	}
	for address, client := range c.g.settings.Load().agents {
		ch <- gauge(agentOpen, float64(client.UnderWay()), address)
	}
	for name, pool := range c.g.settings.Load().pools {
		if pool.gate != nil {
			collectGate(ch, name, pool.gate.Stats())
		}
	}
}

func collectGate(ch chan<- prometheus.Metric, name string, s admit.Stats) {
	ch <- gauge(admitSlots, float64(s.MaxInFlight), name)
	ch <- gauge(admitInFlight, float64(s.InFlight), name)
	ch <- gauge(admitWaiting, float64(s.Waiting), name)
	for why, n := range s.Refused {
		ch <- counter(admitRefused, int64(n), name, why.String())
	}
	buckets := make(map[float64]uint64, len(s.Waited.Buckets))
	for bound, n := range s.Waited.Buckets {
		buckets[bound.Seconds()] = n
	}
	ch <- prometheus.MustNewConstHistogram(admitWaited, s.Waited.Count, s.Waited.Sum.Seconds(), buckets, name)
}

func collectTarget(ch chan<- prometheus.Metric, name string, t *upstream.TargetStatus) {
	ch <- counter(upCalls, t.Calls, name, t.Address)
	ch <- counter(upEjections, t.Ejections, name, t.Address)
	ch <- gauge(upInFlight, float64(t.InFlight), name, t.Address)
	ch <- gauge(upIdle, float64(t.Idle), name, t.Address)
	healthy := 0.0
	if t.Healthy {
		healthy = 1
	}
	ch <- gauge(upHealthy, healthy, name, t.Address)
	for kind, n := range t.Failures {
		ch <- counter(upFailures, n, name, t.Address, kind)
	}
}

func counter(d *prometheus.Desc, n int64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}
