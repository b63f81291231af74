package market

import (
	"encoding/binary"
	"math"
)

// A command is what a node puts into the log. In bytes it is
//
//	version   byte     1
//	kind      byte
//	time      varint   the node's clock, in milliseconds since 1970
//	body
//
// and the body, by kind:
//
//	buy       keyed byte (0 or 1), key [16]byte if keyed, volume varint, price varint, username
//	sell      keyed byte (0 or 1), key [16]byte if keyed, volume varint
//	cancel    id varint
//	lease     id [16]byte, units varint, username
//	return    id [16]byte, units varint
//
// Varints are unsigned as in encoding/binary, in their shortest form. A username is the rest of the bytes.
type command struct {
	kind   kind
	time   uint64
	keyed  bool
	key    ID
	volume uint64 // of an order; the units of a lease or of what is left of it
	price  uint64
	bid    uint64
	name   string // points into the bytes that were parsed
}

// An ID names something that lives for a bounded time: a hash of an idempotency key, or a lease.
type ID [16]byte

type kind byte

const (
	buy kind = 1 + iota
	sell
	cancel
	lease
	giveBack
)

const commandVersion = 1

// maxTime bounds what is believed to be a time: a little over 8000 years. Sums with the durations here do not wrap.
const maxTime = math.MaxInt64 >> 15

// appendCommand appends the bytes of c.
func appendCommand(dst []byte, c *command) []byte {
	dst = append(dst, commandVersion, byte(c.kind))
	dst = binary.AppendUvarint(dst, c.time)
	switch c.kind {
	case buy, sell:
		dst = appendKey(dst, c)
	case lease, giveBack:
		dst = append(dst, c.key[:]...)
	case cancel:
		return binary.AppendUvarint(dst, c.bid)
	}
	dst = binary.AppendUvarint(dst, c.volume)
	if c.kind == buy {
		dst = binary.AppendUvarint(dst, c.price)
	}
	return append(dst, c.name...)
}

func appendKey(dst []byte, c *command) []byte {
	if !c.keyed {
		return append(dst, 0)
	}
	return append(append(dst, 1), c.key[:]...)
}

// parseCommand reads a command. It reports false for bytes that appendCommand does not write, and for names that no user
// may have.
func parseCommand(p []byte) (c command, ok bool) {
	r := reader{rest: p}
	version := r.byte()
	c.kind = kind(r.byte())
	c.time = r.uvarint()
	switch c.kind {
	case buy, sell:
		c.keyed = r.bool()
		if c.keyed {
			c.key = r.id()
		}
	case lease, giveBack:
		c.key = r.id()
	case cancel:
		c.bid = r.uvarint()
	default:
		return c, false
	}
	if c.kind != cancel {
		c.volume = r.uvarint()
	}
	if c.kind == buy {
		c.price = r.uvarint()
	}
	if c.kind == buy || c.kind == lease {
		c.name = string(r.take(len(r.rest)))
		r.bad = r.bad || CheckName(c.name) != nil
	}
	return c, version == commandVersion && c.time <= maxTime && !r.bad && len(r.rest) == 0
}

// A reader takes bytes apart. After the first that is not as it should be, bad is set and what it returns means nothing.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
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

func (r *reader) bool() bool {
	b := r.byte()
	r.bad = r.bad || b > 1
	return b == 1
}

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

func (r *reader) id() (id ID) {
	copy(id[:], r.take(len(id)))
	return id
}
