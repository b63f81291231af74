package jobs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Restore replaces the state by what Snapshot wrote. Other bytes leave it as it was and give an error that wraps [ErrSnapshot].
func (s *State) Restore(r io.Reader) error {
	fresh := NewState(s.payloads.empty())
	fresh.hooks, fresh.bounds = s.hooks, s.bounds
	if err := fresh.read(r); err != nil {
		fresh.payloads.Close()
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	s.payloads.Close()
	*s.payloads = *fresh.payloads
	fresh.payloads = s.payloads
	*s = *fresh
	s.hooks.show(s)
	s.hooks.wakeAll()
	return nil
}

func (s *State) read(r io.Reader) error {
	in := &snapshotReader{r: bufio.NewReaderSize(r, writeSize)}
	head := in.take(len(snapshotMagic) + 1)
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return errors.New("it does not begin like one")
	}
	if v := head[len(snapshotMagic)]; v != snapshotVersion {
		return fmt.Errorf("it is of version %d, known is %d", v, snapshotVersion)
	}
	s.now, s.lastSession, s.claims = in.time(), in.uvarint(), in.word()
	readSlab(in, &s.queues, maxQueues, func(_ uint32, q *queue) { q.name, q.first = in.text(), in.number() })
	readSlab(in, &s.lanes, MaxJobs, func(_ uint32, l *lane) {
		*l = lane{queue: in.number(), tenant: in.text(), ordered: in.uvarint() == 1, weight: in.number(), deficit: in.number(), first: in.number()}
	})
	readSlab(in, &s.owners, MaxJobs, func(_ uint32, o *owner) { o.name = in.text() })
	readSlab(in, &s.classes, maxClasses, func(_ uint32, c *class) {
		c.classKey = classKey{in.time(), in.time(), in.time(), uint16(in.below(math.MaxUint16))}
		c.lateFirst, c.keptFirst = in.number(), in.number()
	})
	readSlab(in, &s.sessions, maxSessions, func(_ uint32, e *session) {
		e.id, e.epoch, e.beats, e.node = in.uvarint(), in.uvarint(), in.uvarint(), in.id()
		e.dead, e.first = in.uvarint() == 1, in.number()
	})
	readSlab(in, &s.rows, MaxJobs, func(i uint32, v *row) { s.readRow(in, i, v) })
	rings := in.rings(s.queues.n)
	s.readKeys(in)
	hash := in.word()
	if in.err != nil {
		return in.err
	}
	if _, err := in.r.ReadByte(); err != io.EOF {
		return errors.New("it goes on after its end")
	}
	if !s.connect(rings) || s.Hash() != hash {
		return errors.New("its parts do not fit together")
	}
	s.due = s.nextDue()
	return nil
}

func (s *State) readRow(in *snapshotReader, i uint32, v *row) {
	v.phase, v.flags, v.id = Phase(in.below(uint64(Failed))), byte(in.below(math.MaxUint8)), in.id()
	v.accepted, v.at, v.deadline = in.time(), in.time(), in.time()
	v.lane, v.owner, v.class, v.after = in.number(), in.number(), in.number(), in.number()
	if v.has(rowLate) {
		v.lateAfter = in.number()
	}
	v.session, v.fence, v.attempts = in.number(), uint32(in.below(math.MaxUint32)), uint16(in.below(math.MaxUint16))
	v.payload = s.payloads.put(i<<1, in.record(MaxPayload))
	if in.uvarint() == 1 {
		v.result = s.outcomes.add()
		o := s.outcomes.at(v.result)
		o.started, o.status, o.body = in.time(), uint16(in.below(maxStatus)), uint32(in.below(MaxPayload))
		o.record = s.payloads.put(i<<1|1, in.record(8+MaxError+MaxPayload))
	}
	if v.has(rowBlob) {
		s.setBlobs(i, v, blobs{request: in.text(), requestSize: in.size(), result: in.text(), resultSize: in.size()})
	}
	in.check(v.phase != 0)
}

func (s *State) readKeys(in *snapshotReader) {
	for n := in.below(MaxKeys); n > 0 && in.err == nil; n-- {
		i := s.keys.add()
		k := s.keys.at(i)
		k.digest, k.job, k.at, k.fingerprint = in.id(), in.id(), in.time(), in.word()
		if old := s.key(&k.digest); old != 0 {
			s.keyIndex.drop(s.hashOfKey(old), old)
		}
		s.keyIndex.put(s.hashOfKey(i), i)
		s.linkKey(i)
		s.sums += k.digestOf()
	}
}

// readSlab makes a slab as it was.
func readSlab[T any](in *snapshotReader, s *slab[T], limit uint64, each func(i uint32, v *T)) {
	n, free := in.below(limit), in.below(limit)
	var order []uint32
	gone := make([]uint64, n/64+1)
	for k := uint64(0); k < free && in.err == nil; k++ {
		i := in.number()
		if i == 0 || uint64(i) > n || gone[i/64]&(1<<(i%64)) != 0 {
			in.check(false)
			return
		}
		gone[i/64] |= 1 << (i % 64)
		order = append(order, i)
	}
	for uint64(s.n) < n && in.err == nil {
		if i := s.add(); gone[i/64]&(1<<(i%64)) == 0 {
			each(i, s.at(i))
		}
	}
	s.free = order
	s.live -= len(order)
}

// A snapshotReader takes a snapshot apart. After the first thing that is not as it should be, err is set and what it returns means nothing.
type snapshotReader struct {
	r   *bufio.Reader
	buf []byte
	err error
}

func (in *snapshotReader) check(ok bool) {
	if !ok && in.err == nil {
		in.err = errors.New("a part of it is not as it should be")
	}
}

// take returns bytes that are there until the next call.
func (in *snapshotReader) take(n int) []byte {
	if cap(in.buf) < n {
		in.buf = make([]byte, n)
	}
	p := in.buf[:n]
	if in.err == nil {
		_, in.err = io.ReadFull(in.r, p)
	}
	return p
}

func (in *snapshotReader) uvarint() uint64 {
	if in.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(in.r)
	in.err = err
	return v
}

func (in *snapshotReader) below(limit uint64) uint64 {
	v := in.uvarint()
	if in.check(v <= limit); in.err != nil {
		return 0
	}
	return v
}

func (in *snapshotReader) number() uint32 { return uint32(in.below(math.MaxUint32)) }

func (in *snapshotReader) size() int64 { return int64(in.below(math.MaxInt64)) }

func (in *snapshotReader) time() Time { return Time(in.below(2 * maxTime)) }

func (in *snapshotReader) word() uint64 { return binary.LittleEndian.Uint64(in.take(8)) }

func (in *snapshotReader) id() [16]byte { return [16]byte(in.take(16)) }

func (in *snapshotReader) record(limit uint64) []byte { return in.take(int(in.below(limit))) }

func (in *snapshotReader) text() string { return string(in.record(MaxName)) }

func (in *snapshotReader) rings(queues uint32) (all [][]uint32) {
	for range queues {
		var ring []uint32
		for n := in.below(MaxJobs); n > 0 && in.err == nil; n-- {
			ring = append(ring, in.number())
		}
		if in.err != nil {
			return nil
		}
		all = append(all, ring)
	}
	return all
}
