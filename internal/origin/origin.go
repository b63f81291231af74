// Package origin is an HTTP server to test a gateway against.
//
// It answers every path and method with a small JSON body, and lets the query string of a request ask for something
// else, so that a test says in the URL what the service behind the gateway shall do:
//
//	bytes=N           a body of exactly N bytes instead; N is a plain number or a size such as 100MB or 64KiB, at most 1TiB
//	chunked=1         the body is sent in chunks, without a Content-Length
//	status=N          the status of the response, 101 to 599
//	sleep=D           wait this much longer before answering, at most 10m
//	cache=VALUE       the Cache-Control field of the response
//	sse=N             N server-sent events instead, at most a million
//	interval=D        the time between two of them, 100ms if absent, at most 10m
//	headers=1         the JSON body lists the header fields as they arrived
//	echo=1            the body of the request instead, which must have one, of 1 MiB at most
//
// The first value counts where a parameter is repeated; other parameters mean nothing. A value that cannot be used is
// answered with 400 and a JSON body {"error": …}.
//
// A body of the request is read as a stream before the answer begins; its length and its SHA-256 are in the JSON body.
// Nothing but an echo is held whole. The bytes that bytes=N sends repeat one line of 64 characters, the last of them a newline.
//
// A status of 101 to 199 goes out as it is, without a body, and closes the connection: it is what a broken server does.
//
// Three paths are special. /healthz answers at once, whatever latency and failures are set. /_origin/stats reports what
// [Server.Stats] returns, and a POST to /_origin/reset zeroes it; neither is counted.
package origin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// MaxWait bounds every wait that an option or a request can ask for.
const MaxWait = 10 * time.Minute

// ErrClosed is what Serve returns once Shutdown has been called.
var ErrClosed = errors.New("origin: server closed")

// Options says how the origin behaves where a request does not ask for anything else.
// The zero value answers at once and never fails.
type Options struct {
	Latency time.Duration // wait before an answer; 0 to MaxWait
	Jitter  time.Duration // each wait is spread evenly over Latency ± Jitter, never below zero; 0 to MaxWait
	Fail    float64       // share of requests answered with 500; 0 to 1
	Logger  *slog.Logger  // where errors of connections go; nil discards them
}

// Validate reports the first option that is out of its range.
func (o Options) Validate() error {
	switch {
	case o.Latency < 0 || o.Latency > MaxWait:
		return fmt.Errorf("latency must be between 0s and %v, got %v", MaxWait, o.Latency)
	case o.Jitter < 0 || o.Jitter > MaxWait:
		return fmt.Errorf("jitter must be between 0s and %v, got %v", MaxWait, o.Jitter)
	case !(o.Fail >= 0 && o.Fail <= 1): // written so that NaN is refused
		return fmt.Errorf("fail must be between 0 and 1, got %v", o.Fail)
	}
	return nil
}

// Server is an origin. Make it with [New]; its methods may be called from any goroutine.
type Server struct {
	opts     Options
	http     *fasthttp.Server
	tally    tally
	sequence atomic.Int64 // numbers the answers; a reset leaves it alone, so that no two bodies are equal
	buffers  sync.Pool    // of *[drainBuffer]byte
	conns    connections
	quit     chan struct{} // closed when waiting requests must give up

	mu        sync.Mutex // guards what follows
	closed    bool
	listeners []net.Listener
	serving   sync.WaitGroup // Serve calls under way; Add only under mu, while not closed
}

// New returns an origin that is not serving yet. It panics if opts are invalid; see [Options.Validate].
func New(opts Options) *Server {
	if err := opts.Validate(); err != nil {
		panic("origin: " + err.Error())
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{opts: opts, quit: make(chan struct{})}
	s.tally.init()
	s.conns.init()
	s.buffers.New = func() any { return new([drainBuffer]byte) }
	s.http = &fasthttp.Server{
		Handler:                      s.handle,
		Name:                         "sluice-origin",
		Logger:                       errorLog{opts.Logger},
		ConnState:                    s.conns.changed,
		Concurrency:                  100_000,
		ReadBufferSize:               64 << 10, // the largest header block; roomier than what a gateway in front lets through
		StreamRequestBody:            true,
		MaxRequestBodySize:           64 << 10, // with streaming, what is buffered and not what is accepted
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		// fasthttp's goroutine that retires idle workers looks up from its sleep only this often, also to end.
		MaxIdleWorkerDuration: 100 * time.Millisecond,
	}
	return s
}

// Serve answers the connections of ln until [Server.Shutdown], and then returns [ErrClosed]; it closes ln.
// Any other error is one of ln.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errors.Join(ErrClosed, ln.Close())
	}
	s.listeners = append(s.listeners, ln)
	s.serving.Add(1)
	s.mu.Unlock()
	defer s.serving.Done()

	if err := s.http.Serve(ln); err != nil {
		return fmt.Errorf("origin: %w", err)
	}
	return ErrClosed
}

// Shutdown stops listening, lets the requests in flight finish and returns when every connection is closed. If ctx ends
// first, it cuts the connections that are left, waits for their handlers and returns the error of ctx.
// A later call returns at once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	// A Serve call that has registered its listener but has not handed it to fasthttp yet finds it closed.
	for _, ln := range s.listeners {
		ln.Close()
	}
	s.mu.Unlock()

	err := s.http.ShutdownWithContext(ctx)
	if cause := ctx.Err(); cause != nil && errors.Is(err, cause) {
		err = fmt.Errorf("origin: requests cut: %w", err)
		close(s.quit)
		s.conns.cut()
	} else {
		err = nil // any other is about the listener, which has been closed already
	}
	s.serving.Wait()
	s.conns.wait()
	return err
}

// Stats returns the counts since the start or the last [Server.Reset]. No request begins while they are read, so that
// the paths add up to the total of requests served. It costs up to a millisecond when there are thousands of paths.
func (s *Server) Stats() Stats { return s.tally.snapshot() }

// Reset zeroes the counts. Requests in flight stay in flight, and count towards the new maxima.
func (s *Server) Reset() { s.tally.reset() }

// pause waits for d and reports whether it was left to.
func (s *Server) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.quit:
		return false
	}
}

// latency draws the wait before one answer.
func (s *Server) latency() time.Duration {
	d := s.opts.Latency
	if j := int64(s.opts.Jitter); j > 0 {
		d += time.Duration(rand.Int64N(2*j+1) - j)
	}
	return max(d, 0)
}

// unlucky draws whether one request is to fail.
func (s *Server) unlucky() bool { return s.opts.Fail > 0 && rand.Float64() < s.opts.Fail }

// errorLog passes fasthttp's messages about connections on.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Printf(format string, args ...any) {
	l.log.Warn("origin: " + fmt.Sprintf(format, args...))
}
