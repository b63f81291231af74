package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
)

// conn is one connection to a target. It carries one call at a time.
type conn struct {
	pool   *Pool
	target *target
	nc     net.Conn
	stream http1.Stream
	out    []byte
	probe  *http1.Probe // tells whether an idle connection is good for another call
	turn   *turn        // sends a request and looks first; nil where that cannot be done
	due    []byte       // what the next Read sends by it first

	call      Call
	aborted   atomic.Bool
	ended     bool      // the target has ended the connection, as far as reading has shown
	idleSince time.Time // when the last call ended

	headMu   sync.Mutex    // orders the end of the request before, or after, the beginning of the response
	inBody   bool          // the response has begun: reads are its body's, and each renews the deadline; written under headMu
	deadline time.Time     // the read deadline in force within a body
	header   time.Duration // for the response's head, from the end of the request
	total    time.Time     // when the exchange must be over; zero: no bound
}

// dial opens a connection to t for a request.
func (p *Pool) dial(t *target, req *Request) (*conn, *Error) {
	by := time.Now().Add(p.cfg.Timeouts.Connect)
	if total := p.timeouts(req).Total; total > 0 && req.Start.Add(total).Before(by) {
		by = req.Start.Add(total)
	}
	ctx, cancel := context.WithDeadline(context.Background(), by)
	defer cancel()
	req.From.WhenGone(aborter(cancel))
	nc, err := p.connect(ctx, t)
	req.From.WhenGone(nil)
	if err != nil {
		kind := Connect
		if ctx.Err() == context.Canceled {
			kind = ClientGone
		}
		return nil, &Error{Kind: kind, Target: t.addr, Err: err}
	}
	c := &conn{pool: p, target: t, nc: nc, probe: http1.NewProbe(nc), turn: newTurn(nc)}
	c.call.conn = c
	c.stream.Reset(c)
	return c, nil
}

// aborter is a way out of a dial when the client leaves.
type aborter func()

func (a aborter) Abort() { a() }

func (p *Pool) connect(ctx context.Context, t *target) (net.Conn, error) {
	nc, err := p.dialer.DialContext(ctx, "tcp", t.addr)
	if err != nil || !t.tls {
		return nc, err
	}
	return handshake(ctx, nc, t.host)
}

func handshake(ctx context.Context, nc net.Conn, host string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	tc := tls.Client(nc, &tls.Config{ServerName: name, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12})
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return tc, nil
}

// Read reads from the target, having sent what is due; within a body, each read gets its own time.
func (c *conn) Read(p []byte) (n int, err error) {
	if c.inBody {
		c.renew(time.Now())
	}
	if c.due != nil {
		n, err = c.turn.take(c.due, p)
		c.due = nil
	} else {
		n, err = c.nc.Read(p)
	}
	c.noteEnd(err)
	if err == errStale {
		return 0, err
	}
	if err != nil && c.aborted.Load() {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// renew gives the next read of a body up to the idle timeout, a quarter more at most.
func (c *conn) renew(now time.Time) {
	idle := c.pool.cfg.Timeouts.Idle
	if c.deadline.Sub(now) >= idle {
		return
	}
	c.deadline = now.Add(idle + idle/4)
	c.setReadDeadline(c.deadline)
}

// setReadDeadline bounds reading, and setDeadline both reading and writing, within the end of the exchange as a whole. The zero
// time is no bound of its own.
//
// Abort sets the flag first and a deadline in the past after it; whoever replaces that deadline sees the flag.
func (c *conn) setReadDeadline(t time.Time) {
	c.nc.SetReadDeadline(c.withinTotal(t))
	c.stayAborted()
}

func (c *conn) setDeadline(t time.Time) {
	c.nc.SetDeadline(c.withinTotal(t))
	c.stayAborted()
}

func (c *conn) withinTotal(t time.Time) time.Time {
	if !c.total.IsZero() && (t.IsZero() || c.total.Before(t)) {
		return c.total
	}
	return t
}

func (c *conn) stayAborted() {
	if c.aborted.Load() {
		c.nc.SetDeadline(past)
	}
}

// requestSent starts the time for the response's head, unless the response has begun before the request was complete.
func (c *conn) requestSent() {
	c.headMu.Lock()
	defer c.headMu.Unlock()
	if !c.inBody {
		c.setReadDeadline(time.Now().Add(c.header))
	}
}

func (c *conn) responseBegun() {
	c.headMu.Lock()
	c.inBody = true
	c.headMu.Unlock()
}

var past = time.Unix(1, 0)

// Abort makes whoever waits for the target give up. It implements http1.Aborter.
func (c *conn) Abort() {
	c.aborted.Store(true)
	c.nc.SetDeadline(past)
}

// begin prepares the connection for a call that starts now.
func (c *conn) begin(now time.Time, t config.UpstreamTimeouts) {
	c.inBody, c.deadline, c.total, c.header = false, time.Time{}, time.Time{}, t.Header
	if t.Total > 0 {
		c.total = now.Add(t.Total)
	}
}

// fresh reports whether an idle connection can be used for another request, as far as must be known before it is sent.
// With a turn, a request that is sent in one piece finds out on its way.
func (c *conn) fresh(whole bool) bool {
	return c.stream.Idle() && (whole && c.turn != nil || c.probe.Quiet())
}

// errStale is what a request meets on a connection that was closed or spoken on while it was idle. Nothing was sent.
var errStale = errors.New("the kept connection was not quiet")
