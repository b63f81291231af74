package http1_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// crowd is a listener where a client arrives every millisecond. Each has gone already.
type crowd struct{ asked chan struct{} }

func (c *crowd) Accept() (net.Conn, error) {
	select {
	case c.asked <- struct{}{}:
	default:
	}
	time.Sleep(time.Millisecond)
	here, there := net.Pipe()
	there.Close()
	return here, nil
}

func (c *crowd) Close() error                { return nil }
func (c *crowd) Addr() net.Addr              { return &net.TCPAddr{} }
func (c *crowd) SetDeadline(time.Time) error { return nil }

// Clients that never stop connecting can't keep the server from ending.
func TestShutdownEndsAmongNewClients(t *testing.T) {
	s := http1.NewServer(http1.Limits{
		MaxConns: 100_000, MaxHeader: 1 << 10, MaxURI: 100,
		HeaderTimeout: time.Minute, IdleTimeout: time.Minute, BodyTimeout: time.Minute, WriteTimeout: time.Minute,
	}, slog.New(slog.DiscardHandler), func(*http1.Exchange) {})
	ln := &crowd{make(chan struct{}, 1)}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	<-ln.asked
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http1.ErrServerClosed) {
		t.Error(err)
	}
}
