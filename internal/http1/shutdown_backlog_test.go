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

// When the time for Shutdown is over, clients that came in from the backlog at the last moment are cut like all others.
func TestShutdownCutsLatecomers(t *testing.T) {
	release := make(chan struct{})
	s := http1.NewServer(limits(), slog.New(slog.DiscardHandler), func(x *http1.Exchange) {
		x.Begin(200, nil)
		x.EndHead(-1)
		for { // an endless stream: it ends when the connection does
			x.Write([]byte("x"))
			if x.Flush() != nil {
				return
			}
			select {
			case <-release:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	over, cancel := context.WithCancel(context.Background())
	cancel()
	stop := make(chan struct{})
	dialled := make(chan struct{})
	go func() { // clients that arrive while the server stops
		defer close(dialled)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
				defer c.Close()
				c.Write([]byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
			}
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(over) }()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Shutdown waits for a stream that never ends")
		close(release)
		<-ended
	}
	close(stop)
	<-dialled
	<-served
}
