package jobs

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Payloads keeps the payloads and results of jobs out of memory, in files without names that are made anew at every start: it is a cache of the log
// and its snapshots, and never synced. Where the disk takes no more, what comes stays in memory. Make one with OpenPayloads; a [State] owns it then.
//
// A record is appended to a segment and never changed. A segment in which nothing is needed any more is given up. When much of what is kept isn't
// needed, what is needed of the segments in which less than half is moves to the end of the last one, a bit with each command.
type Payloads struct {
	dir      string
	segments slab[segment]
	active   uint32 // the segment that is appended to, 0 none
	size     int64  // bytes of all segments, and of the records in them that are needed
	live     int64
	full     []uint32 // segments that are in memory because the disk took them not
	sparse   []uint32 // segments to move what is needed out of
	moved    int64    // position in the first of sparse
	buffer   []byte   // of an active segment that was written
	sizes    sizes
}

// sizes are what tests may lower.
type sizes struct {
	segment uint32
	tail    int // what is written at once
}

// A segment is a file, and what is not written to it yet.
type segment struct {
	file    *os.File // nil: there is none yet
	written uint32   // bytes in the file
	tail    []byte   // that come after those
	live    uint32   // bytes of records that are needed
	sealed  bool     // nothing more is appended
	sparse  bool     // is in the list
}

func (s *segment) size() uint32 { return s.written + uint32(len(s.tail)) }

const (
	segmentSize  = 64 << 20
	tailSize     = 256 << 10
	recordHeader = 8        // whose record it is, and its length
	moveBytes    = 64 << 10 // that a command moves at most, but for one record
)

// A ref says where a record is. The zero ref is an empty record, which is nowhere.
type ref struct{ segment, offset, length uint32 }

const payloadPattern = "payload-*"

// OpenPayloads makes the directory if there is none, and removes what another run left in it. "" keeps everything in memory.
func OpenPayloads(dir string) (*Payloads, error) {
	p := newPayloads(dir)
	if dir == "" {
		return p, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	left, err := filepath.Glob(filepath.Join(dir, payloadPattern))
	if err != nil {
		return nil, err
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func newPayloads(dir string) *Payloads {
	return &Payloads{dir: dir, sizes: sizes{segmentSize, tailSize}}
}

// empty returns what keeps nothing yet and is else like p.
func (p *Payloads) empty() *Payloads { return &Payloads{dir: p.dir, sizes: p.sizes} }

// Close gives the files up.
func (p *Payloads) Close() error {
	for i := uint32(1); i <= p.segments.n; i++ {
		if f := p.segments.at(i).file; f != nil {
			f.Close() // it was only ever a cache
		}
	}
	*p = *p.empty()
	return nil
}

// PayloadStats are the figures of Payloads, in bytes.
type PayloadStats struct {
	Live   int64 // records that are needed
	Disk   int64 // in files
	Memory int64 // not in files; more than tailSize only if the disk took them not
}

func (p *Payloads) stats() (st PayloadStats) {
	st.Live = p.live
	for i := uint32(1); i <= p.segments.n; i++ {
		s := p.segments.at(i)
		st.Disk += int64(s.written)
		st.Memory += int64(len(s.tail))
	}
	return st
}

// put appends a record of parts. owner is what movers are told.
func (p *Payloads) put(owner uint32, parts ...[]byte) ref {
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	if length == 0 {
		return ref{}
	}
	s := p.appendable()
	s.tail = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(s.tail, owner), uint32(length))
	r := ref{segment: p.active, offset: s.size(), length: uint32(length)}
	for _, part := range parts {
		s.tail = append(s.tail, part...)
	}
	s.live += recordHeader + r.length
	p.live += recordHeader + int64(length)
	p.size += recordHeader + int64(length)
	if len(s.tail) >= p.sizes.tail {
		p.write()
	}
	return r
}

func (p *Payloads) appendable() *segment {
	if p.active == 0 {
		p.active = p.segments.add()
		p.segments.at(p.active).tail = slices.Grow(p.buffer[:0], p.sizes.tail+MaxPayload)
		p.buffer = nil
	}
	return p.segments.at(p.active)
}

// write writes the tail of the active segment to its file. If that fails the segment is sealed as it is.
func (p *Payloads) write() {
	s := p.segments.at(p.active)
	if err := p.writeTail(s); err != nil {
		if p.dir != "" {
			p.full = append(p.full, p.active)
		}
		p.seal()
		return
	}
	if s.written >= p.sizes.segment {
		p.buffer, s.tail = s.tail, nil
		p.seal()
	}
	for len(p.full) > 0 { // there is room again
		i := p.full[0]
		if s := p.segments.at(i); len(s.tail) > 0 && p.writeTail(s) != nil {
			return
		} else if len(s.tail) == 0 {
			s.tail = nil
		}
		p.full = p.full[1:]
	}
}

func (p *Payloads) seal() {
	s, i := p.segments.at(p.active), p.active
	s.sealed, p.active = true, 0
	p.review(i, s)
}

// writeTail is all or nothing: what a write that failed left in the file is written over by the next.
func (p *Payloads) writeTail(s *segment) error {
	if p.dir == "" {
		return os.ErrInvalid
	}
	if s.file == nil {
		f, err := os.CreateTemp(p.dir, payloadPattern)
		if err != nil {
			return err
		}
		s.file = f
		if err := os.Remove(f.Name()); err != nil {
			return err
		}
	}
	if _, err := s.file.WriteAt(s.tail, int64(s.written)); err != nil {
		return err
	}
	s.written += uint32(len(s.tail))
	s.tail = s.tail[:0]
	return nil
}

// drop says that a record isn't needed any more.
func (p *Payloads) drop(r ref) {
	if r.length == 0 {
		return
	}
	s := p.segments.at(r.segment)
	s.live -= recordHeader + r.length
	p.live -= recordHeader + int64(r.length)
	p.review(r.segment, s)
}

// review gives a sealed segment up in which nothing is needed, and notes one in which little is.
func (p *Payloads) review(i uint32, s *segment) {
	switch {
	case !s.sealed:
	case s.live == 0:
		if s.file != nil {
			s.file.Close() // whoever reads it looks again
		}
		if s.sparse {
			if p.sparse[0] == i {
				p.moved = 0
			}
			p.sparse = slices.DeleteFunc(p.sparse, func(k uint32) bool { return k == i })
		}
		p.full = slices.DeleteFunc(p.full, func(k uint32) bool { return k == i })
		p.size -= int64(s.size())
		p.segments.remove(i)
	case !s.sparse && s.live < s.size()/2:
		s.sparse = true
		p.sparse = append(p.sparse, i)
	}
}

// A piece is a record as it can be read without keeping commands waiting.
type piece struct {
	file   *os.File // nil: it is in bytes
	offset int64
	length int
	bytes  []byte
}

// locate returns a record. A piece in memory is a copy.
func (p *Payloads) locate(r ref) piece {
	if r.length == 0 {
		return piece{}
	}
	s := p.segments.at(r.segment)
	if r.offset >= s.written {
		from := r.offset - s.written
		return piece{bytes: slices.Clone(s.tail[from : from+r.length])}
	}
	return piece{file: s.file, offset: int64(r.offset), length: int(r.length)}
}

// read returns the record. It returns os.ErrClosed, wrapped, if the record is not there any more; perhaps it is somewhere else.
func (p *piece) read() ([]byte, error) {
	if p.file == nil {
		return p.bytes, nil
	}
	buf := make([]byte, p.length)
	if _, err := p.file.ReadAt(buf, p.offset); err != nil {
		return nil, fmt.Errorf("reading what is kept of a job: %w", err)
	}
	return buf, nil
}

// move moves some of what is needed out of a sparse segment. place returns where the owner of a record has noted it, nil if it is there no more.
func (p *Payloads) move(place func(owner uint32) *ref) {
	if len(p.sparse) == 0 || p.size-p.live < p.live/2+2*int64(p.sizes.segment) {
		return
	}
	i := p.sparse[0]
	s := p.segments.at(i)
	in := window{s: s}
	for budget := int64(moveBytes); budget > 0 && p.moved < int64(s.size()); {
		head, err := in.at(p.moved, recordHeader)
		if err != nil {
			p.skip() // it stays where it is
			return
		}
		owner, length := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
		was := ref{segment: i, offset: uint32(p.moved) + recordHeader, length: length}
		if noted := place(owner); noted != nil && *noted == was {
			data, err := in.at(p.moved+recordHeader, int(length))
			if err != nil {
				p.skip()
				return
			}
			budget -= int64(length)
			*noted = p.put(owner, data)
			if p.drop(was); s.live == 0 {
				return // given up
			}
		}
		budget -= recordHeader
		p.moved += recordHeader + int64(length)
	}
	if p.moved >= int64(s.size()) {
		p.skip()
	}
}

func (p *Payloads) skip() { p.sparse, p.moved = p.sparse[1:], 0 }

// A window reads a segment in larger pieces.
type window struct {
	s     *segment
	from  int64
	bytes []byte
}

const windowSize = 64 << 10

// at returns bytes that are there until the next call.
func (w *window) at(offset int64, n int) ([]byte, error) {
	if offset >= int64(w.s.written) {
		from := offset - int64(w.s.written)
		if from+int64(n) > int64(len(w.s.tail)) {
			return nil, io.ErrUnexpectedEOF
		}
		return w.s.tail[from : from+int64(n)], nil
	}
	if offset < w.from || offset+int64(n) > w.from+int64(len(w.bytes)) {
		size := min(int64(max(n, windowSize)), int64(w.s.written)-offset)
		w.bytes, w.from = slices.Grow(w.bytes[:0], int(size))[:size], offset
		if _, err := w.s.file.ReadAt(w.bytes, offset); err != nil {
			w.bytes = nil
			return nil, err
		}
	}
	if offset+int64(n) > w.from+int64(len(w.bytes)) {
		return nil, io.ErrUnexpectedEOF
	}
	return w.bytes[offset-w.from:][:n], nil
}
