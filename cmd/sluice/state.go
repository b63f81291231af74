package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/sluicegate/sluice/internal/cache"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/feed"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/journal"
	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/meter"
	"github.com/sluicegate/sluice/internal/redislimit"
	"github.com/sluicegate/sluice/internal/wallet"
)

// state is what a node knows beyond one request: on disk, with data_dir, and shared with other nodes, with redis.
type state struct {
	id      string        // of this node among those that share state
	dir     *datadir.Dir  // nil without data_dir
	redis   *redis.Client // nil without redis
	meter   *meter.Meter
	cluster *meter.Cluster  // nil without redis
	limits  *limit.Shared   // nil without redis
	cache   *cache.Shared   // nil without redis
	broker  *journal.Broker // of the logs; nil without one
	trade   *trade          // nil where nothing is bought or sold
	later   *later          // nil where no route is async
	log     *slog.Logger
}

// openState restores what was kept. Redis may be away: nothing waits for it.
func openState(ctx context.Context, cfg *config.Config, log *slog.Logger, reg prometheus.Registerer, events *feed.Feed) (*state, error) {
	s := &state{log: log, id: datadir.NewID()}
	opts := meter.Options{Log: log}
	var err error
	if cfg.DataDir != "" {
		if s.dir, err = datadir.Open(cfg.DataDir); err != nil {
			return nil, err
		}
		opts.Path, s.id = s.dir.Path, s.dir.ID()
	}
	if s.meter, err = meter.Open(&cfg.Meter, opts); err != nil {
		return nil, errors.Join(fmt.Errorf("restoring the counts of requests: %w", err), s.closeDir())
	}
	reg.MustRegister(s.meter)
	if err := s.openLogs(ctx, cfg, reg, events); err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	if cfg.Redis == nil {
		return s, nil
	}
	redis.SetLogger(redisLog{log}) // the library has one for the process, and it prints to stderr
	s.redis = newRedis(cfg.Redis)
	s.cluster = meter.Join(s.meter, s.redis, s.id, log)
	reg.MustRegister(s.cluster)
	if s.limits, err = limit.OpenShared(sharedLimits(cfg.Redis, s.id)); err != nil {
		return nil, errors.Join(fmt.Errorf("sharing limits: %w", err), s.close(ctx))
	}
	s.cache = cache.OpenShared(cache.SharedConfig{Options: redis.UniversalOptions{
		Addrs: []string{cfg.Redis.Address}, Username: cfg.Redis.User, Password: cfg.Redis.Password, DB: cfg.Redis.DB, TLSConfig: redisTLS(cfg.Redis),
	}})
	return s, nil
}

// openLogs restores what is kept in logs, on one broker.
func (s *state) openLogs(ctx context.Context, cfg *config.Config, reg prometheus.Registerer, events *feed.Feed) (err error) {
	if !cfg.Trades() && !cfg.Queues() {
		return nil
	}
	if cfg.NATS != "" {
		s.broker, err = journal.Dial(journal.DialConfig{URL: cfg.NATS, Log: s.log})
	} else {
		s.broker, err = journal.Embed(journal.EmbedConfig{Dir: s.dir, Log: s.log})
	}
	if err != nil {
		return err
	}
	if cfg.Trades() {
		if s.trade, err = openTrade(ctx, s.broker, s.dir, s.log); err != nil {
			return err
		}
	}
	if cfg.Queues() {
		notify := func(e jobs.Event) { events.Publish("job", e) }
		s.later, err = openLater(ctx, laterOptions{broker: s.broker, dir: s.dir, log: s.log, reg: reg, notify: notify})
	}
	return err
}

// wallet is what clients bought, nil where they cannot.
func (s *state) wallet() *wallet.Wallet {
	if s.trade == nil {
		return nil
	}
	return s.trade.wallet
}

// spoolDir is where large answers wait for slow clients: beside what is kept, where there is room, or "" for the system's place.
func (s *state) spoolDir() string {
	if s.dir == nil {
		return ""
	}
	return s.dir.Path("")
}

// close writes what is kept. Call it after the last request.
func (s *state) close(ctx context.Context) error {
	var err error
	if s.later != nil {
		err = s.later.close(ctx)
	}
	if s.trade != nil {
		err = errors.Join(err, s.trade.close(ctx))
	}
	if s.broker != nil {
		s.broker.Close()
	}
	if s.limits != nil {
		s.closeLimits()
	}
	if s.cache != nil {
		err = errors.Join(err, s.cache.Close())
	}
	if s.cluster != nil {
		s.cluster.Close()
		err = errors.Join(err, s.redis.Close())
	}
	s.meter.Close()
	return errors.Join(err, s.closeDir())
}

// closeLimits returns the tokens of leases. What Redis does not take comes back by itself within seconds, so that is no failure.
func (s *state) closeLimits() {
	if err := s.limits.Close(); err != nil {
		s.log.Warn("not all that was shared with other nodes could be ended in order", "error", err)
	}
}

func (s *state) closeDir() error {
	if s.dir == nil {
		return nil
	}
	return s.dir.Close()
}

// meters lists the meters of this node, or of all.
func (s *state) meters(ctx context.Context, q meter.Query) (*meter.Page, error) {
	switch {
	case q.Scope == meter.NodeScope:
		return s.meter.List(q)
	case s.cluster == nil:
		return nil, &meter.QueryError{Param: "scope", Reason: `"cluster" needs the key redis in the configuration, ` +
			"the same for all nodes, as in redis: redis://127.0.0.1:6379/0"}
	default:
		return s.cluster.List(ctx, q)
	}
}

// Bounds of one exchange with Redis. Whoever uses it bounds the whole of what it does.
const (
	redisDial  = time.Second
	redisReply = time.Second
)

// newRedis makes the client of everything but the limits, which have little time. It connects when it is first used.
func newRedis(cfg *config.Redis) *redis.Client {
	opts := &redis.Options{
		Addr:                  cfg.Address,
		Username:              cfg.User,
		Password:              cfg.Password,
		DB:                    cfg.DB,
		DialTimeout:           redisDial,
		DialerRetries:         1,
		ReadTimeout:           redisReply,
		WriteTimeout:          redisReply,
		ContextTimeoutEnabled: true,
		MaxRetries:            1, // for a connection that Redis closed while it was idle
		PipelinePoolSize:      -1,
		DisableIdentity:       true,

		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	opts.TLSConfig = redisTLS(cfg)
	return redis.NewClient(opts)
}

// redisTLS is nil for a Redis without TLS.
func redisTLS(cfg *config.Redis) *tls.Config {
	if !cfg.TLS {
		return nil
	}
	host, _, _ := net.SplitHostPort(cfg.Address)
	return &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
}

// sharedLimits says how the limits reach Redis, and what this node is called among those that share them.
func sharedLimits(cfg *config.Redis, node string) redislimit.Config {
	return redislimit.Config{
		Options: redis.UniversalOptions{
			Addrs: []string{cfg.Address}, Username: cfg.User, Password: cfg.Password, DB: cfg.DB, TLSConfig: redisTLS(cfg),
		},
		Node: node,
	}
}

// redisLog makes what the client reports of itself debug messages: its users report what fails.
type redisLog struct{ log *slog.Logger }

// Printf implements the library's logger.
func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, "redis client", "message", fmt.Sprintf(format, args...))
}
