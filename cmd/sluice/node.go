package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"reflect"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/sluicegate/sluice/internal/admin"
	"github.com/sluicegate/sluice/internal/arrivals"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/feed"
	"github.com/sluicegate/sluice/internal/gateway"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/live"
	"github.com/sluicegate/sluice/internal/rls"
)

// node is one running gateway with its other listeners: what serve and demo have in common.
type node struct {
	cfg      *config.Config // as it was at the start
	load     func() (*config.Config, error)
	log      *slog.Logger
	level    slog.LevelVar
	state    *state
	gate     *gateway.Gateway
	admin    *admin.Server
	rls      *rls.Server // nil without rate_limit_service
	reg      *prometheus.Registry
	loads    *prometheus.CounterVec
	feed     *feed.Feed
	arrivals *arrivals.Recorder
	live     *live.Sampler
	loadMu   sync.Mutex // held while the configuration is replaced

	listener, adminListener     net.Listener
	rlsListener, marketListener net.Listener // nil without rate_limit_service, without market
}

// feedSize is how many events are remembered for those who ask what happened.
const feedSize = 4096

// newNode binds the listeners, so that a taken port is found before anything starts. load reads the configuration
// again; it is nil when there is no file.
func newNode(ctx context.Context, cfg *config.Config, load func() (*config.Config, error), stderr io.Writer) (*node, error) {
	n := &node{cfg: cfg, load: load, reg: prometheus.NewRegistry(), feed: feed.New(feedSize), arrivals: arrivals.New(arrivals.Options{})}
	n.log = newLogger(stderr, &cfg.Log, &n.level)
	var err error
	if err = n.bind(); err != nil {
		n.closeListeners()
		return nil, err
	}
	if n.state, err = openState(ctx, cfg, n.log, n.reg, n.feed); err != nil {
		n.closeListeners()
		return nil, err
	}
	n.warn(cfg)
	n.loads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_config_reloads_total", Help: "Attempts to apply the configuration file anew, by result.",
	}, []string{"result"})
	n.reg.MustRegister(n.loads, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	n.gate = gateway.New(cfg, gateway.Options{
		Meter:    n.state.meter,
		Limits:   n.state.limits,
		Cache:    n.state.cache,
		Wallet:   n.state.wallet(),
		Jobs:     n.state.later.gateway(),
		SpoolDir: n.state.spoolDir(),
		Feed:     n.feed,
		Arrivals: n.arrivals,
		Log:      n.log,
		Metrics:  n.reg,
	})
	n.live = live.New(n.glance())
	n.admin = admin.New(n.adminOptions(cfg))
	if s := cfg.RateLimitService; s != nil {
		n.rls = rls.New(rls.Options{Limits: n.gate.Limits(), Domain: s.Domain, Token: s.Token, Metrics: n.reg})
	}
	return n, nil
}

// adminOptions are what operators can see and do.
func (n *node) adminOptions(cfg *config.Config) admin.Options {
	o := admin.Options{
		Token:   cfg.Admin.Token,
		PProf:   cfg.Admin.PProf,
		Metrics: n.reg,
		Log:     n.log,
		Limits:  n.gate.Limits(),
		Ready: func() (bool, string, any) {
			r := n.gate.Ready()
			return r.Ready, r.String(), r
		},
		Status: func() any { return n.gate.Status() },
		Reload: n.reload,
		Meters: n.state.meters,

		Events:   n.feed,
		Arrivals: n.arrivals,
		Live:     n.live,
	}
	if l := n.state.later; l != nil {
		o.Jobs, o.JobRequest = l.service, n.jobRequest
	}
	return o
}

// jobRequest is what a job keeps of a request.
func (n *node) jobRequest(ctx context.Context, id jobs.ID) (*admin.JobRequest, error) {
	r, err := n.gate.JobRequest(ctx, id)
	if err != nil {
		return nil, err
	}
	return &admin.JobRequest{Method: r.Method, Target: r.Target, Host: r.Host, ContentType: r.ContentType, Bytes: r.Bytes, Body: r.Body}, nil
}

// bind opens the listeners that the configuration names.
func (n *node) bind() (err error) {
	if n.listener, err = net.Listen("tcp", n.cfg.Listen); err != nil {
		return fmt.Errorf("listen for clients: %w (choose another with --listen, or listen in the file)", err)
	}
	if n.adminListener, err = net.Listen("tcp", n.cfg.Admin.Listen); err != nil {
		return fmt.Errorf("listen for operators: %w (choose another with --admin, or admin.listen in the file)", err)
	}
	if s := n.cfg.RateLimitService; s != nil {
		if n.rlsListener, err = net.Listen("tcp", s.Listen); err != nil {
			return fmt.Errorf("listen for the rate limit service: %w", err)
		}
	}
	if m := n.cfg.Market; m != nil {
		if n.marketListener, err = net.Listen("tcp", m.Listen); err != nil {
			return fmt.Errorf("listen for orders: %w", err)
		}
	}
	return nil
}

func (n *node) closeListeners() {
	for _, ln := range []net.Listener{n.listener, n.adminListener, n.rlsListener, n.marketListener} {
		if ln != nil {
			ln.Close()
		}
	}
}

func (n *node) url() string      { return "http://" + n.listener.Addr().String() }
func (n *node) adminURL() string { return "http://" + n.adminListener.Addr().String() }

// run serves until ctx ends, a signal asks to stop, or a listener fails. SIGHUP reloads the configuration. A second
// signal to stop ends the process at once.
func (n *node) run(ctx context.Context) error {
	moreProcs()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	// Only now: whoever waits for this line may signal at once.
	n.log.Info("sluice is serving", "listen", n.url(), "admin", n.adminURL(), "config", n.cfg.Path, "upstreams", n.cfg.UpstreamNames)

	failed := make(chan error, 5)
	if t := n.state.trade; t != nil {
		go watch(t.market, failed)
	}
	if l := n.state.later; l != nil {
		go watch(l.log, failed)
	}
	if n.marketListener != nil {
		n.log.Info("the market is serving", "listen", "http://"+n.marketListener.Addr().String())
		n.state.trade.serve(n.marketListener)
	}
	if n.rls != nil {
		n.log.Info("the rate limit service is serving", "listen", n.rlsListener.Addr().String(), "domain", n.cfg.RateLimitService.Domain)
		go func() { failed <- n.rls.Serve(n.rlsListener) }()
	}
	go func() { failed <- n.gate.Serve(n.listener) }()
	go func() { failed <- n.admin.Serve(n.adminListener) }()
	defer n.look(ctx)()
	for {
		select {
		case <-hup:
			n.reload(ctx) // logs its own failure
		case err := <-failed:
			return errors.Join(err, n.shutdown(ctx))
		case <-ctx.Done():
			stop() // the next signal has its default effect: the process ends
			n.log.Info("stopping", "timeout", n.gate.Config().ShutdownTimeout.String())
			return n.shutdown(ctx)
		}
	}
}

// watch tells when a log stops: it is damaged, or nodes disagree, and nothing that was bought could be spent, and no job be accepted.
func watch(log interface {
	Stopped() <-chan struct{}
	Err() error
}, failed chan<- error) {
	<-log.Stopped()
	failed <- log.Err()
}

// shutdown ends the traffic first, that of other proxies beside our own, then writes what is kept, and ends the admin listener last, so
// that /readyz can say what is going on.
func (n *node) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.gate.Config().ShutdownTimeout)
	defer cancel()
	var others sync.WaitGroup
	if n.rls != nil {
		others.Go(func() { n.rls.Shutdown(ctx) })
	}
	err := n.gate.Shutdown(ctx)
	others.Wait()
	if errors.Is(err, context.DeadlineExceeded) {
		n.log.Warn("stopped with requests in flight: shutdown_timeout has passed")
		err = nil
	}
	err = errors.Join(err, n.state.close(ctx))
	closeNow, done := context.WithCancel(context.WithoutCancel(ctx))
	done()
	n.admin.Shutdown(closeNow)
	n.log.Info("stopped")
	return err
}

// reload reads the configuration file again and applies it. A bad file changes nothing.
func (n *node) reload(context.Context) error {
	n.loadMu.Lock()
	defer n.loadMu.Unlock()
	err := n.tryReload()
	if err != nil {
		n.loads.WithLabelValues("failure").Inc()
		n.log.Error("configuration not reloaded, the old one stays", "error", err)
		return err
	}
	n.loads.WithLabelValues("success").Inc()
	n.log.Info("configuration reloaded", "file", n.gate.Config().Path)
	return nil
}

func (n *node) tryReload() error {
	if n.load == nil {
		return admin.ErrNoFile
	}
	cfg, err := n.load()
	if err != nil {
		return err
	}
	if err := n.sameProcess(cfg); err != nil {
		return err
	}
	setLevel(&n.level, &cfg.Log)
	n.warn(cfg)
	n.gate.Apply(cfg)
	return nil
}

// warn logs what may not be meant in a configuration that is applied.
func (n *node) warn(cfg *config.Config) {
	for _, w := range cfg.Warnings {
		n.log.Warn("the configuration has something that may not be meant", "warning", w.Error())
	}
}

// sameProcess refuses changes that only a new process can make.
func (n *node) sameProcess(cfg *config.Config) error {
	for _, c := range []struct {
		key     string
		changed bool
	}{
		{"listen", cfg.Listen != n.cfg.Listen},
		{"admin", cfg.Admin != n.cfg.Admin},
		{"rate_limit_service", !reflect.DeepEqual(cfg.RateLimitService, n.cfg.RateLimitService)},
		{"data_dir", cfg.DataDir != n.cfg.DataDir},
		{"nats", cfg.NATS != n.cfg.NATS},
		{"market", !reflect.DeepEqual(cfg.Market, n.cfg.Market) || cfg.Trades() && n.state.trade == nil},
		{"routes[].async", cfg.Queues() && n.state.later == nil},
		{"redis", !reflect.DeepEqual(cfg.Redis, n.cfg.Redis)},
		{"log.format", cfg.Log.Format != n.cfg.Log.Format},
	} {
		if c.changed {
			return fmt.Errorf("%s: %s has changed, which takes effect only when the process is started anew", cfg.Path, c.key)
		}
	}
	return n.sameMemory(cfg)
}

// sameMemory refuses another size of a memory that a reload keeps.
func (n *node) sameMemory(cfg *config.Config) error {
	for name, now := range n.gate.Config().Limits {
		next := cfg.Limits[name]
		if next != nil && next.Per == now.Per && next.MaxKeys != now.MaxKeys {
			return fmt.Errorf("%s: limits.%s.max_keys has changed, which takes effect only when the process is started anew", cfg.Path, name)
		}
	}
	return nil
}

// ended reports whether err only says that a server was shut down.
func ended(err error) bool { return err == nil || errors.Is(err, http1.ErrServerClosed) }
