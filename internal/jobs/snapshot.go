package jobs

import (
	"encoding/binary"
	"errors"
	"io"
)

// ErrSnapshot is wrapped by the error of [State.Restore] for bytes that are no snapshot of jobs.
var ErrSnapshot = errors.New("not a snapshot of jobs, or a damaged one")

// The format of a snapshot, version 1. Numbers are varints as in encoding/binary, ids 16 bytes, hashes 8, names and records their length and their bytes.
// A table is how many numbers it gave out, those that are free, and what has the others, by number.
//
//	magic "SLUICEJB", version byte
//	clock, last session, hash over the claims
//	table of queues:   name, first of those that failed
//	table of lanes:    queue, tenant, ordered, weight, deficit, first that is ready
//	table of owners:   name
//	table of classes:  timeout, deadline, keep, attempts, first by deadline, first that is done
//	table of sessions: id, epoch, beats, node, dead, first that it runs
//	table of jobs:     see writeRow
//	by queue: how many lanes its ring has, and they
//	keys: their number; each, oldest first: digest, id of the job, time, fingerprint
//	hash of the state
const (
	snapshotMagic   = "SLUICEJB"
	snapshotVersion = 1
)

// Snapshot writes the whole state, payloads and results included.
func (s *State) Snapshot(w io.Writer) error {
	out := &snapshotWriter{w: w}
	out.buf = append(append(out.buf, snapshotMagic...), snapshotVersion)
	out.uvarint(uint64(s.now), s.lastSession)
	out.word(s.claims)
	writeSlab(out, &s.queues, func(_ uint32, q *queue) {
		out.text(q.name)
		out.uvarint(uint64(q.first))
	})
	writeSlab(out, &s.lanes, func(_ uint32, l *lane) {
		out.uvarint(uint64(l.queue))
		out.text(l.tenant)
		out.uvarint(one(l.ordered), uint64(l.weight), uint64(l.deficit), uint64(l.first))
	})
	writeSlab(out, &s.owners, func(_ uint32, o *owner) { out.text(o.name) })
	writeSlab(out, &s.classes, func(_ uint32, c *class) {
		out.uvarint(uint64(c.timeout), uint64(c.deadline), uint64(c.keep), uint64(c.attempts), uint64(c.lateFirst), uint64(c.keptFirst))
	})
	writeSlab(out, &s.sessions, func(_ uint32, e *session) {
		out.uvarint(e.id, e.epoch, e.beats)
		out.bytes(e.node[:])
		out.uvarint(one(e.dead), uint64(e.first))
	})
	payloads, results := scanner{p: s.payloads}, scanner{p: s.payloads}
	writeSlab(out, &s.rows, func(i uint32, v *row) { s.writeRow(out, i, v, &payloads, &results) })
	s.writeRings(out)
	out.uvarint(uint64(s.keys.live))
	for i := s.firstKey; i != 0; i = s.keys.at(i).after {
		k := s.keys.at(i)
		out.bytes(k.digest[:])
		out.bytes(k.job[:])
		out.uvarint(uint64(k.at))
		out.word(k.fingerprint)
	}
	out.word(s.Hash())
	return out.flush()
}

func one(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// writeRow writes
//
//	phase, flags, id, accepted, at, deadline, lane, owner, class, the next in its list, the next by deadline if it has rowLate, session, fence, attempts,
//	payload, 1 if an attempt has ended and then: when it began, status, bytes of the body, record;
//	if it has rowBlob: name and size of the request's, name and size of the result's
func (s *State) writeRow(out *snapshotWriter, i uint32, v *row, payloads, results *scanner) {
	out.uvarint(uint64(v.phase), uint64(v.flags))
	out.bytes(v.id[:])
	after := v.after
	if v.has(rowDelayed) {
		after = 0
	}
	out.uvarint(uint64(v.accepted), uint64(v.at), uint64(v.deadline), uint64(v.lane), uint64(v.owner), uint64(v.class), uint64(after))
	if v.has(rowLate) {
		out.uvarint(uint64(v.lateAfter))
	}
	out.uvarint(uint64(v.session), uint64(v.fence), uint64(v.attempts))
	out.record(payloads, v.payload)
	out.uvarint(one(v.result != 0))
	if v.result != 0 {
		o := s.outcomes.at(v.result)
		out.uvarint(uint64(o.started), uint64(o.status), uint64(o.body))
		out.record(results, o.record)
	}
	if v.has(rowBlob) {
		b := s.blobs[i]
		out.text(b.request)
		out.uvarint(uint64(b.requestSize))
		out.text(b.result)
		out.uvarint(uint64(b.resultSize))
	}
}

func (s *State) writeRings(out *snapshotWriter) {
	for n := uint32(1); n <= s.queues.n; n++ {
		var ring []uint64
		turn := s.queues.at(n).turn
		for i := turn; i != 0; {
			ring = append(ring, uint64(i))
			if i = s.lanes.at(i).after; i == turn {
				break
			}
		}
		out.uvarint(uint64(len(ring)))
		out.uvarint(ring...)
	}
}

// writeSlab writes which numbers are free, in the order in which they were freed, and then what has the others.
func writeSlab[T any](out *snapshotWriter, s *slab[T], each func(i uint32, v *T)) {
	out.uvarint(uint64(s.n), uint64(len(s.free)))
	free := make([]uint64, s.n/64+1)
	for _, i := range s.free {
		out.uvarint(uint64(i))
		free[i/64] |= 1 << (i % 64)
	}
	for i := uint32(1); i <= s.n; i++ {
		if free[i/64]&(1<<(i%64)) == 0 {
			each(i, s.at(i))
		}
	}
}

// A scanner reads records that are mostly one behind the other.
type scanner struct {
	p       *Payloads
	segment uint32
	in      window
}

func (c *scanner) read(r ref) ([]byte, error) {
	if r.length == 0 {
		return nil, nil
	}
	if c.segment != r.segment {
		c.segment, c.in = r.segment, window{s: c.p.segments.at(r.segment), bytes: c.in.bytes[:0]}
	}
	return c.in.at(int64(r.offset), int(r.length))
}

// A snapshotWriter collects what is written into larger pieces.
type snapshotWriter struct {
	w   io.Writer
	buf []byte
	err error
}

const writeSize = 64 << 10

func (w *snapshotWriter) uvarint(values ...uint64) {
	for _, v := range values {
		w.buf = binary.AppendUvarint(w.buf, v)
	}
	if len(w.buf) >= writeSize {
		w.flush()
	}
}

func (w *snapshotWriter) word(v uint64) { w.buf = binary.LittleEndian.AppendUint64(w.buf, v) }

func (w *snapshotWriter) bytes(p []byte) { w.buf = append(w.buf, p...) }

func (w *snapshotWriter) text(s string) {
	w.uvarint(uint64(len(s)))
	w.buf = append(w.buf, s...)
}

func (w *snapshotWriter) record(c *scanner, r ref) {
	data, err := c.read(r)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.uvarint(uint64(len(data)))
	w.bytes(data)
}

func (w *snapshotWriter) flush() error {
	if w.err == nil {
		_, w.err = w.w.Write(w.buf)
	}
	w.buf = w.buf[:0]
	return w.err
}
