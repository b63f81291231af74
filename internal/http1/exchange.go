package http1

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Exchange is one request and the response to it. It belongs to its connection and is used again for the next
// request, so nothing of it may be kept after the handler returns. Only the handler's goroutine may use it, but for
// Body, which one other goroutine may read while the handler answers, and must have left when the handler returns.
type Exchange struct {
	Request
	Body Body

	// Refusal says why the request must be refused, nil for a good one. The rest of the request is then what could be
	// read of it, and the connection closes after the answer.
	Refusal *Error

	Start  time.Time      // when the head was complete: the one time that decides about the request
	Remote netip.AddrPort // the peer's address

	conn     *conn
	response responseState

	abortMu sync.Mutex
	abort   Aborter // stops what the handler waits for; guarded by abortMu
	left    bool    // the client has gone, for good; guarded by abortMu
}

// Aborter is something a handler waits for that can be told to give up, such as a call to an upstream. Abort may be
// called from any goroutine, and more than once.
type Aborter interface{ Abort() }

// WhenGone says what to abort if the client goes away while the handler waits; nil when nothing is left to abort.
// If it is known to have gone already, a is aborted at once: it may have gone between two waits.
// After WhenGone(nil) has returned, Abort is not called any more. Departures are looked for in intervals of
// [GoneInterval], not while the client is still sending its body. A client that has only closed its sending half
// counts as gone, as it does for other gateways: the two can't be told apart.
func (x *Exchange) WhenGone(a Aborter) {
	x.abortMu.Lock()
	defer x.abortMu.Unlock()
	x.abort = a
	if x.left && a != nil {
		a.Abort()
	}
}

func (x *Exchange) gone() {
	x.abortMu.Lock()
	defer x.abortMu.Unlock()
	x.left = true
	if x.abort != nil {
		x.abort.Abort()
	}
}

// responseState is how far the response has come.
type responseState struct {
	status     int
	begun      bool  // the status line is written
	headDone   bool  // the head is complete: the body's turn
	finished   bool  // the response is complete
	aborted    bool  // the client must see that the response is incomplete
	noBody     bool  // the answer to HEAD, 204 or 304
	chunked    bool  // the body goes out in chunks
	close      bool  // the connection closes after the response
	shared     bool  // another goroutine reads the request's body
	left       int64 // bytes of the body that are still owed; -1 when its length is not declared
	written    int64 // bytes of body written
	writeError error // the first error of the connection
}

// Status is the status of the response, 0 before Begin.
func (x *Exchange) Status() int { return x.response.status }

// Written is the number of bytes of the response's body so far.
func (x *Exchange) Written() int64 { return x.response.written }

// Begun reports whether a response has been begun, so that no other can be sent.
func (x *Exchange) Begun() bool { return x.response.begun }

// CloseAfter closes the connection after the response. It must come before EndHead.
func (x *Exchange) CloseAfter() { x.response.close = true }

// Abort breaks the response off: the connection closes so that the client can tell that it is incomplete.
func (x *Exchange) Abort() { x.response.aborted, x.response.close = true, true }

// Begin writes the status line. An empty reason becomes the standard phrase.
func (x *Exchange) Begin(status int, reason []byte) {
	x.response.status, x.response.begun = status, true
	out := append(x.conn.out, "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(status), 10)
	out = append(out, ' ')
	if len(reason) > 0 {
		out = append(out, reason...)
	} else {
		out = append(out, http.StatusText(status)...)
	}
	x.conn.out = append(out, crlf...)
}

// Add writes one field of the response's head. The framing fields and Connection are EndHead's.
func (x *Exchange) Add(name, value []byte) { x.conn.out = AppendField(x.conn.out, name, value) }

// AddString is Add for strings.
func (x *Exchange) AddString(name, value string) { x.conn.out = AppendField(x.conn.out, name, value) }

// AddLines writes field lines that were made before, with [AppendField].
func (x *Exchange) AddLines(lines []byte) { x.conn.out = append(x.conn.out, lines...) }

// AddSeconds writes a field whose value is a number of seconds, 0 or more.
func (x *Exchange) AddSeconds(name string, d time.Duration) {
	out := append(append(x.conn.out, name...), ": "...)
	out = strconv.AppendInt(out, int64(d/time.Second), 10)
	x.conn.out = append(out, crlf...)
}

// AddDate writes the Date field, of the time when the request came.
func (x *Exchange) AddDate() {
	c := x.conn
	if sec := x.Start.Unix(); sec != c.dateOf {
		c.dateOf, c.date = sec, x.Start.UTC().AppendFormat(c.date[:0], TimeFormat)
	}
	x.Add(dateName, c.date)
}

var dateName = []byte("Date")

// AppendField appends a field line to a head that is being written.
func AppendField[N, V []byte | string](dst []byte, name N, value V) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, crlf...)
}

const crlf = "\r\n"

// EndHead completes the head with the fields that frame the body. length is the body's length in bytes; if it is
// negative the body goes out in chunks or, to an HTTP/1.0 client, ends with the connection. Of an answer that has no
// body (to HEAD, 304) it is the length that a GET would have had, negative for unknown.
func (x *Exchange) EndHead(length int64) {
	r := &x.response
	r.noBody = r.status == 204 || r.status == 304 || x.IsMethod("HEAD")
	switch {
	case r.status == 204:
		r.left = 0
	case length >= 0:
		x.conn.out = append(x.conn.out, "Content-Length: "...)
		x.conn.out = strconv.AppendInt(x.conn.out, length, 10)
		x.conn.out = append(x.conn.out, crlf...)
		r.left = length
	case r.noBody:
		r.left = 0
	case x.Minor == 1:
		x.AddString("Transfer-Encoding", "chunked")
		r.chunked, r.left = true, -1
	default:
		r.close, r.left = true, -1
	}
	r.close = r.close || !x.mayPersist()
	switch {
	case r.close:
		x.AddString("Connection", "close")
	case x.Minor == 0:
		x.AddString("Connection", "keep-alive")
	}
	x.conn.out = append(x.conn.out, crlf...)
	r.headDone = true
}

// maxDrain bounds, in bytes, how much of a body that nobody wanted is read to save the connection.
const maxDrain = 256 << 10

// mayPersist reports whether the connection can serve another request.
func (x *Exchange) mayPersist() bool {
	if x.Refusal != nil || !x.persistent() || x.conn.srv.draining.Load() {
		return false
	}
	switch {
	case x.response.shared:
		return false // the body is still being read by another goroutine
	case x.Body.done:
		return true
	case x.Body.begin != nil:
		return false // a client that was not told to continue may send the body or not
	}
	return x.Body.length == Chunked || x.Body.left <= maxDrain
}

// Write writes a piece of the body; it may stay in the buffer until Flush or Finish. p is not kept.
func (x *Exchange) Write(p []byte) (int, error) {
	r := &x.response
	if r.noBody || len(p) == 0 {
		return len(p), r.writeError
	}
	if r.left >= 0 {
		if int64(len(p)) > r.left {
			p = p[:r.left]
		}
		r.left -= int64(len(p))
	}
	r.written += int64(len(p))
	c := x.conn
	if r.chunked {
		c.out = AppendChunkSize(c.out, len(p))
	}
	if len(c.out)+len(p) <= outBuffer {
		c.out = append(c.out, p...)
		if r.chunked {
			c.out = append(c.out, crlf...)
		}
		return len(p), r.writeError
	}
	return len(p), x.writeThrough(p)
}

// writeThrough sends what is buffered and p in one system call, without copying p.
func (x *Exchange) writeThrough(p []byte) error {
	r, c := &x.response, x.conn
	if r.writeError != nil {
		c.out = c.out[:0]
		return r.writeError
	}
	c.vec = append(c.vec[:0], c.out, p)
	if r.chunked {
		c.vec = append(c.vec, crlfBytes)
	}
	bufs := &c.bufs
	*bufs = net.Buffers(c.vec)
	c.armWrite()
	_, r.writeError = bufs.WriteTo(c.nc)
	clear(c.vec)
	c.out = c.out[:0]
	return r.writeError
}

var crlfBytes = []byte(crlf)

// Flush sends what is buffered.
func (x *Exchange) Flush() error {
	r, c := &x.response, x.conn
	if len(c.out) > 0 && r.writeError == nil {
		c.armWrite()
		_, r.writeError = c.nc.Write(c.out)
	}
	c.out = c.out[:0]
	return r.writeError
}

// Finish completes the response, with the trailer fields if the body went out in chunks, and sends it. A body shorter
// than declared aborts the response.
func (x *Exchange) Finish(trailer []Field) error {
	r := &x.response
	if r.chunked {
		x.conn.out = AppendLastChunk(x.conn.out, trailer)
	}
	if r.left > 0 && !r.noBody {
		x.Abort()
	}
	r.finished = true
	return x.Flush()
}

// Respond sends a whole response with a body that is at hand.
func (x *Exchange) Respond(body []byte) error {
	x.EndHead(int64(len(body)))
	x.Write(body)
	return x.Finish(nil)
}

// Interim sends an interim response (103 Early Hints, for example) with those of the fields that may be passed on.
// An HTTP/1.0 client gets none.
func (x *Exchange) Interim(status int, reason []byte, fields []Field) error {
	if x.Minor == 0 {
		return nil
	}
	x.Begin(status, reason)
	x.response.begun, x.response.status = false, 0
	for i := range fields {
		if !fields[i].HopByHop() && fields[i].Kind != ContentLength {
			x.Add(fields[i].Name, fields[i].Value)
		}
	}
	x.conn.out = append(x.conn.out, crlf...)
	return x.Flush()
}

// SwitchProtocols completes the head of a 101 response and hands over the connection: what the client has sent behind
// its request already, and the connection itself, which the server closes when the handler returns. The request's body
// must have been read to its end, or have been received whole.
func (x *Exchange) SwitchProtocols() (net.Conn, []byte, error) {
	x.conn.out = append(x.conn.out, crlf...)
	x.response.headDone, x.response.finished, x.response.close = true, true, true
	if body, whole := x.Body.Whole(); whole {
		x.conn.in.consume(len(body))
	}
	err := x.Flush()
	x.conn.nc.SetDeadline(time.Time{})
	return x.conn.nc, x.conn.in.buffered(), err
}

// ShareBody lets one other goroutine read the body while the handler answers; it sends 100 Continue first if the
// client waits for it. UnshareBody must be called when that goroutine has left.
func (x *Exchange) ShareBody() {
	x.response.shared = true
	if begin := x.Body.begin; begin != nil {
		x.Body.begin = nil
		begin()
	}
}

// UnshareBody ends ShareBody.
func (x *Exchange) UnshareBody() { x.response.shared = false }

// StopBody makes a goroutine that waits in the body's Next return at once. The connection closes after the response.
func (x *Exchange) StopBody() {
	x.response.close = true
	x.conn.stopped.Store(true)
	x.conn.nc.SetReadDeadline(past)
}

// AppendChunkSize appends the line that begins a chunk of n bytes.
func AppendChunkSize(dst []byte, n int) []byte {
	return append(strconv.AppendInt(dst, int64(n), 16), crlf...)
}

// AppendLastChunk appends the end of a chunked body with those of the trailer fields that may be passed on.
func AppendLastChunk(dst []byte, trailer []Field) []byte {
	dst = append(dst, "0\r\n"...)
	for i := range trailer {
		if trailer[i].Kind == Other {
			dst = AppendField(dst, trailer[i].Name, trailer[i].Value)
		}
	}
	return append(dst, crlf...)
}
