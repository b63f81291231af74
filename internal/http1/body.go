package http1

import (
	"bytes"
	"io"
)

const (
	maxChunkLine = 256     // a chunk's size and its extensions, in bytes
	maxTrailer   = 4 << 10 // a trailer section, in bytes
)

// Body hands out a message's body piece by piece, straight from the connection's buffer. It is never held whole.
// The zero Body is empty. Not safe for concurrent use.
type Body struct {
	rd      *reader
	length  int64 // as in Head.Length
	left    int64 // of the body, or of the chunk being read
	read    int64
	inChunk bool // a chunk's data or its CRLF is next
	done    bool
	err     error
	trailer Head

	begin func() // called once before the first read that may wait, to send 100 Continue
}

func (b *Body) reset(rd *reader, length int64) {
	*b = Body{rd: rd, length: length, left: max(length, 0), done: length == 0, trailer: Head{Fields: b.trailer.Fields[:0]}}
}

// NewBody is a body that is at hand. p must not change while it is in use.
func NewBody(p []byte) *Body {
	return &Body{rd: &reader{buf: p, w: len(p)}, length: int64(len(p)), left: int64(len(p)), done: len(p) == 0}
}

// NewBodyFrom is a body of n bytes that src delivers. A src that ends before that is io.ErrUnexpectedEOF.
func NewBodyFrom(src io.Reader, n int64) *Body {
	b := new(Body)
	rd := new(reader)
	rd.reset(src)
	b.reset(rd, n)
	return b
}

// Length is the body's length in bytes, Chunked or UntilClose.
func (b *Body) Length() int64 { return b.length }

// Received is the number of bytes that Next has handed out.
func (b *Body) Received() int64 { return b.read }

// Done reports whether the body has been read to its end.
func (b *Body) Done() bool { return b.done }

// Trailer is the trailer section's fields, known once Next has returned io.EOF.
func (b *Body) Trailer() []Field { return b.trailer.Fields }

// Ready reports whether Next will return without waiting for the connection. Whoever passes a body on asks it before
// Next, and sends on what it holds back if the answer is no.
func (b *Body) Ready() bool {
	if b.done || b.err != nil {
		return true
	}
	p := b.rd.buffered()
	if b.length != Chunked || b.left > 0 {
		return len(p) > 0
	}
	if b.inChunk { // the CRLF behind the last chunk's data
		if len(p) < 2 {
			return false
		}
		p = p[2:]
	}
	i := bytes.IndexByte(p, '\n')
	if i < 0 || i == len(p)-1 {
		return false
	}
	if p[0] != '0' {
		return true
	}
	end, err := trailerEnd(p[i+1:]) // of a size like 05 it says no too often, which costs a flush
	return end > 0 || err != nil
}

// Whole returns the entire body when it has been received already, without consuming it. A body that has been consumed is
// not whole any more: whoever repeats its request has nothing to send.
func (b *Body) Whole() ([]byte, bool) {
	if b.length == 0 {
		return nil, true
	}
	if b.done || b.length < 0 || b.read > 0 || int64(b.rd.w-b.rd.r) < b.left {
		return nil, false
	}
	return b.rd.buffered()[:b.left], true
}

// Next returns the next piece of the body as soon as there is one. The piece is valid until the next call. At the end
// it returns io.EOF. A connection that ends too early gives io.ErrUnexpectedEOF, broken chunks an *Error, and both
// again on every later call.
func (b *Body) Next() ([]byte, error) {
	if b.err == nil && b.done {
		return nil, io.EOF
	}
	if b.err == nil {
		p, err := b.next()
		if err == nil {
			b.read += int64(len(p))
			return p, nil
		}
		if err == io.EOF && b.done {
			return nil, io.EOF
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		b.err = err
	}
	return nil, b.err
}

func (b *Body) next() ([]byte, error) {
	switch b.length {
	case Chunked:
		return b.nextChunked()
	case UntilClose:
		p, err := b.take(1 << 62)
		if err == io.EOF {
			b.done = true
		}
		return p, err
	}
	b.rd.widen(b.left)
	p, err := b.take(b.left)
	b.left -= int64(len(p))
	b.done = b.left == 0
	return p, err
}

// take consumes up to n buffered bytes, reading once if there are none.
func (b *Body) take(n int64) ([]byte, error) {
	if b.rd.r == b.rd.w {
		if err := b.fill(1); err != nil {
			return nil, err
		}
	}
	p := b.rd.buffered()
	if int64(len(p)) > n {
		p = p[:n]
	}
	b.rd.consume(len(p))
	return p, nil
}

// fill waits for more bytes, with at most max buffered.
func (b *Body) fill(max int) error {
	if b.begin != nil {
		b.begin()
		b.begin = nil
	}
	return b.rd.fill(max)
}

// nextChunked reads through chunk framing, RFC 9112 section 7.1.
func (b *Body) nextChunked() ([]byte, error) {
	if b.left == 0 {
		if b.inChunk {
			if err := b.chunkEnd(); err != nil {
				return nil, err
			}
		}
		size, err := b.chunkSize()
		if err != nil {
			return nil, err
		}
		if size == 0 {
			return nil, b.readTrailer()
		}
		b.left, b.inChunk = size, true
		b.rd.widen(size)
	}
	p, err := b.take(b.left)
	b.left -= int64(len(p))
	return p, err
}

// chunkEnd consumes the CRLF behind a chunk's data.
func (b *Body) chunkEnd() error {
	for b.rd.w-b.rd.r < 2 {
		if b.rd.w > b.rd.r && b.rd.buf[b.rd.r] != '\r' {
			return errChunkEnd
		}
		if err := b.fill(2); err != nil {
			return err
		}
	}
	if p := b.rd.buffered(); p[0] != '\r' || p[1] != '\n' {
		return errChunkEnd
	}
	b.rd.consume(2)
	b.inChunk = false
	return nil
}

// chunkSize consumes the line that begins a chunk. Extensions are checked and dropped: they are for one hop.
func (b *Body) chunkSize() (int64, error) {
	for {
		p := b.rd.buffered()
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			if i > maxChunkLine || i == 0 || p[i-1] != '\r' {
				return 0, errChunkSize
			}
			size, ok := parseChunkLine(p[:i-1])
			if !ok {
				return 0, errChunkSize
			}
			b.rd.consume(i + 1)
			return size, nil
		}
		if len(p) > 0 && !plausibleChunkLine(p) {
			return 0, errChunkSize
		}
		if err := b.fill(maxChunkLine); err != nil {
			if err == errFull {
				err = errChunkSize
			}
			return 0, err
		}
	}
}

// plausibleChunkLine refuses, before its end has come, a line that cannot become a chunk size.
func plausibleChunkLine(p []byte) bool { return HexDigit(p[0]) >= 0 }

func parseChunkLine(line []byte) (int64, bool) {
	digits := 0
	var n int64
	for digits < len(line) {
		d := HexDigit(line[digits])
		if d < 0 {
			break
		}
		n = n<<4 | int64(d)
		digits++
	}
	if digits == 0 || digits > 15 { // 15 digits: below 2^60
		return 0, false
	}
	ext := line[digits:]
	return n, len(ext) == 0 || ext[0] == ';' && all(ext, isValue)
}

// HexDigit is the value of a hexadecimal digit, -1 for any other byte.
func HexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// readTrailer consumes the trailer section, which an empty line ends, and returns io.EOF.
func (b *Body) readTrailer() error {
	for {
		p := b.rd.buffered()
		end, err := trailerEnd(p)
		if err != nil {
			return err
		}
		if end > 0 {
			if end == len("\r\n") { // no fields, as nearly always
				b.rd.consume(end)
				b.done = true
				return io.EOF
			}
			// The fields must outlive what is read next, so they get bytes of their own.
			if bad := b.trailer.parseFields(bytes.Clone(p[:end])); bad != nil {
				return bad
			}
			b.rd.consume(end)
			b.done = true
			return io.EOF
		}
		if err := b.fill(maxTrailer); err != nil {
			if err == errFull {
				err = errTrailer
			}
			return err
		}
	}
}

// trailerEnd is the index behind the empty line that ends a trailer section, 0 if it has not come.
func trailerEnd(p []byte) (int, error) {
	if len(p) >= 2 && p[0] == '\r' && p[1] == '\n' {
		return 2, nil
	}
	if len(p) > 0 && p[0] == '\n' {
		return 0, errBareLF
	}
	end, _, err := headEnd(p, 0)
	if err != nil {
		return 0, err
	}
	return end, nil
}
