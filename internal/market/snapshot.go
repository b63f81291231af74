package market

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/sluicegate/sluice/book"
)

// ErrSnapshot is wrapped by the error of [State.Restore] for bytes that are no snapshot of a market.
var ErrSnapshot = errors.New("not a snapshot of a market, or a damaged one")

// The format of a snapshot, version 1. Numbers are varints as in encoding/binary, in their shortest form, but for ids and hashes, which are
// 16 and 8 bytes.
//
//	magic "SLUICEMK", version byte
//	clock, fills so far, hash over the fills, bids, sales, cancels
//	users: their number; each: length of the name, name, allocated, spent, leased
//	orders: the number of rows; each: id, and if that isn't 0 the user, volume, time; the number of free rows, and they, the next first
//	keys: their number; each, oldest first: key, time, kind, hash of the username, volume, price, id of the bid, allocated
//	leases: their number; each, oldest first: id, time, user, units
//	fills: their number; each, oldest first: time, bid, price, volume, open, user
//	book: its length, and what its AppendBinary writes
//	hash of the state
const (
	magic           = "SLUICEMK"
	snapshotVersion = 1
)

// Snapshot writes the whole state.
func (s *State) Snapshot(w io.Writer) error {
	out := &writer{w: w}
	out.buf = append(out.buf, magic...)
	out.buf = append(out.buf, snapshotVersion)
	out.uvarint(s.now, s.fills.last)
	out.word(s.fills.chain)
	out.uvarint(s.counts.bids, s.counts.sales, s.counts.cancels)
	s.writeUsers(out)
	s.writeOrders(out)
	s.writeKeys(out)
	s.writeLeases(out)
	s.writeFills(out)
	b, err := s.book.MarshalBinary()
	if err != nil {
		return err
	}
	out.uvarint(uint64(len(b)))
	out.bytes(b)
	out.word(s.Hash())
	return out.flush()
}

func (s *State) writeUsers(out *writer) {
	out.uvarint(uint64(s.users.len()))
	for i := range s.users.len() {
		u := s.users.at(uint32(i))
		out.uvarint(uint64(len(u.name)))
		out.buf = append(out.buf, u.name...)
		out.uvarint(u.allocated, u.spent, u.leased)
	}
}

func (s *State) writeOrders(out *writer) {
	o := &s.orders
	out.uvarint(uint64(o.rows.len() - 1))
	for i := 1; i < o.rows.len(); i++ {
		v := o.rows.at(uint32(i))
		out.uvarint(v.id)
		if v.id != 0 {
			out.uvarint(uint64(v.user), v.volume, v.time)
		}
	}
	out.uvarint(uint64(o.rows.len() - 1 - o.live))
	for i := o.free; i != 0; i = o.rows.at(i).next {
		out.uvarint(uint64(i))
	}
}

func (s *State) writeKeys(out *writer) {
	out.uvarint(uint64(s.keys.len()))
	s.keys.all(func(r *row[answered]) {
		a := &r.value
		out.bytes(r.id[:])
		out.uvarint(r.at, uint64(a.kind))
		out.word(a.name)
		out.uvarint(a.volume, a.price, a.id, a.allocated)
	})
}

func (s *State) writeLeases(out *writer) {
	out.uvarint(uint64(s.leases.len()))
	s.leases.all(func(r *row[leased]) {
		out.bytes(r.id[:])
		out.uvarint(r.at, uint64(r.value.user), r.value.units)
	})
}

func (s *State) writeFills(out *writer) {
	out.uvarint(s.fills.last + 1 - s.fills.first())
	for n := s.fills.first(); n <= s.fills.last; n++ {
		f := s.fills.place(n)
		out.uvarint(f.time, f.bid, f.price, f.volume, f.open, uint64(f.user))
	}
}

// Restore replaces the state by what Snapshot wrote. Other bytes leave it as it was and give an error that wraps [ErrSnapshot].
func (s *State) Restore(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	restored, err := parseSnapshot(data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	*s = *restored
	return nil
}

func parseSnapshot(data []byte) (*State, error) {
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok || len(rest) == 0 {
		return nil, errors.New("it does not begin like one")
	}
	if rest[0] != snapshotVersion {
		return nil, fmt.Errorf("it is of version %d, known is %d", rest[0], snapshotVersion)
	}
	s, in := NewState(), &reader{rest: rest[1:]}
	s.now, s.fills.last, s.fills.chain = in.uvarint(), in.uvarint(), in.word()
	s.counts = counts{bids: in.uvarint(), sales: in.uvarint(), cancels: in.uvarint()}
	in.bad = in.bad || s.now > maxTime || s.fills.last > 1<<62
	for _, part := range []struct {
		name string
		read func(*reader)
	}{
		{"users", s.readUsers}, {"orders", s.readOrders}, {"keys", s.readKeys}, {"leases", s.readLeases}, {"fills", s.readFills}, {"book", s.readBook},
	} {
		if part.read(in); in.bad {
			return nil, fmt.Errorf("its %s are not as they should be", part.name)
		}
	}
	if hash := in.word(); in.bad || len(in.rest) != 0 || hash != s.Hash() {
		return nil, errors.New("its parts do not fit together")
	}
	return s, nil
}

// count takes the number of things that follow, each of which has so many bytes at least.
func (r *reader) count(bound, size int) int {
	n := r.uvarint()
	if n > uint64(min(bound, len(r.rest)/size)) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *reader) word() uint64 {
	if p := r.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

// below takes a number that must be lower than n.
func (r *reader) below(n int) uint32 {
	v := r.uvarint()
	if v >= uint64(n) {
		r.bad = true
		return 0
	}
	return uint32(v)
}

func (s *State) readUsers(in *reader) {
	n := in.count(MaxUsers, 4)
	s.byName = make(map[string]uint32, n)
	for range n {
		name := string(in.take(int(in.below(MaxName + 1))))
		allocated, spent, leased := in.uvarint(), in.uvarint(), in.uvarint()
		_, twice := s.byName[name]
		if in.bad || twice || CheckName(name) != nil || spent > allocated || leased > allocated-spent {
			in.bad = true
			return
		}
		n := s.enlist(name)
		u := s.users.at(n)
		s.sums -= u.digest(n)
		u.allocated, u.spent, u.leased = allocated, spent, leased
		s.sums += u.digest(n)
	}
}

// readOrders fills the rows, and then lists each user's orders: by their ids, which rise.
func (s *State) readOrders(in *reader) {
	o := &s.orders
	var used []uint32
	for range in.count(MaxBids, 1) {
		i := uint32(o.rows.len())
		v := o.rows.grow()
		if v.id = in.uvarint(); v.id == 0 {
			continue
		}
		v.user, v.volume, v.time = in.below(s.users.len()), in.uvarint(), in.uvarint()
		s.sums += v.digest(i)
		used = append(used, i)
	}
	if in.bad {
		return
	}
	slices.SortFunc(used, func(a, b uint32) int {
		if o.rows.at(a).id < o.rows.at(b).id {
			return -1
		}
		return 1
	})
	for _, i := range used {
		o.link(s.users.at(o.rows.at(i).user), i)
	}
	s.readFree(in)
}

// readFree lists the rows that are not used.
func (s *State) readFree(in *reader) {
	o := &s.orders
	n := in.count(MaxBids, 1)
	if n != o.rows.len()-1-o.live {
		in.bad = true
		return
	}
	tail := &o.free
	for range n {
		i := in.below(o.rows.len())
		v := o.rows.at(i)
		if i == 0 || v.id != 0 || v.next != 0 || tail == &v.next {
			in.bad = true
			return
		}
		*tail, tail = i, &v.next
	}
}

func (s *State) readKeys(in *reader) {
	before, n := uint64(0), in.count(MaxKeys, 16+2+8+4)
	s.keys.ids = make(map[ID]uint32, n) // a million are put in twice as fast as into one that grows
	for range n {
		key, at := in.id(), in.uvarint()
		a := answered{kind: kind(in.byte()), name: in.word(), volume: in.uvarint(), price: in.uvarint(), id: in.uvarint(), allocated: in.uvarint()}
		if in.bad || at < before || at > s.now || a.allocated > a.volume {
			in.bad = true
			return
		}
		s.keys.put(key, at, a)
		s.sums += a.digest(key, at)
		before = at
	}
	in.bad = in.bad || s.keys.len() != n // a key is there twice
}

func (s *State) readLeases(in *reader) {
	before := uint64(0)
	out := map[uint32]uint64{}
	for range in.count(MaxLeases, 16+3) {
		id, at := in.id(), in.uvarint()
		l := leased{user: in.below(s.users.len()), units: in.uvarint()}
		if in.bad || at < before || at > s.now || s.leases.has(id) || l.units > s.users.at(l.user).leased-out[l.user] {
			in.bad = true
			return
		}
		s.leases.put(id, at, l)
		s.sums += l.digest(id, at)
		out[l.user] += l.units
		before = at
	}
	for i := range s.users.len() {
		in.bad = in.bad || s.users.at(uint32(i)).leased != out[uint32(i)]
	}
}

func (s *State) readFills(in *reader) {
	n := uint64(in.count(MaxFills, 6))
	if n != min(s.fills.last, MaxFills) {
		in.bad = true
		return
	}
	for range min(n, s.fills.last) {
		s.fills.ring.grow()
	}
	for number := s.fills.first(); number <= s.fills.last && !in.bad; number++ {
		*s.fills.place(number) = fill{
			time: in.uvarint(), bid: in.uvarint(), price: in.uvarint(), volume: in.uvarint(), open: in.uvarint(), user: in.below(s.users.len()),
		}
	}
}

// readBook reads the book, whose bids and the orders must be each other's.
func (s *State) readBook(in *reader) {
	data := in.take(in.count(len(in.rest), 1))
	if in.bad || s.book.UnmarshalBinary(data) != nil || s.book.Len() != s.orders.live {
		in.bad = true
		return
	}
	seen := make([]bool, s.orders.rows.len())
	for b := range s.book.All() {
		if b.Owner >= uint64(len(seen)) || seen[b.Owner] || !s.orders.rows.at(uint32(b.Owner)).fits(b) {
			in.bad = true
			return
		}
		seen[b.Owner] = true
	}
}

func (o *order) fits(b book.Bid) bool { return o.id == uint64(b.ID) && o.volume >= b.Volume }

// A writer collects what is written into larger pieces.
type writer struct {
	w   io.Writer
	buf []byte
	err error
}

const writeSize = 64 << 10

func (w *writer) uvarint(values ...uint64) {
	for _, v := range values {
		w.buf = binary.AppendUvarint(w.buf, v)
	}
	w.drain()
}

func (w *writer) word(v uint64) { w.buf = binary.LittleEndian.AppendUint64(w.buf, v) }

func (w *writer) bytes(p []byte) {
	w.buf = append(w.buf, p...)
	w.drain()
}

func (w *writer) drain() {
	if len(w.buf) >= writeSize {
		w.flush()
	}
}

func (w *writer) flush() error {
	if w.err == nil {
		_, w.err = w.w.Write(w.buf)
	}
	w.buf = w.buf[:0]
	return w.err
}
