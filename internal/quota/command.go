package quota

import (
	"encoding/binary"
	"math"
)

// A command, in bytes, is
//
//	kind   byte
//	time   varint   the node's clock, in milliseconds since 1970
//	body
//
// and the body, by kind:
//
//	reserve   id [16]byte, bytes varint, session varint, user
//	commit    id [16]byte, bytes varint
//	release   id [16]byte
//	credit    month varint, bytes varint, user
//	set       flags byte (1 bytes, 2 rate, 4 reset), bytes varint if flagged, rate varint if flagged, user, empty for everybody
//
// Varints are unsigned as in encoding/binary, in their shortest form. A user is the rest of the bytes.
type kind byte

const (
	reserve kind = 1 + iota
	commit
	release
	credit
	set
)

const (
	setBytes = 1 << iota
	setRate
	setReset
)

// MaxTime bounds what is believed to be a time, in milliseconds since 1970: a little over 8000 years.
const MaxTime = math.MaxInt64 >> 15

func begin(k kind, now uint64) []byte {
	return binary.AppendUvarint([]byte{byte(k)}, min(now, MaxTime))
}

// EncodeReserve is the command for [State.Reserve]. The month of r is not written: it is that of the command.
func EncodeReserve(now uint64, r Reservation) []byte {
	p := append(begin(reserve, now), r.ID[:]...)
	p = binary.AppendUvarint(binary.AppendUvarint(p, r.Bytes), r.Session)
	return append(p, r.User...)
}

// EncodeCommit is the command for [State.Commit].
func EncodeCommit(now uint64, id ID, bytes uint64) []byte {
	return binary.AppendUvarint(append(begin(commit, now), id[:]...), bytes)
}

// EncodeRelease is the command for [State.Release].
func EncodeRelease(now uint64, id ID) []byte { return append(begin(release, now), id[:]...) }

// EncodeCredit is the command for [State.Credit].
func EncodeCredit(now uint64, user string, bytes uint64, m Month) []byte {
	return append(binary.AppendUvarint(binary.AppendUvarint(begin(credit, now), uint64(m)), bytes), user...)
}

// EncodeSet is the command for [State.Set].
func EncodeSet(now uint64, user string, c Change) []byte {
	p := begin(set, now)
	at := len(p)
	p = append(p, 0)
	if c.Bytes != nil {
		p[at] |= setBytes
		p = binary.AppendUvarint(p, *c.Bytes)
	}
	if c.Rate != nil {
		p[at] |= setRate
		p = binary.AppendUvarint(p, uint64(*c.Rate))
	}
	if c.Reset {
		p[at] |= setReset
	}
	return append(p, user...)
}

// Apply changes the state by a command. Bytes that are no command change nothing.
func (s *State) Apply(cmd []byte) Reply {
	r := reader{rest: cmd}
	k, now := kind(r.byte()), r.uvarint()
	if k < reserve || k > set || now > MaxTime {
		return Reply{Outcome: Invalid}
	}
	do := r.parse(s, k)
	if r.bad || len(r.rest) > 0 {
		return Reply{Outcome: Invalid}
	}
	s.Advance(now)
	return do()
}

// parse reads the body of a command, and returns what it does.
func (r *reader) parse(s *State, k kind) (do func() Reply) {
	switch k {
	case reserve:
		h := Reservation{ID: r.id(), Bytes: r.uvarint(), Session: r.uvarint(), User: r.text()}
		return func() Reply { return s.Reserve(h) }
	case commit:
		id, bytes := r.id(), r.uvarint()
		return func() Reply { return s.Commit(id, bytes) }
	case release:
		id := r.id()
		return func() Reply { return s.Release(id) }
	case credit:
		month, bytes, user := r.uvarint(), r.uvarint(), r.text()
		return func() Reply {
			if month > math.MaxUint32 || !s.Credit(user, bytes, Month(month)) {
				return s.reply(NotFound, user)
			}
			return s.reply(Done, user)
		}
	}
	c := r.change()
	user := r.text()
	return func() Reply { return s.Set(user, c) }
}

func (r *reader) change() (c Change) {
	flags := r.byte()
	if flags&setBytes != 0 {
		bytes := r.uvarint()
		c.Bytes = &bytes
	}
	if flags&setRate != 0 {
		rate := r.uvarint()
		short := uint32(rate)
		r.bad = r.bad || rate > MaxRate
		c.Rate = &short
	}
	c.Reset = flags&setReset != 0
	r.bad = r.bad || flags > setBytes|setRate|setReset
	return c
}

// A reader takes bytes apart. After the first that is not as it should be, bad is set and what it returns means nothing.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	p := r.rest[:n]
	r.rest = r.rest[n:]
	return p
}

func (r *reader) byte() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) id() (id ID) {
	copy(id[:], r.take(uint64(len(id))))
	return id
}

// text takes what is left.
func (r *reader) text() string { return string(r.take(uint64(len(r.rest)))) }

// uvarint takes the shortest form alone, so that equal commands are equal bytes.
func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || n > 1 && r.rest[n-1] == 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// IsSet reports whether a command is one of [EncodeSet], or damaged.
func IsSet(cmd []byte) bool { return len(cmd) > 0 && kind(cmd[0]) == set }
