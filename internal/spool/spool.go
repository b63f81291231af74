// Package spool holds a body that is written once, as it arrives, and read by many at their own pace.
//
// The writer is held back by the fastest reader alone: it gets no further ahead of it than a window, which is what is
// kept in memory. A reader that falls behind the window finds what it missed in a file, and one that falls behind by
// more than the file may hold is cut off. So a slow reader slows nobody, and nobody makes memory or disk grow without
// bound. No file is written as long as every reader keeps within the window, as a lone reader always does.
//
//	body := spool.New(spool.Options{})
//	body.Expect(2) // readers are on their way
//	go func() { io.Copy(body, src); body.Close(nil) }()
//	r := body.Open()
//	defer r.Close()
//	for p, err := r.Next(); err == nil; p, err = r.Next() { … }
package spool

import (
	"errors"
	"io"
	"sync"
)

// Block is the unit, in bytes, in which a body is kept, dropped and written to its file.
const Block = 64 << 10

// Options bound a body. The zero value has the defaults.
type Options struct {
	Window int    // bytes kept in memory, in whole blocks, at least 2 blocks; default 1 MiB
	File   int64  // bytes that the file may hold, in whole blocks; default 1 GiB
	Dir    string // where the file is made; default os.TempDir

	// Abandoned, if not nil, is called once if every reader has left before the end, by the goroutine of the last one: the writer may
	// be waiting for something to write.
	Abandoned func()
}

const (
	defaultWindow = 1 << 20
	defaultFile   = 1 << 30
)

// Errors of readers and writers.
var (
	ErrAbandoned = errors.New("spool: every reader has left")
	ErrBehind    = errors.New("spool: the reader is too far behind")
	ErrAborted   = errors.New("spool: the reader was told to stop")
)

// Body is what is written once and read by many. One goroutine writes; readers are one goroutine each.
type Body struct {
	window    int // in blocks
	file      spill
	abandoned func()

	mu       sync.Mutex
	more     sync.Cond // readers wait for it: the body has grown or ended, or one of them was told to stop
	space    sync.Cond // the writer waits for it: a reader has gone on, come or left
	memory   [][]byte  // the newest blocks; all but the last are full, and none is changed, only extended
	first    int64     // number of the first block in memory
	dropped  int64     // number of the first block that is still to be had, in memory or in the file
	size     int64     // bytes written
	expected int       // readers that are on their way: they stand at the beginning
	readers  map[*Reader]struct{}
	done     bool
	err      error         // what ended the body too early
	released chan struct{} // closed when it has ended and everybody has left
}

// unsettled stands for the readers that are on their way until Expect says how many they are.
const unsettled = 1 << 40

// New makes an empty body. Nothing of it is dropped before Expect has been called.
func New(o Options) *Body {
	if o.Window <= 0 {
		o.Window = defaultWindow
	}
	if o.File <= 0 {
		o.File = defaultFile
	}
	b := &Body{
		window:    max(o.Window/Block, 2),
		file:      spill{dir: o.Dir, blocks: max(o.File/Block, 1)},
		abandoned: o.Abandoned,
		expected:  unsettled,
		readers:   make(map[*Reader]struct{}),
		released:  make(chan struct{}),
	}
	b.more.L, b.space.L = &b.mu, &b.mu
	return b
}

// Write adds to the body. It waits while the fastest reader is a window behind. It returns ErrAbandoned when nobody reads, and
// nobody is on the way.
func (b *Body) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	written := 0
	for len(p) > 0 {
		if b.desertedLocked() {
			return written, ErrAbandoned
		}
		if b.full() {
			if b.fastest() < b.first {
				b.space.Wait()
				continue
			}
			b.retireLocked()
		}
		n := b.appendLocked(p)
		p = p[n:]
		written += n
		b.more.Broadcast()
	}
	return written, nil
}

// full reports whether the next byte needs a block that memory has no room for.
func (b *Body) full() bool {
	return len(b.memory) == b.window && len(b.memory[b.window-1]) == Block
}

// fastest is the number of the block in which the foremost reader stands: it has read what comes before.
func (b *Body) fastest() int64 {
	var at int64
	for r := range b.readers {
		at = max(at, r.off/Block)
	}
	return at - 1 // the one before its own is no longer needed by it
}

// slowest is the number of the first block that somebody needs.
func (b *Body) slowest() int64 {
	if b.expected > 0 {
		return 0
	}
	at := b.size / Block
	for r := range b.readers {
		at = min(at, r.off/Block)
	}
	return at
}

// retireLocked takes the oldest block out of memory, and into the file if a reader needs it still. The file is written under the
// lock: it is the page cache that takes it, and readers must not miss the block meanwhile.
func (b *Body) retireLocked() {
	if b.slowest() <= b.first {
		b.spillLocked()
	} else {
		b.dropped = b.first + 1
	}
	copy(b.memory, b.memory[1:])
	b.memory[len(b.memory)-1] = nil
	b.memory = b.memory[:len(b.memory)-1]
	b.first++
}

// spillLocked writes the oldest block to the file. Where that overwrites, or fails, whoever needs what is lost is cut off.
func (b *Body) spillLocked() {
	if b.first-b.dropped >= b.file.blocks {
		b.dropped = b.first - b.file.blocks + 1
	}
	if err := b.file.put(b.first, b.memory[0]); err != nil {
		b.dropped = b.first + 1
	}
}

func (b *Body) appendLocked(p []byte) int {
	last := len(b.memory) - 1
	if last < 0 || len(b.memory[last]) == Block {
		b.memory = append(b.memory, nil)
		last++
	}
	n := min(len(p), Block-len(b.memory[last]))
	b.memory[last] = append(b.memory[last], p[:n]...) // readers have slices of the old array, which stays as it is
	b.size += int64(n)
	return n
}

// Close ends the body: with nil, readers get io.EOF after its last byte, otherwise err. It must be called once, by the writer.
func (b *Body) Close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done, b.err = true, err
	b.more.Broadcast()
	b.releaseLocked()
}

// releaseLocked gives everything back when nobody can need it any more.
func (b *Body) releaseLocked() {
	if b.done && b.desertedLocked() && b.dropped <= b.size/Block {
		b.file.close()
		b.memory, b.dropped = nil, b.size/Block+1
		close(b.released)
	}
}

// Released is closed when the body has ended and everybody has left, so that it takes no memory any more.
func (b *Body) Released() <-chan struct{} { return b.released }

// desertedLocked reports whether nobody reads, and nobody is on the way.
func (b *Body) desertedLocked() bool { return b.expected == 0 && len(b.readers) == 0 }

// left does what is to be done when a reader may have been the last one. It is called without the lock.
func (b *Body) left() {
	b.mu.Lock()
	b.space.Signal()
	b.releaseLocked()
	tell := b.abandoned
	if b.done || !b.desertedLocked() {
		tell = nil
	} else {
		b.abandoned = nil
	}
	b.mu.Unlock()
	if tell != nil {
		tell()
	}
}

// Joinable reports whether a new reader would find the beginning.
func (b *Body) Joinable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.joinableLocked()
}

func (b *Body) joinableLocked() bool {
	return b.dropped == 0 && (b.expected > 0 || len(b.readers) > 0)
}

// Expect says that n readers are on their way, those who are here already among them. The beginning is kept for them: each must call Open or
// Decline. It must be called once.
func (b *Body) Expect(n int) {
	b.mu.Lock()
	b.expected = max(b.expected-unsettled+n, 0)
	b.mu.Unlock()
	b.left()
}

// Open returns a reader that stands at the beginning. It must be closed. It returns nil if the beginning is gone, or everybody has left: then
// there is nothing to close or to decline. One who was not expected may come too; that costs one of those who were expected its certainty, and
// no more.
func (b *Body) Open() *Reader {
	b.mu.Lock()
	joinable := b.joinableLocked()
	b.comeLocked()
	if !joinable {
		b.mu.Unlock()
		b.left()
		return nil
	}
	defer b.mu.Unlock()
	r := &Reader{body: b}
	b.readers[r] = struct{}{}
	return r
}

// Decline says that one of those who were expected will not come.
func (b *Body) Decline() {
	b.mu.Lock()
	b.comeLocked()
	b.mu.Unlock()
	b.left()
}

func (b *Body) comeLocked() {
	if b.expected > 0 {
		b.expected--
	}
}

// Reader reads a body from its beginning. Only Abort may be called from another goroutine.
type Reader struct {
	body    *Body
	off     int64 // guarded by body.mu, as is aborted
	aborted bool
	buf     []byte // for what comes from the file
}

// Next returns the next piece as soon as there is one. It is valid until the next call and must not be changed. At the
// body's end it returns io.EOF, or the error that the body ended with; ErrBehind if what comes next is lost to this
// reader, and ErrAborted after Abort.
func (r *Reader) Next() ([]byte, error) {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch block := r.off / Block; {
		case r.aborted:
			return nil, ErrAborted
		case block < b.dropped:
			return nil, ErrBehind
		case r.off < b.size && block < b.first:
			return r.fromFileLocked(block)
		case r.off < b.size:
			p := b.memory[block-b.first][r.off%Block:]
			r.advanceLocked(len(p))
			return p, nil
		case b.done && b.err != nil:
			return nil, b.err
		case b.done:
			return nil, io.EOF
		}
		b.more.Wait()
	}
}

// fromFileLocked reads a block that has left memory. The file is read without the lock; the block may be overwritten
// meanwhile, which is found out afterwards.
func (r *Reader) fromFileLocked(block int64) ([]byte, error) {
	b := r.body
	if r.buf == nil {
		r.buf = make([]byte, Block)
	}
	b.mu.Unlock()
	err := b.file.get(block, r.buf)
	b.mu.Lock()
	if block < b.dropped {
		return nil, ErrBehind
	}
	if err != nil {
		return nil, err
	}
	p := r.buf[r.off%Block:]
	r.advanceLocked(len(p))
	return p, nil
}

func (r *Reader) advanceLocked(n int) {
	r.off += int64(n)
	r.body.space.Signal()
}

// Ready reports whether Next would return at once.
func (r *Reader) Ready() bool {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	return r.off < b.size || b.done || r.aborted
}

// Abort makes Next return ErrAborted, now and from now on.
func (r *Reader) Abort() {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	r.aborted = true
	b.more.Broadcast()
}

// Close takes the reader away. It may be called more than once.
func (r *Reader) Close() {
	b := r.body
	b.mu.Lock()
	delete(b.readers, r)
	b.mu.Unlock()
	b.left()
}
