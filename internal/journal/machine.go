package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"slices"
)

// A Machine is the state of a service. The journal calls Apply, Restore and Snapshot from one goroutine at a time, never
// together with a function that is passed to Read, except for Snapshot, which reads too.
//
// It must be deterministic: the same commands in the same order give the same state, hash and replies on every node, in
// every run and in every later version of the program that reads the log. So it reads no clock, no random number and no
// map in iteration order, and what it needs of them is in the command. It must not panic on any command, for it would do
// so again in every replay.
type Machine[R any] interface {
	// Apply changes the state by a command that is in the log, and returns the reply for whoever sent it. It doesn't
	// keep or change cmd. A command that is not valid changes nothing and gets a reply that says so.
	Apply(cmd []byte) R

	// Hash returns a hash of the state. It is called for every record, so it should cost no more than reading a field.
	Hash() uint64

	// Snapshot writes the whole state.
	Snapshot(w io.Writer) error

	// Restore replaces the state by what Snapshot wrote.
	Restore(r io.Reader) error
}

// maxAuthors bounds the table of authors. Past it, the one that was silent for longest is forgotten: it would have to
// have a record under way since before thousands of other nodes were born.
const maxAuthors = 4096

// An author is a node, as of its last record that was applied.
type author struct {
	epoch, number uint64
	seq           uint64
}

// state is what belongs to the replicated state beside the machine: every node has the same after the same record.
type state struct {
	point
	chain    uint64 // over all records
	commands uint64 // in records that were applied
	bytes    uint64 // of the log
	authors  map[nodeID]author
}

// fresh reports whether no record of this identity or a later one of the author was applied.
func (s *state) fresh(id identity) bool {
	a := s.authors[id.node]
	return id.epoch > a.epoch || id.epoch == a.epoch && id.number > a.number
}

func (s *state) seen(id identity, seq uint64) {
	if _, ok := s.authors[id.node]; !ok && len(s.authors) >= maxAuthors {
		s.forgetOldest()
	}
	s.authors[id.node] = author{epoch: id.epoch, number: id.number, seq: seq}
}

func (s *state) forgetOldest() {
	var oldest nodeID
	first := true
	for node, a := range s.authors { // sequences are unique, so the order doesn't matter
		if first || a.seq < s.authors[oldest].seq {
			oldest, first = node, false
		}
	}
	delete(s.authors, oldest)
}

// marshal writes the state in one form, whatever the map's order.
func (s *state) marshal() []byte {
	le := binary.LittleEndian
	var buf []byte
	for _, v := range []uint64{s.seq, s.hash, s.chain, s.commands, s.bytes, uint64(len(s.authors))} {
		buf = le.AppendUint64(buf, v)
	}
	nodes := make([]nodeID, 0, len(s.authors))
	for node := range s.authors {
		nodes = append(nodes, node)
	}
	slices.SortFunc(nodes, func(a, b nodeID) int {
		return cmp.Or(cmp.Compare(s.authors[a].seq, s.authors[b].seq), bytes.Compare(a[:], b[:]))
	})
	for _, node := range nodes {
		a := s.authors[node]
		buf = append(buf, node[:]...)
		buf = le.AppendUint64(le.AppendUint64(le.AppendUint64(buf, a.epoch), a.number), a.seq)
	}
	return buf
}

func readState(r io.Reader) (state, error) {
	var head [6]uint64
	if err := binary.Read(r, binary.LittleEndian, &head); err != nil {
		return state{}, err
	}
	s := state{point: point{head[0], head[1]}, chain: head[2], commands: head[3], bytes: head[4], authors: map[nodeID]author{}}
	if head[5] > maxAuthors {
		return state{}, damaged("a table of %d authors", head[5])
	}
	for range head[5] {
		var row struct {
			Node               nodeID
			Epoch, Number, Seq uint64
		}
		if err := binary.Read(r, binary.LittleEndian, &row); err != nil {
			return state{}, err
		}
		s.authors[row.Node] = author{row.Epoch, row.Number, row.Seq}
	}
	return s, nil
}
