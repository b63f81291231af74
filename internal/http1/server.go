package http1

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// GoneInterval is how often requests that take their time are checked for their client still being there.
const GoneInterval = 100 * time.Millisecond

// Limits bound what a client may cost. They can be changed while the server runs. All must be positive.
type Limits struct {
	MaxConns  int // open connections; more clients wait in the kernel's backlog, and none is reset
	MaxHeader int // bytes of a request head; more is answered with 431
	MaxURI    int // bytes of a request target; more is answered with 414

	HeaderTimeout time.Duration // from the first byte of a head to its end, and from the connection to the first byte
	IdleTimeout   time.Duration // between two requests; a quarter more at most, to spare a system call per request
	BodyTimeout   time.Duration // the longest pause while a body is read
	WriteTimeout  time.Duration // the longest pause while a response is written; a quarter more at most
}

// Server accepts connections and hands their requests to Handler, one goroutine a connection.
// Make one with NewServer. Its methods are safe for concurrent use.
type Server struct {
	handler func(*Exchange)
	log     *slog.Logger
	limits  atomic.Pointer[Limits]

	draining  atomic.Bool
	accepted  atomic.Int64
	panics    atomic.Int64
	listening sync.WaitGroup // Serve calls
	running   sync.WaitGroup // connections' goroutines

	mu    sync.Mutex
	room  sync.Cond          // signalled when a connection ends or the limit changes; uses mu
	conns map[*conn]struct{} // open connections
	lns   map[net.Listener]struct{}
	stop  chan struct{} // closed when Shutdown begins
}

// NewServer makes a server. handler must answer every exchange; if it returns without, the connection is closed. If it panics, it gets
// the exchange again, with a Refusal of status 500.
func NewServer(limits Limits, log *slog.Logger, handler func(*Exchange)) *Server {
	s := &Server{
		handler: handler,
		log:     log,
		conns:   make(map[*conn]struct{}),
		lns:     make(map[net.Listener]struct{}),
		stop:    make(chan struct{}),
	}
	s.room.L = &s.mu
	s.limits.Store(&limits)
	return s
}

// SetLimits changes the limits. Connections that are open stay open.
func (s *Server) SetLimits(l Limits) {
	s.mu.Lock()
	s.limits.Store(&l)
	s.mu.Unlock()
	s.room.Broadcast()
}

// Stats are the server's counts.
type Stats struct {
	Accepted int64 // connections since the start
	Open     int   // connections now
	Panics   int64 // handlers that panicked
}

// Stats reports the counts as they are now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Accepted: s.accepted.Load(), Open: len(s.conns), Panics: s.panics.Load()}
}

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("http1: server closed")

// Serve accepts connections from ln until Shutdown, then closes it and returns ErrServerClosed.
func (s *Server) Serve(ln net.Listener) error {
	if !s.addListener(ln) {
		ln.Close()
		return ErrServerClosed
	}
	defer s.removeListener(ln)
	defer s.startWatch()()
	for s.waitForRoom() {
		nc, err := ln.Accept()
		if err != nil {
			if s.draining.Load() {
				break
			}
			if !s.acceptFailed(err) {
				return err
			}
			continue
		}
		s.start(nc)
	}
	s.acceptRest(ln)
	return ErrServerClosed
}

// acceptRest takes in the clients that the kernel has connected already, which closing the listener would reset. It
// stops after restTime: clients that go on connecting would keep the listener open for ever.
func (s *Server) acceptRest(ln net.Listener) {
	d, ok := ln.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return
	}
	until := time.Now().Add(restTime)
	// One deadline that passes may have passed while this goroutine had no processor, and proves nothing.
	for misses := 0; misses < 2 && time.Now().Before(until) && s.hasRoom(); {
		if d.SetDeadline(time.Now().Add(5*time.Millisecond)) != nil {
			return
		}
		nc, err := ln.Accept()
		if err != nil {
			misses++
			continue
		}
		misses = 0
		s.start(nc)
	}
}

const restTime = 100 * time.Millisecond

// acceptFailed waits a moment if the failure may pass (out of descriptors, an aborted handshake).
func (s *Server) acceptFailed(err error) (retry bool) {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	s.log.Warn("cannot accept a connection, trying again", "error", err)
	select {
	case <-s.stop:
	case <-time.After(50 * time.Millisecond):
	}
	return true
}

func (s *Server) addListener(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.lns[ln] = struct{}{}
	s.listening.Add(1)
	return true
}

func (s *Server) removeListener(ln net.Listener) {
	ln.Close()
	s.mu.Lock()
	delete(s.lns, ln)
	s.mu.Unlock()
	s.listening.Done()
}

// waitForRoom waits until another connection may be open. It reports false when the server is shutting down.
func (s *Server) waitForRoom() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.conns) >= s.limits.Load().MaxConns && !s.draining.Load() {
		s.room.Wait()
	}
	return !s.draining.Load()
}

func (s *Server) hasRoom() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) < s.limits.Load().MaxConns
}

func (s *Server) start(nc net.Conn) {
	s.accepted.Add(1)
	c := newConn(s, nc)
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.running.Go(func() {
		defer s.forget(c)
		c.serve()
	})
}

func (s *Server) forget(c *conn) {
	c.nc.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.room.Signal()
	c.recycle()
}

// startWatch starts watch and returns what stops it and waits for it.
func (s *Server) startWatch() (stop func()) {
	quit, watched := make(chan struct{}), make(chan struct{})
	go func() { defer close(watched); s.watch(quit) }()
	return func() { close(quit); <-watched }
}

// Thousands of requests may wait at once, and a look at each takes 2 µs: in one go, that would hold up those that do not wait. So the watch
// looks at them in parts, with a pause behind each that lets others work, all of them together shorter than GoneInterval.
const (
	watchParts = 32 // at most
	watchLeast = 32 // connections in a part, at least
	watchPause = 2 * time.Millisecond
)

// watch looks for clients that have gone while their requests are being worked on.
func (s *Server) watch(quit <-chan struct{}) {
	tick := time.NewTicker(GoneInterval)
	defer tick.Stop()
	var slow []*conn
	for {
		select {
		case <-quit:
			return
		case now := <-tick.C:
			slow = s.slowConns(slow[:0], now.Add(-GoneInterval))
			lookInParts(slow, quit)
			clear(slow)
		}
	}
}

func lookInParts(slow []*conn, quit <-chan struct{}) {
	size := max((len(slow)+watchParts-1)/watchParts, watchLeast)
	for part := range slices.Chunk(slow, size) {
		for _, c := range part {
			c.abortIfGone()
		}
		if len(part) < size {
			return
		}
		select {
		case <-quit:
			return
		case <-time.After(watchPause):
		}
	}
}

// slowConns appends the connections whose handler has been busy since before then.
func (s *Server) slowConns(dst []*conn, then time.Time) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if since := c.busySince.Load(); since != 0 && since < then.UnixNano() {
			dst = append(dst, c)
		}
	}
	return dst
}

// Draining reports whether Shutdown has begun.
func (s *Server) Draining() bool { return s.draining.Load() }

// Shutdown stops accepting, closes idle connections, and waits for the exchanges under way, whose connections close
// after their response. When ctx ends first, the connections that are left are cut and ctx's error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.draining.Swap(true) {
		close(s.stop)
	}
	for ln := range s.lns {
		wakeListener(ln)
	}
	s.mu.Unlock()
	s.room.Broadcast()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.listening.Wait()
		defer s.startWatch()()
		s.eachConn((*conn).wakeIfIdle)
		s.running.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.eachConn((*conn).cut)
		s.listening.Wait() // the backlog's clients may have come in just now
		s.eachConn((*conn).cut)
		<-done
		return ctx.Err()
	}
}

// wakeListener makes a pending Accept return without resetting those who wait in the backlog.
func wakeListener(ln net.Listener) {
	if d, ok := ln.(interface{ SetDeadline(time.Time) error }); ok && d.SetDeadline(past) == nil {
		return
	}
	ln.Close()
}

func (s *Server) eachConn(do func(*conn)) {
	s.mu.Lock()
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		do(c)
	}
}
