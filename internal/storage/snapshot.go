package storage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/ordered"
	"github.com/sluicegate/sluice/internal/quota"
)

// ErrSnapshot is wrapped by the error of [State.Restore] for bytes that are no snapshot of storage.
var ErrSnapshot = errors.New("not a snapshot of storage, or a damaged one")

// The format of a snapshot, version 1. Numbers are varints as in encoding/binary, in their shortest form, but for ids and the hash, which are
// 16 and 8 bytes.
//
//	magic "SLUICEOS", version byte
//	the snapshots of the quotas and of the jobs, each as pieces: their length and they, and 0 behind the last
//	work: the number; each: id of the job, blob
//	garbage: the number; each, oldest first: blob
//	objects: the number; each, in order: length and rest of a piece that has user text, blob, created, month, and what a command has of an entry
//	hash of the state
const (
	magic           = "SLUICEOS"
	snapshotVersion = 1
	pieceSize       = 64 << 10
	maxEntry        = 8 << 10
)

// Snapshot writes the whole state.
func (s *State) Snapshot(w io.Writer) error {
	out := bufio.NewWriterSize(w, pieceSize)
	out.WriteString(magic)
	out.WriteByte(snapshotVersion)
	for _, part := range []func(io.Writer) error{s.quota.Snapshot, s.jobs.Snapshot} {
		p := bufio.NewWriterSize(pieces{out}, pieceSize)
		if err := errors.Join(part(p), p.Flush()); err != nil {
			return err
		}
		out.WriteByte(0)
	}
	var buf []byte
	number := func(n int) { out.Write(binary.AppendUvarint(buf[:0], uint64(n))) }
	number(len(s.work))
	for id, blob := range s.work { // their order means nothing
		out.Write(id[:])
		out.Write(blob[:])
	}
	number(s.garbage.len())
	for blob := range s.garbage.all() {
		out.Write(blob[:])
	}
	number(s.objects.Len())
	for _, e := range s.objects.All() {
		buf = appendStored(buf[:0], e)
		out.Write(binary.AppendUvarint(nil, uint64(len(buf))))
		out.Write(buf)
	}
	out.Write(binary.LittleEndian.AppendUint64(nil, s.Hash()))
	return out.Flush() // it has the first error of all
}

func appendStored(dst []byte, e *Entry) []byte {
	dst = append(appendText(dst, e.User), e.Blob[:]...)
	return appendEntry(binary.AppendUvarint(binary.AppendUvarint(dst, e.Created), uint64(e.Month)), e)
}

// pieces writes what it gets with its length in front.
type pieces struct{ w io.Writer }

func (p pieces) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if _, err := p.w.Write(binary.AppendUvarint(nil, uint64(len(b)))); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}

// Restore replaces the state, whatever is in it, by what Snapshot wrote. Other bytes give an error that wraps [ErrSnapshot], and leave a state that is
// of no use.
func (s *State) Restore(r io.Reader) error {
	in := bufio.NewReaderSize(r, pieceSize)
	if err := s.restore(in); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return nil
}

func (s *State) restore(in *bufio.Reader) error {
	var head [len(magic) + 1]byte
	if _, err := io.ReadFull(in, head[:]); err != nil || string(head[:len(magic)]) != magic {
		return errors.New("it does not begin like one")
	}
	if v := head[len(magic)]; v != snapshotVersion {
		return fmt.Errorf("it is of version %d, known is %d", v, snapshotVersion)
	}
	for _, part := range []func(io.Reader) error{s.quota.Restore, s.jobs.Restore} {
		p := &joined{in: in}
		if err := part(p); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, p); err != nil {
			return err
		}
	}
	s.objects, s.size, s.length, s.sums = ordered.List[*Entry]{}, 0, 0, 0
	if err := errors.Join(s.readWork(in), s.readGarbage(in), s.readObjects(in)); err != nil {
		return fmt.Errorf("its catalogue is not as it should be: %w", err)
	}
	var hash [8]byte
	if _, err := io.ReadFull(in, hash[:]); err != nil || binary.LittleEndian.Uint64(hash[:]) != s.Hash() {
		return errors.New("its parts do not fit together")
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return errors.New("it goes on behind its end")
	}
	return nil
}

// joined reads pieces as one, up to the one that is empty.
type joined struct {
	in   *bufio.Reader
	left uint64
	end  bool
}

func (j *joined) Read(p []byte) (int, error) {
	if j.left == 0 && !j.end {
		n, err := binary.ReadUvarint(j.in)
		if err != nil {
			return 0, io.ErrUnexpectedEOF
		}
		j.left, j.end = n, n == 0
	}
	if j.end {
		return 0, io.EOF
	}
	n, err := j.in.Read(p[:min(uint64(len(p)), j.left)])
	j.left -= uint64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

var errPart = errors.New("something doesn't belong there")

func (s *State) readWork(in *bufio.Reader) error {
	s.work = map[jobs.ID]BlobID{}
	return each(in, func() error {
		var row [32]byte
		if _, err := io.ReadFull(in, row[:]); err != nil {
			return err
		}
		id, blob := jobs.ID(row[:16]), BlobID(row[16:])
		hold, held := s.quota.Reservation(blob)
		if _, twice := s.work[id]; twice || !held || hold.Session != 0 {
			return errPart
		}
		s.work[id] = blob
		s.sums += digestWork(id, blob)
		return nil
	})
}

func (s *State) readGarbage(in *bufio.Reader) error {
	s.garbage = newGarbage()
	return each(in, func() error {
		var blob BlobID
		if _, err := io.ReadFull(in, blob[:]); err != nil {
			return err
		}
		if s.garbage.has(blob) {
			return errPart
		}
		s.garbage.add(blob)
		return nil
	})
}

func (s *State) readObjects(in *bufio.Reader) error {
	last := ""
	return each(in, func() error {
		n, err := binary.ReadUvarint(in)
		if err != nil || n > maxEntry {
			return errors.Join(errPart, err)
		}
		buf := make([]byte, n)
		if _, err := io.ReadFull(in, buf); err != nil {
			return err
		}
		r := &reader{rest: buf}
		user, blob, created, month := r.text(), r.id(), r.uvarint(), r.upTo(1<<32-1)
		e := r.entry()
		e.User, e.Blob, e.Created, e.Month = user, blob, created, quota.Month(month)
		at := key(e.User, e.Bucket, e.Object)
		if r.bad || len(r.rest) > 0 || !e.check() || at <= last {
			return errPart
		}
		last = at
		s.objects.Put(at, e)
		s.count(e)
		return nil
	})
}

// each reads a number and calls f as often.
func each(in *bufio.Reader, f func() error) error {
	n, err := binary.ReadUvarint(in)
	for range n {
		if err != nil {
			return err
		}
		err = f()
	}
	return err
}
