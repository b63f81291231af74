package upstream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// Call is a request under way whose response has begun. It belongs to one goroutine. Close must be called when the
// response has been passed on, or has been given up.
type Call struct {
	conn   *conn
	req    *Request
	sender *sender // nil when the request's body was sent with its head
}

// Target is the host:port that answers.
func (c *Call) Target() string { return c.conn.target.addr }

// Response is the response's head.
func (c *Call) Response() *http1.Response { return &c.conn.stream.Response }

// Body is the response's body.
func (c *Call) Body() *http1.Body { return &c.conn.stream.Body }

// Tunnel returns the connection to the target after it has switched protocols, and what it has sent already. The
// connection has no deadline, and Close closes it.
func (c *Call) Tunnel() (net.Conn, []byte) {
	c.req.From.WhenGone(nil)
	c.conn.nc.SetDeadline(time.Time{})
	return c.conn.nc, c.conn.stream.Buffered()
}

// NextInterim reads on after an interim response, to the next response's head.
func (c *Call) NextInterim() *Error {
	err := c.conn.awaitHead(c.req, c.sender)
	if err == nil {
		return nil
	}
	failure := c.conn.explain(c.req, err, c.sender)
	failure.Sent = true
	c.conn.pool.note(c.conn.target, failure)
	return failure
}

// Close ends the call. The connection is kept for another if this one was complete in both directions.
func (c *Call) Close() {
	conn, req, sender := c.conn, c.req, c.sender
	req.From.WhenGone(nil)
	c.req, c.sender = nil, nil
	sent := true
	if sender != nil {
		sent = sender.stop(conn, req)
	}
	conn.target.inFlight.Add(-1)
	if upgraded := conn.stream.Response.Upgraded(); !conn.stream.Release() || !sent || upgraded || conn.aborted.Load() {
		conn.part(req)
		return
	}
	conn.idleSince = time.Now()
	conn.pool.keep(conn)
}

// sender passes a request's body on while the response is awaited.
type sender struct {
	done   chan struct{} // closed when run has returned
	err    error         // what stopped it, nil when the whole body was sent; read after done
	ending atomic.Bool   // only the last write is left
}

func startSender(c *conn, req *Request, maxBody int64) *sender {
	s := &sender{done: make(chan struct{})}
	req.From.ShareBody()
	go func() {
		defer close(s.done)
		s.err = s.run(c, req.Body, maxBody)
		var failed *bodyError
		if errors.As(s.err, &failed) {
			c.Abort() // the upstream must not take what it got for a whole request
			return
		}
		c.requestSent()
	}()
	return s
}

// bodyError is a client's body that could not be read to its end.
type bodyError struct {
	kind Kind
	err  error
}

func (e *bodyError) Error() string { return e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

var errTooLarge = errors.New("the body is longer than allowed")

// run copies the body to the target, framed as the head says.
func (s *sender) run(c *conn, body *http1.Body, maxBody int64) error {
	chunked := body.Length() == http1.Chunked
	w := chunkWriter{c: c, chunked: chunked}
	for {
		p, err := body.Next()
		if err == io.EOF {
			if chunked {
				s.ending.Store(true)
				return w.end(body.Trailer())
			}
			return nil
		}
		if err != nil {
			return &bodyError{ClientBody, err}
		}
		if maxBody > 0 && body.Received() > maxBody {
			return &bodyError{BodyTooLarge, errTooLarge}
		}
		if body.Done() {
			s.ending.Store(true)
		}
		if err := w.write(p); err != nil {
			return err
		}
	}
}

// lastWriteTime bounds the wait for a sender that has all but left.
const lastWriteTime = 100 * time.Millisecond

// left reports whether the sender has left. A target can answer before the write that completed its request has
// returned here; that write is awaited, so that the connections on both sides can be used again.
func (s *sender) left() bool {
	select {
	case <-s.done:
		return true
	default:
	}
	if !s.ending.Load() {
		return false
	}
	select {
	case <-s.done:
		return true
	case <-time.After(lastWriteTime):
		return false
	}
}

// stop ends the sender and reports whether the whole request was sent. If it was not, c is of no use any more.
func (s *sender) stop(c *conn, req *Request) bool {
	if !s.left() {
		c.Abort()           // it waits for the target to read on, perhaps,
		req.From.StopBody() // or for the client to send more
		<-s.done
	}
	req.From.UnshareBody()
	return s.err == nil
}

// join tells the exchange as soon as the sender has left, so that its connection can be used again.
func (s *sender) join(req *Request) {
	if s.left() {
		req.From.UnshareBody()
	}
}

// chunkWriter writes a body to a target. Each write gets its own time.
type chunkWriter struct {
	c       *conn
	chunked bool
	out     []byte
	bufs    net.Buffers
	vec     [3][]byte
}

func (w *chunkWriter) write(p []byte) error {
	if err := w.arm(); err != nil {
		return err
	}
	if !w.chunked {
		_, err := w.c.nc.Write(p)
		return err
	}
	w.out = http1.AppendChunkSize(w.out[:0], len(p))
	w.vec = [3][]byte{w.out, p, {'\r', '\n'}}
	w.bufs = w.vec[:]
	_, err := w.bufs.WriteTo(w.c.nc)
	return err
}

// arm gives the next write its time. Abort sets the flag first and the deadline after it, so one of the two is seen.
func (w *chunkWriter) arm() error {
	w.c.nc.SetWriteDeadline(time.Now().Add(w.c.pool.cfg.Timeouts.Idle))
	if w.c.aborted.Load() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (w *chunkWriter) end(trailer []http1.Field) error {
	if err := w.arm(); err != nil {
		return err
	}
	_, err := w.c.nc.Write(http1.AppendLastChunk(w.out[:0], trailer))
	return err
}
