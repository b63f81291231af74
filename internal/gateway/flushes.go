package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/arrivals"
	"github.com/sluicegate/sluice/internal/feed"
)

// flushes tells what coalescing does: as metrics, as events, and as arrivals to train a policy on. Make it with newFlushes; its methods are
// safe for concurrent use.
type flushes struct {
	feed     *feed.Feed
	arrivals *arrivals.Recorder
	vecs     flushVecs
	routes   atomic.Pointer[map[string]*routeFlushes] // never changed, only replaced

	start   time.Time
	singles *gcra.Limiter[coalesce.Reason]
	skipped [coalesce.Cached + 1]atomic.Uint64 // single requests, by their reason, since one was published

	mu sync.Mutex // held while routes is replaced
}

// A single request may be answered without a call tens of thousands of times a second, which says little, and would push the calls out of the
// feed. Of each of the reasons joined, passthrough and cached at most singlesAtOnce + singlesPerSecond are published in any second.
const (
	singlesAtOnce    = 50
	singlesPerSecond = 50
)

type flushVecs struct {
	flushes, saved, fallbacks, errors *prometheus.CounterVec
	size, age                         *prometheus.HistogramVec
}

// routeFlushes are a route's metrics, looked up once.
type routeFlushes struct {
	reasons          [coalesce.Cached + 1]prometheus.Counter // 0 is not used
	errors           map[string]prometheus.Counter           // by errorKind
	saved, fallbacks prometheus.Counter
	size, age        prometheus.Observer
}

// newFlushes publishes with feed and notes arrivals with arrivals.
func newFlushes(feed *feed.Feed, arrivals *arrivals.Recorder) *flushes {
	limit, err := gcra.NewLimit(singlesPerSecond, time.Second, singlesAtOnce-1)
	if err != nil {
		panic(err) // of constants
	}
	singles, err := gcra.New[coalesce.Reason](gcra.Config{Limit: limit, MaxKeys: len(flushes{}.skipped)})
	if err != nil {
		panic(err)
	}
	f := &flushes{feed: feed, arrivals: arrivals, vecs: newFlushVecs(), start: time.Now(), singles: singles}
	f.routes.Store(&map[string]*routeFlushes{})
	return f
}

func newFlushVecs() flushVecs {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"route"}, labels...))
	}
	histogram := func(name, help string, buckets ...float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{"route"})
	}
	return flushVecs{
		flushes: counter("sluice_flushes_total", "Shared calls, by why they were made (policy, timer, size, close); and requests that joined one in flight, "+
			"passed through alone, or were answered from the cache.", "reason"),
		saved:     counter("sluice_upstream_calls_saved_total", "Requests answered without a call of their own."),
		fallbacks: counter("sluice_policy_fallbacks_total", "Times that the flush policy failed, so that the slot was served at once, or that a rule decided in its place."),
		errors:    counter("sluice_coalesce_errors_total", "Shared calls that failed, and requests that passed through alone, by kind.", "kind"),
		size: histogram("sluice_flush_batch_size", "Requests that had waited when a shared call began.",
			1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096),
		age: histogram("sluice_flush_batch_age_seconds", "From the first request of a batch to the beginning of its call.",
			.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5),
	}
}

// register registers the metrics, and those of the group that stats are of.
func (f *flushes) register(reg prometheus.Registerer, stats func() coalesce.Stats) {
	v := &f.vecs
	reg.MustRegister(v.flushes, v.saved, v.fallbacks, v.errors, v.size, v.age, coalescing(stats))
}

// Arrived notes a request that is about to be coalesced: one that a flush policy will be asked about. The key tells requests apart as the policy
// sees them; requests that the cache answers are no business of the policy's.
func (f *flushes) Arrived(route string, key uint64, now time.Time) { f.arrivals.Note(key, route, now) }

// Observe tells of an event. It is for coalesce.Config.Observe, with the names of routes as tags.
func (f *flushes) Observe(e coalesce.Flush) {
	name, ok := e.Tag.(string)
	if !ok {
		name = noRoute
	}
	r := f.route(name)
	r.reasons[e.Reason].Inc()
	kind := errorKind(e.Err)
	if kind != "" && e.Reason != coalesce.JoinedCall { // that has the error of its call, which is counted, or its client has left
		r.errors[kind].Inc()
	}
	var skipped uint64
	if ofCall(e.Reason) {
		r.call(&e)
	} else if skipped, ok = f.publishes(e.Reason); !ok {
		return
	}
	f.feed.Publish("flush", &flushEvent{
		Key: keyHash(e.Key), Route: name, Reason: e.Reason.String(), Size: e.Size,
		Age: millis(e.Age), Waiting: millis(e.Waiting), Upstream: millis(e.Upstream),
		Answered: e.Answered, Joined: e.Joined, Released: e.Released, Fallbacks: e.Fallbacks, Error: kind, Skipped: skipped,
	})
}

// Cached tells of a request that was answered from the cache.
func (f *flushes) Cached(route string, key uint64) {
	r := f.route(route)
	r.reasons[coalesce.Cached].Inc()
	r.saved.Inc()
	if skipped, ok := f.publishes(coalesce.Cached); ok {
		f.feed.Publish("flush", &flushEvent{
			Key: keyHash(key), Route: route, Reason: coalesce.Cached.String(), Size: 1, Answered: 1, Skipped: skipped,
		})
	}
}

// passed tells of a request that may share with nobody.
func (f *flushes) passed(route string, key uint64) {
	f.route(route).reasons[coalesce.Passthrough].Inc()
	if skipped, ok := f.publishes(coalesce.Passthrough); ok {
		f.feed.Publish("flush", &flushEvent{
			Key: keyHash(key), Route: route, Reason: coalesce.Passthrough.String(), Size: 1, Skipped: skipped,
		})
	}
}

// ofCall reports whether a reason is one for a call, and not for a request alone.
func ofCall(r coalesce.Reason) bool { return r >= coalesce.ByPolicy && r <= coalesce.ByClose }

// call counts a call. Those who joined it are among those it has answered.
func (r *routeFlushes) call(e *coalesce.Flush) {
	r.size.Observe(float64(e.Size))
	r.age.Observe(e.Age.Seconds())
	r.saved.Add(float64(max(0, e.Answered-1)))
	r.fallbacks.Add(float64(e.Fallbacks))
}

// publishes reports whether a single request is to be published, and how many of its reason were not since one was.
func (f *flushes) publishes(reason coalesce.Reason) (skipped uint64, ok bool) {
	if !f.singles.AllowAt(reason, time.Since(f.start)).Allowed {
		f.skipped[reason].Add(1)
		return 0, false
	}
	return f.skipped[reason].Swap(0), true
}

// route returns the metrics of a route. Routes are those of the configuration, so there are not many.
func (f *flushes) route(name string) *routeFlushes {
	if r, ok := (*f.routes.Load())[name]; ok {
		return r
	}
	return f.addRoute(name)
}

// addRoute copies the map: that is rare, and reading it stays free of locks.
func (f *flushes) addRoute(name string) *routeFlushes {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := *f.routes.Load()
	if r, ok := old[name]; ok {
		return r
	}
	next := make(map[string]*routeFlushes, len(old)+1)
	for k, r := range old {
		next[k] = r
	}
	next[name] = f.vecs.of(validLabel(name))
	f.routes.Store(&next)
	return next[name]
}

func (v *flushVecs) of(route string) *routeFlushes {
	r := &routeFlushes{
		errors: make(map[string]prometheus.Counter),
		saved:  v.saved.WithLabelValues(route), fallbacks: v.fallbacks.WithLabelValues(route),
		size: v.size.WithLabelValues(route), age: v.age.WithLabelValues(route),
	}
	for reason := coalesce.ByPolicy; reason <= coalesce.Cached; reason++ {
		r.reasons[reason] = v.flushes.WithLabelValues(route, reason.String())
	}
	for _, kind := range errorKinds() {
		r.errors[kind] = v.errors.WithLabelValues(route, kind)
	}
	return r
}

// coalescing reports what a group has at hand, when it is asked.
type coalescing func() coalesce.Stats

var (
	waitingSlots   = prometheus.NewDesc("sluice_coalesce_slots", "Batches that wait for their call.", nil, nil)
	sharedCalls    = prometheus.NewDesc("sluice_coalesce_calls_in_flight", "Shared calls under way.", nil, nil)
	waitingClients = prometheus.NewDesc("sluice_coalesce_waiters", "Requests in those batches and calls.", nil, nil)
	heldBytes      = prometheus.NewDesc("sluice_coalesce_held_bytes", "Bytes of answers that are held while their calls are under way.", nil, nil)
	knownKeys      = prometheus.NewDesc("sluice_coalesce_keys", "Keys that are remembered, with and without a batch or call.", nil, nil)
)

// Describe implements prometheus.Collector.
func (coalescing) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{waitingSlots, sharedCalls, waitingClients, heldBytes, knownKeys} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c coalescing) Collect(ch chan<- prometheus.Metric) {
	s := c()
	ch <- gauge(waitingSlots, float64(s.Slots))
	ch <- gauge(sharedCalls, float64(s.Calls))
	ch <- gauge(waitingClients, float64(s.Waiters))
	ch <- gauge(heldBytes, float64(s.Bytes))
	ch <- gauge(knownKeys, float64(s.Keys))
}
