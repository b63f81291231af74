// Package gateway puts the stages in their order. It is the one place that knows it: a request only moves to the
// right, and no stage imports another.
//
//	listener ─► identify ─► meter ─► access ─► route ─► limit ─► wallet ─┬─► cache ─► coalesce ─► fetch ─┐
//	                                                                     ├─► merge ──────────────────────┼─► admit ─► upstream
//	                                                                     ├─► forward ────────────────────┤
//	                                                                     └─► accept ~► jobs ~► deliver ──┘
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/internal/arrivals"
	"github.com/sluicegate/sluice/internal/cache"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/feed"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/identify"
	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/meter"
	"github.com/sluicegate/sluice/internal/upstream"
	"github.com/sluicegate/sluice/internal/wallet"
)

// Gateway is the data plane. Make one with New; its methods are safe for concurrent use.
type Gateway struct {
	log      *slog.Logger
	server   *http1.Server
	metrics  *metrics
	meter    *meter.Meter
	limits   *limit.Stage
	settings atomic.Pointer[settings]

	answers   *answers // calls that many wait for
	merged    *coalesce.Gather[*item, *part]
	refreshes *refreshes    // and those that nobody does
	kept      *cache.Shared // nil without redis
	spoolDir  string
	wallet    *wallet.Wallet // nil where nobody can have bought anything
	jobs      *Jobs          // nil where no route is async

	mu sync.Mutex // held while the settings are replaced
}

// Options are what a gateway is made of beside its configuration.
type Options struct {
	Meter    *meter.Meter   // counts requests; the caller closes it after Shutdown
	Limits   *limit.Shared  // through which limits are shared, nil if the configuration has no redis; the caller closes it after Shutdown
	Cache    *cache.Shared  // where nodes share what they keep, nil if the configuration has no redis; the caller closes it after Shutdown
	Wallet   *wallet.Wallet // what clients bought, nil if no rule is from the market; the caller closes it after Shutdown
	Jobs     *Jobs          // what is sent later, nil if no route is async; Shutdown closes the service, and the caller its log after that
	SpoolDir string         // where answers go that clients are slow to read; default os.TempDir
	Feed     *feed.Feed     // hears of every shared call
	Arrivals *arrivals.Recorder
	Log      *slog.Logger
	Metrics  prometheus.Registerer
}

// settings are what a configuration amounts to. They are never changed, only replaced as a whole, so that a request
// sees one configuration from its beginning to its end.
type settings struct {
	cfg        *config.Config
	identifier *identify.Identifier
	rules      *limit.Rules
	routes     []*route
	pools      map[string]*backend
	agents     agents
	sharings   []*sharing    // of the routes that have one
	jobs       *route        // matches what clients ask about their jobs; nil if no route is async
	kept       *cache.Shared // where some of them keep answers for other nodes, too; nil if none does
	access     bool          // log every request
}

// New makes a gateway that serves nothing yet.
func New(cfg *config.Config, o Options) *Gateway {
	g := &Gateway{
		log: o.Log, metrics: newMetrics(o.Feed, o.Arrivals), meter: o.Meter, limits: limit.New(o.Limits),
		refreshes: newRefreshes(), kept: o.Cache, spoolDir: o.SpoolDir, wallet: o.Wallet, jobs: o.Jobs,
	}
	g.answers = coalesce.New[*ask, *answer](coalesce.Config{Observe: g.observe, Remember: time.Second}) // for longer it is remembered by the cache
	g.merged = coalesce.NewGather[*item, *part](coalesce.Config{Observe: g.observe})
	g.settings.Store(g.prepare(cfg, nil))
	g.work(nil, g.settings.Load())
	g.server = http1.NewServer(limits(cfg), o.Log, g.serve)
	g.metrics.register(o.Metrics, g)
	return g
}

// observe tells what became of a call that many waited for.
func (g *Gateway) observe(f coalesce.Flush) {
	g.metrics.flushes.Observe(f)
	var panicked *coalesce.PanicError
	if f.Reason != coalesce.JoinedCall && errors.As(f.Err, &panicked) {
		g.log.Error("a call that requests shared panicked", "route", f.Tag, "panic", panicked.Value, "stack", string(panicked.Stack))
	}
}

// Serve takes clients from ln until Shutdown, and then returns http1.ErrServerClosed.
func (g *Gateway) Serve(ln net.Listener) error { return g.server.Serve(ln) }

// Apply replaces the configuration. Requests under way finish with the one they began with; connections stay open,
// and so do those to upstreams that have not changed.
func (g *Gateway) Apply(cfg *config.Config) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.settings.Load()
	next := g.prepare(cfg, old)
	g.settings.Store(next)
	g.work(old, next)
	g.meter.Apply(&cfg.Meter)
	g.server.SetLimits(limits(cfg))
	for _, sharing := range old.sharings {
		if !slices.Contains(next.sharings, sharing) {
			sharing.cache.Close()
		}
	}
	for name, pool := range old.pools {
		if next.pools[name] != pool {
			pool.Close()
		}
	}
	old.agents.closeBut(next.agents)
}

// prepare builds settings, with those upstreams and agents of old that are the same in cfg.
func (g *Gateway) prepare(cfg *config.Config, old *settings) *settings {
	if old == nil {
		old = new(settings)
	}
	s := &settings{
		cfg:        cfg,
		identifier: identify.New(&cfg.Identify),
		rules:      g.limits.Apply(cfg),
		pools:      make(map[string]*backend),
		access:     cfg.Log.Access,
	}
	g.metrics.clients.max.Store(int64(cfg.Identify.MaxNames))
	for name, u := range cfg.Upstreams {
		s.pools[name] = newBackend(u, old.pools[name], g.log)
	}
	s.agents = g.agentsOf(cfg, old.agents)
	for _, r := range cfg.Routes {
		route := newRoute(r, s.pools[r.Upstream], s.rules.Set(r.Limits), g.metrics)
		route.capacities = capacities(cfg, r.Limits)
		if route.sharing = g.sharingOf(r, s, old); route.sharing != nil {
			s.sharings = append(s.sharings, route.sharing)
			if r.Cache != nil && r.Cache.Shared {
				s.kept = g.kept
			}
		}
		route.merging = newMerging(r, s, g.merged)
		s.routes = append(s.routes, route)
	}
	if cfg.Queues() {
		s.jobs = &route{metrics: g.metrics.route(config.JobsPath + "{id}"), name: config.JobsPath + "{id}"}
	}
	return s
}

// sharingOf returns how the answers of a route are shared: as in the old settings, with all that is stored, if nothing about it has changed.
func (g *Gateway) sharingOf(r *config.Route, s, old *settings) *sharing {
	for _, sharing := range old.sharings {
		if sharing.same(r, &s.cfg.Identify, &old.cfg.Identify, s.pools[r.Upstream]) {
			return sharing
		}
	}
	return g.newSharing(r, s)
}

func limits(cfg *config.Config) http1.Limits {
	return http1.Limits{
		MaxConns:      cfg.MaxConnections,
		MaxHeader:     int(cfg.MaxHeader),
		MaxURI:        int(cfg.MaxURI),
		HeaderTimeout: cfg.Timeouts.Header,
		IdleTimeout:   cfg.Timeouts.Idle,
		BodyTimeout:   cfg.Timeouts.Body,
		WriteTimeout:  cfg.Timeouts.Write,
	}
}

// Shutdown stops accepting, lets the requests under way finish until ctx ends, and closes the upstreams and the limits. It must be
// called once.
func (g *Gateway) Shutdown(ctx context.Context) error {
	var served sync.WaitGroup // those who wait for others are served at once: nobody else will come
	for _, closer := range g.groups() {
		served.Go(func() { closer(ctx) })
	}
	if g.jobs != nil {
		served.Go(func() { g.stopJobs(ctx) })
	}
	err := g.server.Shutdown(ctx)
	for _, p := range g.settings.Load().pools {
		p.gate.Close() // whose queue has only calls left that nobody waits for
	}
	g.refreshes.close()
	g.closeCalls()
	served.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, sharing := range g.settings.Load().sharings {
		sharing.cache.Close()
	}
	for _, p := range g.settings.Load().pools {
		p.Close()
	}
	g.settings.Load().agents.closeBut(nil)
	g.limits.Close()
	return err
}

// closeCalls ends the calls that requests shared. Those that are left when the requests have ended are nobody's.
func (g *Gateway) closeCalls() {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for _, closer := range g.groups() {
		if closer(now) != nil {
			closer(context.Background())
		}
	}
}

// groups returns what ends the calls that requests share, of each kind.
func (g *Gateway) groups() []func(context.Context) error {
	return []func(context.Context) error{g.answers.Close, g.merged.Close}
}

// Limits is the limit stage, for questions from outside of the traffic.
func (g *Gateway) Limits() *limit.Stage { return g.limits }

// Status is the gateway as operators see it.
type Status struct {
	Draining    bool             `json:"draining"`
	Connections int              `json:"connections"`
	Upstreams   []UpstreamStatus `json:"upstreams"`
}

// UpstreamStatus is an upstream as operators see it.
type UpstreamStatus struct {
	upstream.Status
	Admission *AdmissionStatus `json:"admission,omitempty"` // nil without max_in_flight
}

// AdmissionStatus is the gate in front of an upstream.
type AdmissionStatus struct {
	MaxInFlight int `json:"max_in_flight"`
	InFlight    int `json:"in_flight"` // with calls that were given up, and whose targets have not ended them
	MaxWaiting  int `json:"max_waiting"`
	Waiting     int `json:"waiting"`
}

// Status reports the gateway as it is now, its upstreams in the order of the configuration.
func (g *Gateway) Status() Status {
	s := g.settings.Load()
	st := Status{Draining: g.server.Draining(), Connections: g.server.Stats().Open}
	for _, name := range s.cfg.UpstreamNames {
		st.Upstreams = append(st.Upstreams, s.pools[name].status())
	}
	return st
}

// Config is the configuration in force.
func (g *Gateway) Config() *config.Config { return g.settings.Load().cfg }
