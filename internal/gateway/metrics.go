package gateway

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/internal/arrivals"
	"github.com/sluicegate/sluice/internal/feed"
	"github.com/sluicegate/sluice/internal/version"
)

// metrics are what the data plane counts itself; what other parts count is collected when it is asked for.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	outcomes [outcomes]prometheus.Counter
	byResult *prometheus.CounterVec // what they are in
	clients  *clientCounts
	flushes  *flushes
	agents   agentMetrics
	inFlight prometheus.Gauge
	unrouted *routeMetrics // of requests that no route matches
}

// Buckets of the latency histograms, in seconds: a gateway's own answers are at one end, slow backends at the other.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// noRoute stands in meters and metrics for the route of requests that none matches. A route's own name begins with a slash.
const noRoute = "none"

func newMetrics(feed *feed.Feed, arrivals *arrivals.Recorder) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_requests_total", Help: "Requests answered, by route and class of status; 4xx has the clients that left, too.",
		}, []string{"route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_request_duration_seconds", Help: "From the end of a request's head to the end of its response.", Buckets: buckets,
		}, []string{"route"}),
		byResult: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_outcomes_total", Help: "Requests, by what became of them: passed, limited, coalesced, cached, queued, failed.",
		}, []string{"outcome"}),
		clients:  newClientCounts(),
		flushes:  newFlushes(feed, arrivals),
		agents:   newAgentMetrics(),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_requests_in_flight", Help: "Requests being worked on."}),
	}
	for i, name := range outcomeNames {
		m.outcomes[i] = m.byResult.WithLabelValues(name)
	}
	m.unrouted = m.route(noRoute)
	return m
}

func (m *metrics) register(reg prometheus.Registerer, g *Gateway) {
	build := version.Get()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_build_info", Help: "1, with the build in its labels.",
		ConstLabels: prometheus.Labels{"version": build.Version, "revision": build.Revision, "goversion": build.Go},
	})
	info.Set(1)
	m.flushes.register(reg, g.answers.Stats)
	reg.MustRegister(m.requests, m.byResult, m.duration, m.clients.vec, m.inFlight, m.agents.questions, m.agents.seconds, info, &collector{g}, g.limits)
}

// routeMetrics are a route's counters, looked up once.
type routeMetrics struct {
	name     string
	classes  [6]prometheus.Counter // by the first digit of the status; 0 is not used
	duration prometheus.Observer
}

func (m *metrics) route(path string) *routeMetrics {
	r := &routeMetrics{name: path, duration: m.duration.WithLabelValues(path)}
	for class := 1; class <= 5; class++ {
		r.classes[class] = m.requests.WithLabelValues(path, strconv.Itoa(class)+"xx")
	}
	return r
}

// count notes a request that is over.
func (m *metrics) count(r *request, status int, outcome outcome, took time.Duration) {
	rm := m.unrouted
	if r.route != nil {
		rm = r.route.metrics
	}
	rm.classes[min(max(status/100, 1), 5)].Inc()
	rm.duration.Observe(took.Seconds())
	m.outcomes[outcome].Inc()
	if len(r.client.Name) > 0 {
		m.clients.of(r.client.Name).Inc()
	}
}

// clientCounts finds the counter of a client. Only the first max names get one of their own, and the rest share
// "other": what clients call themselves must not decide how much a scrape weighs. Safe for concurrent use.
type clientCounts struct {
	vec   *prometheus.CounterVec
	max   atomic.Int64
	other prometheus.Counter
	known atomic.Pointer[map[string]prometheus.Counter] // never changed, only replaced

	mu sync.Mutex // held while known is replaced
}

func newClientCounts() *clientCounts {
	c := &clientCounts{vec: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_client_requests_total", Help: "Requests by client; the names past identify.max_names are \"other\".",
	}, []string{"client"})}
	c.other = c.vec.WithLabelValues("other")
	c.known.Store(&map[string]prometheus.Counter{})
	return c
}

func (c *clientCounts) of(name []byte) prometheus.Counter {
	known := *c.known.Load()
	if counter, ok := known[string(name)]; ok {
		return counter
	}
	if c.full(known) {
		return c.other
	}
	return c.add(string(name))
}

// shown is what a client that has been counted is called where names are bounded.
func (c *clientCounts) shown(name []byte) string {
	if _, ok := (*c.known.Load())[string(name)]; ok || len(name) == 0 {
		return string(name)
	}
	return "other"
}

func (c *clientCounts) full(known map[string]prometheus.Counter) bool {
	return int64(len(known)) >= c.max.Load()
}

// add makes a counter for a new name. The map is copied: that is rare, and reading it stays free of locks.
func (c *clientCounts) add(name string) prometheus.Counter {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.known.Load()
	if counter, ok := old[name]; ok || c.full(old) {
		if !ok {
			return c.other
		}
		return counter
	}
	next := make(map[string]prometheus.Counter, len(old)+1)
	for k, v := range old {
		next[k] = v
	}
	next[name] = c.vec.WithLabelValues(validLabel(name))
	c.known.Store(&next)
	return next[name]
}
