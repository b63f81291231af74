// Package live is the gateway at a glance: once a second a [Sampler] makes a [Snapshot] of what the parts count, and keeps the last
// minutes of it, so that whoever looks sees at once how it came to this. The dashboard and `sluice top` show the same snapshots.
package live

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// How far back the sampler remembers, and how often it looks.
const (
	Every  = time.Second
	Points = 300
)

// Over how much of the past figures are taken that would jump from second to second.
const (
	latencySpan = 10 // seconds
	savedSpan   = 60
)

// Options say what there is to look at. What is nil is not there, and is told to be off.
type Options struct {
	Node    Node
	Metrics prometheus.Gatherer
	Log     *slog.Logger

	Upstreams func() []Upstream
	Clients   func() []Client // those with the most requests lately
	Market    func() *Market
	Jobs      func() *Jobs
	Quotas    func() []Quota
	Parts     func() []Part
}

// A Sampler takes snapshots. Make one with New and keep Run going; its methods are safe for concurrent use.
type Sampler struct {
	opts Options

	mu      sync.Mutex
	ring    []counts // the last Points+1 samples, oldest first
	points  []Point  // what lies between them
	current *Snapshot
	next    chan struct{} // closed when there is another snapshot
}

// New makes a sampler, with a first snapshot that has no rates.
func New(opts Options) *Sampler {
	s := &Sampler{opts: opts, next: make(chan struct{})}
	s.sample(time.Now())
	return s
}

// Run takes snapshots until ctx ends.
func (s *Sampler) Run(ctx context.Context) {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.sample(now)
		}
	}
}

// Current returns the latest snapshot, which is never changed, and a channel that is closed when there is another.
func (s *Sampler) Current() (*Snapshot, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.next
}

// History returns the points of the last minutes, oldest first. The last one is that of the current snapshot.
func (s *Sampler) History() []Point {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Point{}, s.points...)
}

func (s *Sampler) sample(now time.Time) {
	c, err := count(s.opts.Metrics, now)
	if err != nil { // of a collector; what the others count is there
		s.opts.Log.Debug("not all metrics could be gathered", "error", err)
	}
	snapshot := s.look(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring = append(s.ring, c)
	if len(s.ring) > Points+1 {
		s.ring = s.ring[1:]
	}
	if len(s.ring) > 1 {
		s.points = append(s.points, s.pointLocked())
		if len(s.points) > Points {
			s.points = s.points[1:]
		}
		snapshot.Point = s.points[len(s.points)-1]
	}
	s.fillLocked(snapshot)
	s.current = snapshot
	close(s.next)
	s.next = make(chan struct{})
}

// look asks the parts, without a lock.
func (s *Sampler) look(now time.Time) *Snapshot {
	o := &s.opts
	snapshot := &Snapshot{Node: o.Node, Point: Point{Time: now}}
	snapshot.Node.Uptime = now.Sub(o.Node.Started).Seconds()
	if o.Upstreams != nil {
		snapshot.Upstreams = o.Upstreams()
	}
	if o.Clients != nil {
		snapshot.Clients = o.Clients()
	}
	if o.Market != nil {
		snapshot.Market = o.Market()
	}
	if o.Jobs != nil {
		snapshot.Jobs = o.Jobs()
	}
	if o.Quotas != nil {
		snapshot.Quotas = o.Quotas()
	}
	if o.Parts != nil {
		snapshot.Parts = o.Parts()
	}
	return snapshot
}

// agoLocked is the sample of n seconds ago, or the oldest.
func (s *Sampler) agoLocked(n int) *counts {
	return &s.ring[max(0, len(s.ring)-1-n)]
}

// pointLocked is what happened between the last two samples.
func (s *Sampler) pointLocked() Point {
	last, before, ago := s.agoLocked(0), s.agoLocked(1), s.agoLocked(latencySpan)
	seconds := max(last.at.Sub(before.at).Seconds(), 1e-3)
	p := Point{Time: last.at, Rates: make(map[string]float64, len(last.outcomes))}
	for name, n := range last.outcomes {
		p.Rates[name] = (n - before.outcomes[name]) / seconds
		p.Requests += p.Rates[name]
	}
	p.Calls = (last.calls - before.calls) / seconds
	p.P50 = quantile(last.latency.since(&ago.latency), .5) * 1000
	p.P99 = quantile(last.latency.since(&ago.latency), .99) * 1000
	return p
}

// fillLocked adds to a snapshot what is counted.
func (s *Sampler) fillLocked(snapshot *Snapshot) {
	last, ago := s.agoLocked(0), s.agoLocked(savedSpan)
	snapshot.Totals = last.outcomes
	snapshot.Saved = Saved{
		Calls: last.calls, Saved: last.saved, Share: share(last.saved, last.calls),
		ShareLately: share(last.saved-ago.saved, last.calls-ago.calls),
	}
	sizes := last.sizes.since(&ago.sizes)
	snapshot.Flushes = Flushes{Reasons: last.flushes, Lately: less(last.flushes, ago.flushes), Sizes: sizes.buckets(), MeanSize: sizes.mean()}
}

// share is what part of the requests that would have been calls were none: 0 to 1.
func share(saved, calls float64) float64 {
	if saved+calls <= 0 {
		return 0
	}
	return saved / (saved + calls)
}

func less(now, before map[string]float64) map[string]float64 {
	diff := make(map[string]float64, len(now))
	for name, n := range now {
		diff[name] = n - before[name]
	}
	return diff
}
