package http1

import (
	"io"
	"sync"
)

const (
	headBuffer = 4 << 10  // a connection's own buffer: most heads fit
	bodyBuffer = 64 << 10 // borrowed while a body streams
)

var bodyBuffers = sync.Pool{New: func() any { b := make([]byte, bodyBuffer); return &b }}

// reader buffers what a connection delivers. A head is parsed in place, so its bytes are pinned until the message is
// over: a body that does not fit behind them is read into a borrowed buffer.
//
// The zero reader is not usable; reset gives it a source. Not safe for concurrent use.
type reader struct {
	src      io.Reader
	buf      []byte // the connection's own buffer, or *borrowed
	r, w     int    // buf[r:w] has been received and not consumed
	pinned   int    // buf[:pinned] must not move
	own      []byte // the connection's own buffer while a borrowed one is in use
	borrowed *[]byte
}

func (rd *reader) reset(src io.Reader) {
	rd.release()
	if rd.buf == nil {
		rd.buf = make([]byte, headBuffer)
	}
	rd.src, rd.r, rd.w = src, 0, 0
}

// buffered is what has been received and not consumed. It is valid until the next fill.
func (rd *reader) buffered() []byte { return rd.buf[rd.r:rd.w] }

// consume drops the first n buffered bytes.
func (rd *reader) consume(n int) { rd.r += n }

// pin keeps everything consumed so far where it is, until release.
func (rd *reader) pin() { rd.pinned = rd.r }

// release ends a message: its head may be overwritten, and a borrowed buffer goes back. Bytes of the next message
// that have been received already are kept.
func (rd *reader) release() {
	rd.pinned = 0
	if rd.borrowed == nil {
		return
	}
	rest := rd.buf[rd.r:rd.w]
	if len(rest) > len(rd.own) {
		rd.own = make([]byte, len(rest))
	}
	n := copy(rd.own, rest)
	rd.buf, rd.r, rd.w = rd.own, 0, n
	bodyBuffers.Put(rd.borrowed)
	rd.own, rd.borrowed = nil, nil
}

// fill reads once and adds at least one byte to what is buffered, moving or growing it up to max bytes in all.
// It returns errFull when max bytes are buffered already.
func (rd *reader) fill(max int) error {
	if rd.r == rd.w {
		rd.r, rd.w = rd.pinned, rd.pinned
	}
	if rd.w-rd.r >= max {
		return errFull
	}
	if len(rd.buf)-rd.w < headBuffer/8 {
		rd.makeRoom(max)
	}
	for range 16 { // io.Reader allows empty reads without an error
		n, err := rd.src.Read(rd.buf[rd.w:])
		rd.w += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// makeRoom makes space behind the buffered bytes without moving what is pinned.
func (rd *reader) makeRoom(max int) {
	switch {
	case rd.pinned > 0 && rd.borrowed == nil:
		rd.borrow()
	case rd.r > rd.pinned:
		n := copy(rd.buf[rd.pinned:], rd.buf[rd.r:rd.w])
		rd.r, rd.w = rd.pinned, rd.pinned+n
	case rd.borrowed == nil:
		grown := make([]byte, min(2*len(rd.buf), max+headBuffer))
		rd.w = copy(grown, rd.buf[rd.r:rd.w])
		rd.buf, rd.r = grown, 0
	}
}

// borrow moves the buffered bytes into a large buffer and leaves the pinned head where it is.
func (rd *reader) borrow() {
	b := bodyBuffers.Get().(*[]byte)
	n := copy(*b, rd.buf[rd.r:rd.w])
	rd.own, rd.borrowed = rd.buf, b
	rd.buf, rd.r, rd.w, rd.pinned = *b, 0, n, 0
}

// widen makes the next reads large, for a body of which n more bytes are known to come.
func (rd *reader) widen(n int64) {
	if rd.borrowed == nil && n > int64(len(rd.buf)-rd.pinned) && rd.r == rd.w {
		rd.borrow()
	}
}
