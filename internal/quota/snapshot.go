package quota

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// ErrSnapshot is wrapped by the error of [State.Restore] for bytes that are no snapshot of quotas.
var ErrSnapshot = errors.New("not a snapshot of quotas, or a damaged one")

// The format of a snapshot, version 1. Numbers are varints as in encoding/binary, in their shortest form, but for ids and the hash, which are
// 16 and 8 bytes.
//
//	magic "SLUICEQT", version byte
//	clock, bytes and rate of everybody
//	users: their number; each, in the order of their months: length of the name, name, flags (1 bytes, 2 rate), bytes, rate, month, used
//	reservations: their number; each, oldest first: id, length of the user's name, name, bytes, month, session
//	hash of the state
const (
	magic           = "SLUICEQT"
	snapshotVersion = 1
)

// writeSize is how much of a snapshot is written at once.
const writeSize = 64 << 10

// Snapshot writes the whole state.
func (s *State) Snapshot(w io.Writer) error {
	buf := append(append(make([]byte, 0, writeSize+1024), magic...), snapshotVersion)
	put := func(values ...uint64) {
		for _, v := range values {
			buf = binary.AppendUvarint(buf, v)
		}
	}
	name := func(text string) {
		put(uint64(len(text)))
		buf = append(buf, text...)
	}
	var failed error
	drain := func(least int) {
		if len(buf) >= least && failed == nil {
			_, failed = w.Write(buf)
			buf = buf[:0]
		}
	}
	put(s.now, s.defaults.Bytes, uint64(s.defaults.Rate), uint64(s.users.Len()))
	for u := s.oldest; u != nil; u = u.next {
		name(u.name)
		put(u.flags(), u.own.Bytes, uint64(u.own.Rate), uint64(u.month), u.used)
		drain(writeSize)
	}
	put(uint64(len(s.holds)))
	for h := s.first; h != nil; h = h.next {
		buf = append(buf, h.id[:]...)
		name(h.user.name)
		put(h.bytes, uint64(h.month), h.session)
		drain(writeSize)
	}
	buf = binary.LittleEndian.AppendUint64(buf, s.Hash())
	drain(0)
	return failed
}

// Restore replaces the state by what Snapshot wrote, and reads to the end. Other bytes leave it as it was and give an error that wraps [ErrSnapshot].
func (s *State) Restore(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	restored, err := parseSnapshot(data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	restored.maxUsers, restored.maxHolds = s.maxUsers, s.maxHolds
	*s = *restored
	return nil
}

func parseSnapshot(data []byte) (*State, error) {
	in := &reader{rest: data}
	if string(in.take(uint64(len(magic)))) != magic {
		return nil, errors.New("it does not begin like one")
	}
	if v := in.byte(); v != snapshotVersion {
		return nil, fmt.Errorf("it is of version %d, known is %d", v, snapshotVersion)
	}
	s := NewState()
	s.now = in.uvarint()
	s.defaults = Limits{in.upTo(MaxBytes), uint32(in.upTo(MaxRate))}
	if s.now > MaxTime || in.bad {
		return nil, errors.New("its head is not as it should be")
	}
	s.setMonth()
	for range in.upTo(MaxUsers) {
		if s.readUser(in); in.bad {
			return nil, errors.New("its users are not as they should be")
		}
	}
	for range in.upTo(MaxReservations) {
		if s.readHold(in); in.bad {
			return nil, errors.New("its reservations are not as they should be")
		}
	}
	hash := in.take(8)
	if in.bad || len(in.rest) != 0 || binary.LittleEndian.Uint64(hash) != s.Hash() {
		return nil, errors.New("its parts do not fit together")
	}
	return s, nil
}

// upTo takes a number that is at most most.
func (r *reader) upTo(most uint64) uint64 {
	v := r.uvarint()
	if v > most {
		r.bad = true
		return 0
	}
	return v
}

func (s *State) readUser(in *reader) {
	name := string(in.take(in.upTo(MaxUser)))
	flags := in.upTo(setBytes | setRate)
	own := Limits{in.upTo(MaxBytes), uint32(in.upTo(MaxRate))}
	month, used := Month(in.upTo(math.MaxUint32)), in.upTo(MaxBytes)
	_, twice := s.users.Get(name)
	if in.bad || twice || CheckUser(name) != nil || month > s.month || s.newest != nil && month < s.newest.month {
		in.bad = true
		return
	}
	u := s.enlist(name)
	s.sums -= u.digest()
	u.own, u.hasBytes, u.hasRate, u.month, u.used = own, flags&setBytes != 0, flags&setRate != 0, month, used
	s.sums += u.digest()
}

func (s *State) readHold(in *reader) {
	h := &hold{id: in.id()}
	u, known := s.users.Get(string(in.take(in.upTo(MaxUser))))
	h.bytes, h.month, h.session = in.upTo(MaxBytes), Month(in.upTo(math.MaxUint32)), in.uvarint()
	if in.bad || !known || s.holds[h.id] != nil {
		in.bad = true
		return
	}
	h.user = u
	s.sums -= u.digest()
	if u.holds++; h.month == u.month {
		u.reserved += h.bytes
	}
	s.sums += u.digest()
	s.hold(h)
	in.bad = u.reserved > MaxBytes
}
