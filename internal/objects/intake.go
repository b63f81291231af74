package objects

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
)

// An intake is the content of a Put on its way into the store. It hashes and counts, and hands out the last bytes only when it is certain that they
// are the last: a store that was given a wrong size never holds all that it was promised, so it keeps nothing.
//
// Reads are for one goroutine at a time. The lock is for stop: an HTTP transport may go on reading a body after it has returned.
type intake struct {
	ctx       context.Context
	size, max int64 // -1 if not known, or not bounded

	mu   sync.Mutex // guards what follows
	src  io.Reader
	sum  hash.Hash
	n    int64 // bytes read
	done bool  // all was read, and is as was announced
	err  error // what Read returns from now on, once it isn't nil
	over bool  // stop was called
}

// newIntake refuses what can be known to be wrong before anything is read.
func newIntake(ctx context.Context, r io.Reader, size, max int64) (*intake, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if max >= 0 && size > max {
		return nil, fmt.Errorf("%w: %d bytes are announced, and %d allowed", ErrTooLarge, size, max)
	}
	in := &intake{ctx: ctx, size: size, max: max, src: r, sum: sha256.New()}
	if size == 0 { // nobody would read
		in.finish()
		return in, in.failure()
	}
	return in, nil
}

// Read implements [io.Reader].
func (in *intake) Read(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil {
		return 0, in.err
	}
	if in.over {
		return 0, errors.New("the content is no longer wanted")
	}
	if len(p) == 0 {
		return 0, nil
	}
	if in.size >= 0 {
		p = p[:min(int64(len(p)), in.size-in.n)] // more than nothing: at the size the end has been seen
	}
	n, ended, err := in.read(p)
	if err != nil {
		in.err = err
		return 0, err
	}
	in.n += int64(n)
	switch {
	case in.max >= 0 && in.n > in.max:
		in.err = fmt.Errorf("%w: more than %d bytes", ErrTooLarge, in.max)
	case ended && in.size >= 0 && in.n < in.size:
		in.err = fmt.Errorf("%w: it ends after %d bytes of %d", ErrSize, in.n, in.size)
	case ended:
		in.done, in.err = true, io.EOF
	case in.n == in.size:
		in.finish()
	}
	if in.err != nil && !in.done {
		return 0, in.err
	}
	in.sum.Write(p[:n])
	return n, nil // the end is said by the next Read, with nothing
}

// maxEmptyReads is how often a reader may return neither bytes nor an error.
const maxEmptyReads = 100

// read reads at least a byte into p, unless that is the end.
func (in *intake) read(p []byte) (n int, ended bool, err error) {
	for range maxEmptyReads {
		if err := context.Cause(in.ctx); err != nil {
			return 0, false, err
		}
		n, err := in.src.Read(p)
		if n < 0 || n > len(p) {
			return 0, false, fmt.Errorf("reading the content: %d bytes were said to be read into %d", n, len(p))
		}
		if err != nil && err != io.EOF {
			return 0, false, fmt.Errorf("reading the content: %w", err)
		}
		if n > 0 || err != nil {
			return n, err != nil, nil
		}
	}
	return 0, false, fmt.Errorf("reading the content: %w", io.ErrNoProgress)
}

// finish makes sure that nothing comes after the announced size.
func (in *intake) finish() {
	var more [1]byte
	n, _, err := in.read(more[:])
	switch {
	case err != nil:
		in.err = err
	case n > 0:
		in.err = fmt.Errorf("%w: it goes on after %d bytes", ErrSize, in.size)
	default:
		in.done, in.err = true, io.EOF
	}
}

// stop ends the use of the source; it waits for a Read that is under way. From then on nothing else changes.
func (in *intake) stop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.over, in.src = true, nil
}

// complete reports whether all content was handed out.
func (in *intake) complete() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.done
}

// failure is why the content can't be had, or nil.
func (in *intake) failure() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.done {
		return nil
	}
	return in.err
}

// info describes content that is complete.
func (in *intake) info() Info {
	in.mu.Lock()
	defer in.mu.Unlock()
	info := Info{Size: in.n}
	in.sum.Sum(info.SHA256[:0])
	return info
}
