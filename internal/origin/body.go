package origin

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// The body of bytes=N repeats pattern. It is written a block at a time, or from any place in one.
const (
	pattern   = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+\n"
	blockSize = 64 << 10 // a multiple of the pattern
)

var block = bytes.Repeat([]byte(pattern), blockSize/len(pattern))

// filler is the body of bytes=N. It calls done once: before it hands out the last of its bytes, or when it is closed.
// Were it only at the close, a client that has the whole body could send its next request and find itself in flight
// twice.
type filler struct {
	at, size int64
	done     func()
}

func (f *filler) Read(p []byte) (int, error) {
	if f.at == f.size {
		f.Close()
		return 0, io.EOF
	}
	piece := f.next(len(p))
	return copy(p, piece), nil
}

// WriteTo spares the copy of Read; fasthttp takes it for bodies of known length.
func (f *filler) WriteTo(w io.Writer) (int64, error) {
	start := f.at
	for f.at < f.size {
		if _, err := w.Write(f.next(blockSize)); err != nil {
			return f.at - start, err
		}
	}
	return f.at - start, nil
}

// next takes up to n bytes off the body.
func (f *filler) next(n int) []byte {
	offset := int(f.at % int64(len(pattern)))
	n = int(min(int64(n), int64(blockSize-offset), f.size-f.at))
	if f.at += int64(n); f.at == f.size {
		f.Close()
	}
	return block[offset : offset+n]
}

func (f *filler) Close() error {
	if f.done != nil {
		f.done()
		f.done = nil
	}
	return nil
}

// events is the body of sse=N. fasthttp sends what each Read returns as a chunk of its own, at once.
// It calls done once: before it reports its end, or when it is closed.
type events struct {
	n, total int64
	interval time.Duration
	pause    func(time.Duration) bool // false: the server is closing
	pending  []byte                   // of the event being read
	done     func()
}

func (e *events) Read(p []byte) (int, error) {
	if len(e.pending) == 0 {
		if e.n == e.total {
			e.Close()
			return 0, io.EOF
		}
		if e.n > 0 && !e.pause(e.interval) {
			return 0, io.ErrUnexpectedEOF
		}
		e.n++
		e.pending = fmt.Appendf(e.pending[:0], "id: %d\ndata: {\"event\":%d,\"of\":%d}\n\n", e.n, e.n, e.total)
	}
	n := copy(p, e.pending)
	e.pending = e.pending[n:]
	return n, nil
}

func (e *events) Close() error {
	if e.done != nil {
		e.done()
		e.done = nil
	}
	return nil
}
