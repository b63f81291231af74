package http1_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// pipes is a listener whose connections are in memory, so that a test of timeouts runs in virtual time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	deadline time.Time
	moved    chan struct{} // closed when the deadline changes
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), closed: make(chan struct{}), moved: make(chan struct{})}
}

func (p *pipes) SetDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	close(p.moved)
	p.moved = make(chan struct{})
	return nil
}

func (p *pipes) Accept() (net.Conn, error) {
	for {
		p.mu.Lock()
		moved, over := p.moved, make(<-chan time.Time)
		if !p.deadline.IsZero() {
			over = time.After(time.Until(p.deadline))
		}
		p.mu.Unlock()
		select {
		case c := <-p.conns:
			return c, nil
		case <-p.closed:
			return nil, net.ErrClosed
		case <-over:
			return nil, os.ErrDeadlineExceeded
		case <-moved:
		}
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() *pipeClient {
	client, server := net.Pipe()
	p.conns <- server
	return &pipeClient{client, bufio.NewReader(client)}
}

type pipeClient struct {
	net.Conn
	r *bufio.Reader
}

func (c *pipeClient) status(t *testing.T) int {
	t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func (c *pipeClient) send(s string) { io.WriteString(c, s) }

// inVirtualTime runs a test that calls start for a server whose timeouts are those of a real one.
func inVirtualTime(t *testing.T, test func(t *testing.T, start func(handler func(*http1.Exchange)) *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, func(handler func(*http1.Exchange)) *pipes { return serveInMemory(t, handler) })
	})
}

func serveInMemory(t *testing.T, handler func(*http1.Exchange)) *pipes {
	l := limits()
	l.HeaderTimeout, l.IdleTimeout, l.BodyTimeout, l.WriteTimeout = 10*time.Second, 60*time.Second, 30*time.Second, 40*time.Second
	s := http1.NewServer(l, slog.New(slog.DiscardHandler), func(x *http1.Exchange) {
		if x.Refusal != nil {
			refuse(x, x.Refusal)
			return
		}
		handler(x)
	})
	p := newPipes()
	served := make(chan error, 1)
	go func() { served <- s.Serve(p) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		<-served
	})
	return p
}

// expectClosedWithin reads up to the end of the connection and checks when it comes.
func (c *pipeClient) expectClosedWithin(t *testing.T, least, most time.Duration) {
	t.Helper()
	start := time.Now()
	io.Copy(io.Discard, c.r)
	if took := time.Since(start); took < least || took > most {
		t.Errorf("closed after %v, want %v to %v", took, least, most)
	}
}

func TestSlowHead(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, start func(func(*http1.Exchange)) *pipes) {
		p := start(echo)
		c := p.dial()
		defer c.Close()
		began := time.Now()
		sent := make(chan struct{})
		defer func() { c.Close(); <-sent }()
		go func() { // one byte every second is not fast enough
			defer close(sent)
			for _, b := range []byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n") {
				time.Sleep(time.Second)
				c.Write([]byte{b})
			}
		}()
		if got := c.status(t); got != 408 {
			t.Errorf("%d, want 408", got)
		}
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

func TestSilentClient(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, start func(func(*http1.Exchange)) *pipes) {
		p := start(echo)
		c := p.dial()
		defer c.Close()
		c.expectClosedWithin(t, 10*time.Second, 13*time.Second)
	})
}

func TestIdleConnection(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, start func(func(*http1.Exchange)) *pipes) {
		p := start(echo)
		c := p.dial()
		defer c.Close()
		for range 5 {
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			c.status(t)
			time.Sleep(59 * time.Second)
		}
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		c.status(t)
		c.expectClosedWithin(t, 60*time.Second, 75*time.Second)
	})
}

// However long requests take, the client has the whole idle timeout between them.
func TestSlowRequestsKeepTheirConnection(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, start func(func(*http1.Exchange)) *pipes) {
		p := start(func(x *http1.Exchange) { time.Sleep(74 * time.Second); echo(x) })
		c := p.dial()
		defer c.Close()
		for range 3 {
			for range 2 {
				c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				c.status(t)
			}
			time.Sleep(58 * time.Second)
		}
	})
}

// Every piece of a body has its own time; a pause that is too long ends it.
func TestSlowBody(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, start func(func(*http1.Exchange)) *pipes) {
		errs := make(chan error, 1)
		p := start(func(x *http1.Exchange) {
			body, err := readBody(x)
			errs <- err
			x.Begin(200, nil)
			x.Respond(body)
		})
		c := p.dial()
		defer c.Close()
		for range 2 {
			c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n")
			for range 3 {
				time.Sleep(29 * time.Second)
				c.send("x")
			}
			if err := <-errs; err != nil {
				t.Error(err)
			}
			c.status(t)
			time.Sleep(59 * time.Second)
		}
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxx")
		began := time.Now()
		if err := <-errs; err == nil || !os.IsTimeout(err) {
			t.Errorf("%v, want a timeout", err)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("after %v, want 30s", took)
		}
	})
}

// A client that takes nothing of its response is given up.
func TestSlowReader(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, start func(func(*http1.Exchange)) *pipes) {
		gaveUp := make(chan time.Duration, 1)
		p := start(func(x *http1.Exchange) {
			began := time.Now()
			x.Begin(200, nil)
			x.EndHead(1 << 20)
			for range 1 << 4 {
				if _, err := x.Write(make([]byte, 1<<16)); err != nil {
					gaveUp <- time.Since(began)
					return
				}
			}
		})
		c := p.dial()
		defer c.Close()
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if took := <-gaveUp; took < 40*time.Second || took > 50*time.Second {
			t.Errorf("after %v, want 40s to 50s", took)
		}
	})
}

// Changed limits hold for the next request of connections that are open.
func TestSetLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := http1.NewServer(limits(), slog.New(slog.DiscardHandler), func(x *http1.Exchange) {
			if x.Refusal != nil {
				refuse(x, x.Refusal)
				return
			}
			echo(x)
		})
		p := newPipes()
		go s.Serve(p)
		defer s.Shutdown(context.Background())
		c := p.dial()
		defer c.Close()
		c.send("GET /0123456789 HTTP/1.1\r\nHost: h\r\n\r\n")
		c.status(t)
		synctest.Wait() // the connection waits for its next request
		l := limits()
		l.MaxURI = 5
		s.SetLimits(l)
		c.send("GET /0123456789 HTTP/1.1\r\nHost: h\r\n\r\n") // the wait for this one began under the old limits
		c.status(t)
		c.send("GET /0123456789 HTTP/1.1\r\nHost: h\r\n\r\n")
		if got := c.status(t); got != 414 {
			t.Errorf("%d, want 414", got)
		}
	})
}

// A client that is accepted while the server drains already, with a part of its head there, is not woken by what
// closes idle connections.
func TestShutdownServesPartialBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := http1.NewServer(limits(), slog.New(slog.DiscardHandler), echo)
		p := newPipes()
		served := make(chan error, 1)
		go func() { served <- s.Serve(p) }()
		synctest.Wait() // it waits for a client
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		synctest.Wait() // it has been told to drain, and takes the rest of its backlog
		c := p.dial()
		defer c.Close()
		c.send("GET / HT")
		<-served
		synctest.Wait() // idle connections have been woken
		c.send("TP/1.1\r\nHost: h\r\n\r\n")
		if got := c.status(t); got != 200 {
			t.Errorf("%d, want 200", got)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
