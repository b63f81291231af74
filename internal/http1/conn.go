package http1

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

const (
	outBuffer   = 8 << 10 // responses up to this size are sent in one write
	lingerTime  = time.Second
	lingerBytes = 1 << 20                // until a pause
	lingerPause = 100 * time.Millisecond // in which a peer that only sends comes to a stop
)

// conn is one client's connection and the one exchange on it.
type conn struct {
	srv  *Server
	nc   net.Conn
	in   reader
	out  []byte
	vec  [][]byte
	bufs net.Buffers
	x    Exchange

	state     atomic.Int32 // busy, waiting, waking or woken
	busySince atomic.Int64 // UnixNano of the request being worked on, 0 when there is none
	stopped   atomic.Bool  // StopBody was called

	limits        *Limits   // for the exchange under way
	idleDeadline  time.Time // the read deadline that armIdle has set; zero when another one is in force
	writeDeadline time.Time // the write deadline in force
	inBody        bool      // reads are the body's: each renews the deadline
	called        bool      // the last call for a request has been given
	served        int       // requests so far

	date   []byte // what AddDate writes
	dateOf int64  // the Unix second that it tells
}

// What a connection's goroutine is doing, as far as Shutdown must know.
const (
	busy    = iota // works on a request
	waiting        // for a request; Shutdown may wake it
	waking         // Shutdown is about to set the deadline that wakes it
	woken          // that deadline is set, and Shutdown will not touch the connection's deadlines again
)

var headBuffers = sync.Pool{New: func() any { b := make([]byte, headBuffer); return &b }}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, nc: nc}
	c.in.buf = *headBuffers.Get().(*[]byte)
	c.in.reset(connReader{c})
	c.x.conn = c
	c.x.Remote = addrPort(nc.RemoteAddr())
	c.limits = s.limits.Load()
	return c
}

// recycle gives the connection's buffers back. Others may still hold c (the watch, Shutdown), but they only use its
// atomics, its net.Conn and the exchange's own lock. Where a panic has left a goroutine behind that reads the body, they
// are left to the garbage collector: that goroutine must not see another client's bytes.
func (c *conn) recycle() {
	if c.x.response.shared {
		return
	}
	c.in.release()
	if len(c.in.buf) == headBuffer {
		buf := c.in.buf
		c.in.buf = nil
		headBuffers.Put(&buf)
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// connReader reads from the connection and, within a body, gives each read its own time.
type connReader struct{ c *conn }

func (r connReader) Read(p []byte) (int, error) {
	c := r.c
	if c.inBody {
		c.idleDeadline = time.Time{}
		c.nc.SetReadDeadline(time.Now().Add(c.limits.BodyTimeout))
		// StopBody sets the flag first and the deadline after it. If this read has just replaced that deadline, it
		// sees the flag.
		if c.stopped.Load() {
			return 0, os.ErrDeadlineExceeded
		}
	}
	return c.nc.Read(p)
}

// serve handles the connection's requests until it closes.
func (c *conn) serve() {
	defer c.recoverPanic()
	for c.next() {
		c.srv.handler(&c.x)
		if !c.end() {
			return
		}
	}
}

// recoverPanic closes the connection of a handler that panicked. The handler is asked once more, with a Refusal of status 500, so
// that it answers, if nothing was sent yet, and can count and log the request as it does every other. What it answers to a request
// whose response had begun goes nowhere: that client sees its connection reset.
func (c *conn) recoverPanic() {
	v := recover()
	if v == nil {
		return
	}
	x := &c.x
	c.busySince.Store(0)
	c.srv.panics.Add(1)
	c.logPanic(v, debug.Stack())
	x.WhenGone(nil)
	c.out = c.out[:0]
	defer func() { recover() }() // the handler may be beyond answering
	if x.response.begun || x.response.shared {
		c.reset()
		// The body is left alone: where it is shared, another goroutine may still be reading it.
		x.response = responseState{shared: x.response.shared, writeError: errPanicked}
		x.Refusal = errPanicked
		c.srv.handler(x)
		return
	}
	c.refuse(errPanicked)
	c.srv.handler(x)
	c.end()
}

var errPanicked = &Error{Status: 500, Reason: "the gateway met a defect of its own"}

// logPanic says which request met the defect. Its id is what the client has sent; a handler may have given it another.
func (c *conn) logPanic(v any, stack []byte) {
	x := &c.x
	id := ""
	for i := range x.Fields {
		if x.Fields[i].Kind == XRequestID && IsVisible(x.Fields[i].Value) {
			id = string(x.Fields[i].Value)
			break
		}
	}
	c.srv.log.Error("a handler panicked", "panic", v, "request_id", id, "address", x.Remote.Addr().String(), "method", string(x.Method),
		"path", string(x.Path), "response_begun", x.response.begun, "stack", string(stack))
}

// next waits for a request. It reports false when the connection is to be closed. A request that must be refused is
// handed on too, with Refusal set.
func (c *conn) next() bool {
	x := &c.x
	c.in.release()
	c.limits = c.srv.limits.Load()
	x.response = responseState{}
	x.Refusal = nil
	err := c.readHead()
	x.Start = time.Now()
	if err == nil {
		c.begin()
		return true
	}
	var refusal *Error
	if !errors.As(err, &refusal) {
		return false // the client has gone, or sent nothing in time
	}
	c.refuse(refusal)
	return true
}

// begin starts the exchange whose head has been read.
func (c *conn) begin() {
	x := &c.x
	c.served++
	c.in.pin()
	x.Body.reset(&c.in, x.Length)
	if !x.Body.done {
		c.inBody = true
		if x.expectContinue && !x.Body.Ready() {
			x.Body.begin = c.sendContinue
		}
	}
	c.busySince.Store(x.Start.UnixNano())
}

// refuse makes the exchange one that the handler can only answer with an error.
func (c *conn) refuse(err *Error) {
	x := &c.x
	x.Refusal = err
	x.Body.reset(&c.in, 0)
}

func (c *conn) sendContinue() {
	c.armWrite()
	io.WriteString(c.nc, "HTTP/1.1 100 Continue\r\n\r\n")
}

// readHead reads and parses one request head.
func (c *conn) readHead() error {
	c.state.Store(waiting)
	defer c.stopWaiting()
	c.x.Minor = 1 // until the request line says otherwise
	c.x.Method, c.x.Target, c.x.Path, c.x.Query, c.x.Host, c.x.Fields = nil, nil, nil, nil, nil, c.x.Fields[:0]
	seen, blank := 0, 0
	c.armIdle()
	for started := false; ; {
		buf := c.in.buffered()
		if seen == 0 && blank < 2 && len(buf) >= 2 && buf[0] == '\r' && buf[1] == '\n' {
			c.in.consume(2) // RFC 9112 section 2.2: an empty line before the request line is ignored
			blank++
			continue
		}
		end, n, bad := headEnd(buf, seen)
		switch {
		case bad != nil:
			return bad
		case end > c.limits.MaxHeader:
			return errHeaderTooLarge
		case end > 0:
			return c.parse(buf[:end])
		case n == 0 && len(buf) > c.limits.MaxURI+64:
			return errURITooLong
		}
		seen = n
		if len(buf) > 0 && !started {
			started = true
			c.armHead(c.limits.HeaderTimeout)
		}
		if err := c.fillHead(len(buf) > 0); err != nil {
			return err
		}
	}
}

func (c *conn) parse(head []byte) error {
	err := c.x.Request.parse(head, c.limits.MaxURI)
	c.in.consume(len(head))
	if err != nil {
		return err
	}
	return nil
}

// fillHead reads more of a head, of which something is there already if partial is set.
func (c *conn) fillHead(partial bool) error {
	err := c.in.fill(c.limits.MaxHeader)
	switch {
	case err == errFull:
		return errHeaderTooLarge
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case c.wasWoken():
		return c.lastCall(partial, err)
	case partial:
		return errHeadTimeout
	}
	return err
}

// lastCall is what happens when Shutdown has woken a connection that waits for a request. One whose request is on its
// way is served: closing now would reset a client that has done nothing wrong.
func (c *conn) lastCall(partial bool, err error) error {
	switch {
	case partial || c.bytesWaiting():
		c.armHead(c.limits.HeaderTimeout)
	case c.served == 0: // it has just connected, surely in order to ask something
		c.armHead(lastCallTime)
	default:
		return err
	}
	return c.fillHead(partial)
}

const lastCallTime = 250 * time.Millisecond

var errHeadTimeout = &Error{Status: 408, Reason: "the request head did not arrive in time"}

// end finishes the exchange. It reports whether the connection can carry another.
func (c *conn) end() bool {
	x := &c.x
	c.busySince.Store(0)
	defer func() { c.inBody = false }()
	r := &x.response
	if r.aborted || r.writeError != nil {
		c.reset()
		return false
	}
	if !r.finished {
		if r.begun {
			c.reset()
		}
		return false
	}
	if r.close {
		c.linger()
		return false
	}
	return c.drainBody()
}

// drainBody reads what the handler left of the request's body, if it is short.
func (c *conn) drainBody() bool {
	for budget := int64(maxDrain); !c.x.Body.done; {
		p, err := c.x.Body.Next()
		if err == io.EOF {
			break
		}
		budget -= int64(len(p))
		if err != nil || budget < 0 {
			c.linger()
			return false
		}
	}
	return true
}

// reset closes the connection so that the client cannot take what it got for a complete response: where the body ends
// with the connection, only a reset tells the difference.
func (c *conn) reset() {
	if t, ok := c.nc.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.nc.Close()
}

// linger closes the connection in two steps. Closing a socket with unread bytes makes the kernel send a reset, which
// can destroy the response on its way: so the sending half is closed first, and what still comes is read and dropped
// for a moment. That is done with pauses: a peer that sends for as long as it can, before it looks for a response, as
// nginx does, would otherwise not look before the connection is closed.
func (c *conn) linger() {
	if c.x.Refusal == nil && c.x.Body.done && c.in.r == c.in.w {
		return // nothing more was announced
	}
	t, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || t.CloseWrite() != nil {
		return
	}
	c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	sink := bodyBuffers.Get().(*[]byte)
	defer bodyBuffers.Put(sink)
	for budget := lingerBytes; ; {
		n, err := c.nc.Read(*sink)
		if err != nil {
			return
		}
		if budget -= n; budget <= 0 {
			time.Sleep(lingerPause)
			budget = lingerBytes
		}
	}
}

// abortIfGone aborts the handler's work if the client has left.
func (c *conn) abortIfGone() {
	if NewProbe(c.nc).Gone() {
		c.x.gone()
	}
}

func (c *conn) bytesWaiting() bool { return NewProbe(c.nc).Sent() }

// wakeIfIdle ends the wait for another request.
//
// The order matters: readHead declares itself waiting, sets its deadline, and then looks at draining; Shutdown sets
// draining, and then the deadline of those that wait. Whoever comes second sees the other. A connection is woken once
// for each wait, and does not go on while it is being woken: a deadline in the past that came late would cut off the
// request that is arriving.
func (c *conn) wakeIfIdle() {
	if c.state.CompareAndSwap(waiting, waking) {
		c.nc.SetReadDeadline(past)
		c.state.Store(woken)
	}
}

var past = time.Unix(1, 0)

// wasWoken reports, once for each wait, whether the deadline that has passed was Shutdown's.
func (c *conn) wasWoken() bool {
	if c.called || c.state.Load() < waking {
		return false
	}
	for c.state.Load() == waking {
		runtime.Gosched()
	}
	c.called = true
	return true
}

// stopWaiting makes the deadlines the connection's own again.
func (c *conn) stopWaiting() {
	for !c.state.CompareAndSwap(waiting, busy) {
		if c.state.CompareAndSwap(woken, busy) {
			c.idleDeadline = time.Time{} // it is not in force any more
			return
		}
		runtime.Gosched()
	}
}

// cut ends the connection whatever it is doing.
func (c *conn) cut() {
	c.x.gone()
	c.nc.Close()
}

// armIdle bounds the wait for the next request's first byte.
func (c *conn) armIdle() {
	c.called = false
	wait := c.limits.IdleTimeout
	if c.served == 0 {
		wait = c.limits.HeaderTimeout
	}
	if now := time.Now(); c.idleDeadline.Sub(now) < wait {
		c.idleDeadline = now.Add(wait + wait/4)
		c.nc.SetReadDeadline(c.idleDeadline)
	}
	if c.srv.draining.Load() {
		c.wakeIfIdle()
		c.nc.SetReadDeadline(past) // if Shutdown was faster, its deadline has just been replaced
	}
}

// armHead bounds the wait for the rest of a head.
func (c *conn) armHead(wait time.Duration) {
	c.idleDeadline = time.Time{}
	c.nc.SetReadDeadline(time.Now().Add(wait))
}

// armWrite bounds the wait for the client to take what is written next.
func (c *conn) armWrite() {
	wait := c.limits.WriteTimeout
	if now := time.Now(); c.writeDeadline.Sub(now) < wait {
		c.writeDeadline = now.Add(wait + wait/4)
		c.nc.SetWriteDeadline(c.writeDeadline)
	}
}
