package book

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
)

// Why bytes are no snapshot.
var (
	ErrNewer   = errors.New("written by a newer version")       // a snapshot of a version that this code does not know
	ErrDamaged = errors.New("not a snapshot, or a damaged one") // anything else that no book has written
)

// The format, version 1. Numbers are varints as in encoding/binary, in their shortest form.
//
//	magic     8 bytes  "SLUICEBK"
//	version   1 byte   1
//	body
//	checksum  4 bytes  CRC-32C of everything before it, big-endian
//
// The body is the newest number given out, what was sold, what is left over, and the number of prices. Each price, best
// first, is its distance from the one before it less 1 (the first: from the highest there is), the number of its bids less
// 1, and its bids in order. A bid is its place less the place before it less 1 (the first of a price: less 1), its place
// less its ID, its owner, and its open volume less 1.
//
// The same state always encodes to the same bytes, and no other bytes decode to it.
const (
	magic   = "SLUICEBK"
	version = 1
	sumSize = 4

	newest = 1 << 63 // a number beyond it is not believed, so that no number is ever the last one
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// MarshalBinary returns a snapshot. The error is always nil.
func (b *Book) MarshalBinary() ([]byte, error) { return b.AppendBinary(nil) }

// AppendBinary appends a snapshot of the whole state to data. It is versioned, carries a checksum, and must be kept at its
// full length by the caller. The error is always nil.
func (b *Book) AppendBinary(data []byte) ([]byte, error) {
	start := len(data)
	data = append(data, magic...)
	data = append(data, version)
	for _, n := range []uint64{b.last, b.sold, b.left, uint64(b.prices.count)} {
		data = binary.AppendUvarint(data, n)
	}
	next := uint64(math.MaxUint64) // the highest price that may follow
	b.prices.descend(func(price uint64, l *level) bool {
		data = binary.AppendUvarint(data, next-price)
		data = binary.AppendUvarint(data, uint64(l.bids-1))
		data = b.appendQueue(data, l)
		next = price - 1
		return true
	})
	return binary.BigEndian.AppendUint32(data, crc32.Checksum(data[start:], castagnoli)), nil
}

func (b *Book) appendQueue(data []byte, l *level) []byte {
	before := uint64(0)
	for i := l.head; i != 0; {
		s := b.bids.at(i)
		data = binary.AppendUvarint(data, s.seq-before-1)
		data = binary.AppendUvarint(data, s.seq-s.id)
		data = binary.AppendUvarint(data, s.owner)
		data = binary.AppendUvarint(data, s.open-1)
		before = s.seq
		i = s.next
	}
	return data
}

// UnmarshalBinary makes b what it was when AppendBinary encoded it; MaxBids stays, and does not matter to bids that are in
// the snapshot. Other bytes leave b as it was and return an error that wraps [ErrNewer] or [ErrDamaged]. It uses memory in
// proportion to data.
func (b *Book) UnmarshalBinary(data []byte) error {
	body, err := open(data)
	if err != nil {
		return err
	}
	d := decoder{rest: body}
	got := Book{MaxBids: b.MaxBids}
	d.book(&got)
	if d.err != nil {
		return d.err
	}
	*b = got
	return nil
}

// open checks everything around the body, and returns the body.
func open(data []byte) ([]byte, error) {
	head := len(magic) + 1
	switch {
	case !bytes.HasPrefix(data, []byte(magic)):
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrDamaged, magic)
	case len(data) >= head && data[len(magic)] > version:
		return nil, fmt.Errorf("%w: %d, this one reads %d", ErrNewer, data[len(magic)], version)
	case len(data) < head+sumSize || data[len(magic)] != version:
		return nil, fmt.Errorf("%w: header", ErrDamaged)
	}
	end := len(data) - sumSize
	if crc32.Checksum(data[:end], castagnoli) != binary.BigEndian.Uint32(data[end:]) {
		return nil, fmt.Errorf("%w: wrong checksum", ErrDamaged)
	}
	return data[head:end], nil
}

// A decoder reads a body. After its first error it reads zeros.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) check(ok bool, what string) {
	if ok || d.err != nil {
		return
	}
	d.err = fmt.Errorf("%w: %s", ErrDamaged, what)
	d.rest = nil
}

// uint reads a number of at most limit.
func (d *decoder) uint(limit uint64) uint64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.rest)
	d.check(n > 0, "a number ends too early or is too long")
	d.check(n <= 1 || d.rest[n-1] != 0, "a number is longer than it needs to be")
	d.check(v <= limit, "a number is too large")
	if d.err != nil {
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// book reads a body into b, which is empty.
func (d *decoder) book(b *Book) {
	b.last = d.uint(newest)
	b.sold = d.uint(math.MaxUint64)
	b.left = d.uint(b.sold)
	prices := d.uint(uint64(len(d.rest)))
	next := uint64(math.MaxUint64) // the highest price that may follow
	for i := uint64(0); i < prices && d.err == nil; i++ {
		d.check(i == 0 || next != math.MaxUint64, "a price below 0")
		price := next - d.uint(next)
		d.queue(b, price)
		next = price - 1
	}
	d.check(len(d.rest) == 0, "content goes on after its end")
	d.check(b.open == 0 || b.left == 0, "supply is left over beside open bids")
	d.places(b)
}

// queue reads the bids of one price.
func (d *decoder) queue(b *Book, price uint64) {
	more := d.uint(uint64(len(d.rest)))
	before := uint64(0)
	for ; d.err == nil; more-- {
		s := slot{price: price}
		s.seq = before + d.uint(b.last-before) + 1
		d.check(s.seq <= b.last, "a place that was not given out yet")
		s.id = s.seq - d.uint(s.seq)
		s.owner = d.uint(math.MaxUint64)
		s.open = d.uint(math.MaxUint64-1) + 1
		d.check(s.open <= math.MaxUint64-b.open, "the volume passes 64 bits")
		d.check(b.bids.live < mostBids, "more bids than there can be")
		d.check(s.id != 0 && b.bids.find(s.id) == 0, "a bid without a name of its own")
		if d.err != nil {
			return
		}
		b.place(s)
		before = s.seq
		if more == 0 {
			return
		}
	}
}

// places checks that no number was given out twice: each is an ID, or the new place of a bid that was repriced.
func (d *decoder) places(b *Book) {
	var moved []uint64
	b.each(func(s *slot) bool {
		if s.seq != s.id {
			moved = append(moved, s.seq)
		}
		return true
	})
	slices.Sort(moved)
	for i, seq := range moved {
		d.check(i == 0 || moved[i-1] != seq, "two bids in one place")
		d.check(b.bids.find(seq) == 0, "a bid in another's place")
	}
}
