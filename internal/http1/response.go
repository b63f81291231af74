package http1

import (
	"bytes"
	"io"
)

// Response is the head of a response. Its slices point into the connection's buffer and are valid until its body has
// been read and its connection is used again. Not safe for concurrent use.
type Response struct {
	Head
	Status int
	Reason []byte // the phrase behind the status, "" without one
}

// Clone returns a copy that shares nothing with the connection's buffer.
func (r *Response) Clone() *Response {
	c := *r
	c.Reason, c.Fields = bytes.Clone(r.Reason), r.CloneFields()
	return &c
}

// Upgraded reports whether the upstream has changed the protocol: what follows is no HTTP.
func (r *Response) Upgraded() bool { return r.Status == 101 }

// parse reads a whole response head. For the answer to a HEAD request, noBody is set.
func (r *Response) parse(head []byte, noBody bool) *Error {
	line, rest := cutLine(head)
	if err := r.parseLine(line); err != nil {
		return err
	}
	if err := r.parseFields(rest); err != nil {
		return err
	}
	if err := r.frame(); err != nil {
		return err
	}
	switch { // RFC 9112 section 6.3
	case noBody || r.Status < 200 || r.Status == 204 || r.Status == 304:
		r.Length = 0
	case !r.coding && r.Declared < 0:
		r.Length = UntilClose
	}
	return nil
}

func (r *Response) parseLine(line []byte) *Error {
	const prefix = len("HTTP/1.x 200")
	if len(line) < prefix || line[8] != ' ' {
		return errStatusLine
	}
	switch string(line[:8]) {
	case "HTTP/1.1":
		r.Minor = 1
	case "HTTP/1.0":
		r.Minor = 0
	default:
		return errStatusLine
	}
	r.Status = 0
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return errStatusLine
		}
		r.Status = r.Status*10 + int(c-'0')
	}
	r.Reason = line[prefix:]
	if len(r.Reason) > 0 && r.Reason[0] == ' ' {
		r.Reason = r.Reason[1:]
	} else if len(r.Reason) > 0 {
		return errStatusLine
	}
	if r.Status < 100 || !all(r.Reason, isValue) {
		return errStatusLine
	}
	return nil
}

// Stream is the reading side of a connection to an upstream: response after response. Reset gives it a connection.
// Not safe for concurrent use.
type Stream struct {
	rd       reader
	Response Response
	Body     Body
	reusable bool
}

// Reset makes s read from src, forgetting what it has buffered.
func (s *Stream) Reset(src io.Reader) { s.rd.reset(src) }

// Idle reports whether nothing has been received that no request asked for.
func (s *Stream) Idle() bool { return s.rd.r == s.rd.w }

// Buffered is what has been received behind the last message: after 101, the first bytes of the new protocol.
func (s *Stream) Buffered() []byte { return s.rd.buffered() }

// Next reads the next response's head, of at most maxHead bytes. noBody says that it answers a HEAD request. The
// Response and the Body are valid until the next call of Next or Release. An interim response (1xx) is returned like
// any other; the caller calls Next again. It returns io.EOF when the connection ended before the first byte,
// io.ErrUnexpectedEOF when it ended within the head, and an *Error for a head that is malformed or too large.
func (s *Stream) Next(maxHead int, noBody bool) error {
	s.rd.release()
	s.reusable = false
	seen := 0
	for {
		buf := s.rd.buffered()
		end, n, bad := headEnd(buf, seen)
		if bad != nil {
			return bad
		}
		if end > 0 {
			if bad := s.Response.parse(buf[:end], noBody); bad != nil {
				return bad
			}
			s.begin(end)
			return nil
		}
		seen = n
		if err := s.rd.fill(maxHead); err != nil {
			if err == io.EOF && len(buf) > 0 {
				err = io.ErrUnexpectedEOF
			}
			if err == errFull {
				err = errHeaderTooLarge
			}
			return err
		}
	}
}

func (s *Stream) begin(headLen int) {
	s.rd.consume(headLen)
	s.rd.pin()
	s.Body.reset(&s.rd, s.Response.Length)
	// Behind an interim response, another is due.
	s.reusable = s.Response.persistent() && s.Response.Length != UntilClose && s.Response.Status >= 200
}

// Release ends the response and reports whether the connection can carry another: the response allowed it, and its
// body was read to its end.
func (s *Stream) Release() bool {
	s.rd.release()
	return s.reusable && s.Body.done && s.Idle()
}
