package market

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// Server answers for a market over HTTP. Make one with NewServer, and call Serve once.
type Server struct {
	market *Market
	log    *slog.Logger
	http   *http1.Server

	streams  chan struct{}   // filled by the streams that are open
	stopping context.Context // ends when the server is to stop
	stop     context.CancelFunc
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

// NewServer makes a server for a market.
func NewServer(m *Market) *Server {
	s := &Server{market: m, log: m.log, streams: make(chan struct{}, maxStreams)}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.http = http1.NewServer(limits, m.log, s.handle)
	return s
}

// Grace is how long answers under way may take once Serve is told to stop.
const Grace = 15 * time.Second

// Serve answers the connections of ln until ctx ends. Then it closes ln, ends the streams, answers what has been received, and returns nil;
// connections that are open after [Grace] are cut. Any other error is one of ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(ln) }()
	var failed error
	select {
	case err := <-served:
		failed = fmt.Errorf("listening: %w", err)
	case <-ctx.Done():
	}
	s.stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), Grace)
	defer cancel()
	if s.http.Shutdown(grace) != nil {
		s.log.Warn("stopped with requests in flight", "after", Grace.String())
	}
	return failed
}

// Draining reports whether the server is stopping.
func (s *Server) Draining() bool { return s.http.Draining() }

// Ready says why orders should go to another node; nil: they need not.
func (s *Server) Ready() error {
	if s.Draining() {
		return errors.New("this node is stopping")
	}
	return s.market.Ready()
}
