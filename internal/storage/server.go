package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/quota"
	"github.com/sluicegate/sluice/internal/rate"
)

// Server answers for a storage over HTTP. Make one with NewServer, call Serve once, and Close.
type Server struct {
	storage  *Storage
	log      *slog.Logger
	http     *http1.Server
	stage    *limit.Stage
	limits   *limit.Set
	requests sync.Pool // of *request
	buffers  sync.Pool // of *[copySize]byte
}

var limits = http1.Limits{
	MaxConns:      100_000,
	MaxHeader:     16 << 10,
	MaxURI:        8 << 10,
	HeaderTimeout: 10 * time.Second,
	IdleTimeout:   75 * time.Second,
	BodyTimeout:   30 * time.Second,
	WriteTimeout:  30 * time.Second,
}

// copySize is how much content goes out at once.
const copySize = 64 << 10

// RuleName is what the limit of requests is called, in metrics and in what clients are told.
const RuleName = "user"

// NewServer makes a server for a storage. The limits of requests are this node's alone, or with shared those of all nodes together; the caller closes
// shared after the server.
func NewServer(s *Storage, shared *limit.Shared) *Server {
	v := &Server{storage: s, log: s.log, stage: limit.New(shared)}
	v.stage.OverrideBy(v.limitOf)
	v.limits = v.stage.Apply(rules(shared != nil)).Set([]string{RuleName})
	v.http = http1.NewServer(limits, s.log, v.handle)
	v.requests.New = func() any { return new(request) }
	v.buffers.New = func() any { return new([copySize]byte) }
	return v
}

// rules is the limit of requests as a configuration says it. Everybody's is in the state, so this is what holds while that can't be read.
func rules(shared bool) *config.Config {
	l := &config.Limit{
		Name: RuleName, Rate: rate.Rate{Count: quota.DefaultRate, Period: time.Minute}, Burst: quota.DefaultRate - 1,
		Per: config.PerClient, Cost: config.Cost{Fixed: 1}, Mode: config.ModeLocal, OnError: config.OnErrorLocalShare, MaxKeys: 1_000_000,
	}
	if shared {
		l.Mode = config.ModeLease
	}
	return &config.Config{
		Limits: map[string]*config.Limit{l.Name: l}, LimitNames: []string{l.Name}, RateLimitHeaders: []config.RateLimitHeader{config.HeaderStandard},
	}
}

// limitOf is what a user may send: what a minute brings, at once or in the course of it.
func (v *Server) limitOf(user, _ string) (l gcra.Limit, ok bool) {
	u, err := v.storage.Usage(user)
	if err != nil {
		return l, false
	}
	l, err = gcra.NewLimit(int64(u.Rate), time.Minute, int64(u.Rate)-1)
	return l, err == nil
}

// Limits is the limit stage, for its metrics.
func (v *Server) Limits() *limit.Stage { return v.stage }

// Grace is how long answers under way may take once Serve is told to stop.
const Grace = 15 * time.Second

// Serve answers the connections of ln until ctx ends. Then it closes ln, answers what has been received, and returns nil; connections that are open
// after [Grace] are cut. Any other error is one of ln.
func (v *Server) Serve(ctx context.Context, ln net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- v.http.Serve(ln) }()
	var failed error
	select {
	case err := <-served:
		failed = fmt.Errorf("listening: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), Grace)
	defer cancel()
	if v.http.Shutdown(grace) != nil {
		v.log.Warn("stopped with requests in flight", "after", Grace.String())
	}
	return failed
}

// Close ends what the server does beside requests. Serve must have returned.
func (v *Server) Close() { v.stage.Close() }

// Draining reports whether the server is stopping.
func (v *Server) Draining() bool { return v.http.Draining() }

// Ready says why requests should go to another node; nil: they need not.
func (v *Server) Ready() error {
	if v.Draining() {
		return errors.New("this node is stopping")
	}
	return v.storage.Ready()
}
