package window

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

// Why bytes are no snapshot. A decoder's error wraps exactly one of these.
var (
	ErrForeign   = errors.New("not a snapshot of this kind")   // something else, or the other kind of snapshot
	ErrNewer     = errors.New("written by a newer version")    // a snapshot of a version that this code does not know
	ErrTruncated = errors.New("snapshot is cut short")         // it begins like a snapshot and ends too early
	ErrDamaged   = errors.New("snapshot is damaged")           // its checksum or its content is wrong
	errTooLarge  = errors.New("a snapshot exceeds the format") // only from encoding
)

// The format, version 1. Integers are big-endian, varints as in encoding/binary, in their shortest form.
//
//	magic     8 bytes  "SLUICEWN"
//	version   1 byte   1
//	kind      1 byte   1: one window; 2: a table
//	length    8 bytes  of the body
//	body
//	checksum  4 bytes  CRC-32C of everything before it
//
// The body begins with four signed numbers of 8 bytes, in nanoseconds: the wall time since 1970, the timeframe, the
// precision, and how much of the newest bucket had passed. One window follows at once; a table is the number of windows,
// each after its name (its length, its bytes), in the order of names. A window is the number of buckets that are not empty,
// and for each, newest first, how many empty ones lie before it and its count. All these numbers are varints.
//
// The same snapshot always encodes to the same bytes, and no other bytes decode to it.
const (
	magic      = "SLUICEWN"
	version    = 1
	headerSize = len(magic) + 1 + 1 + 8
	sumSize    = 4

	noTime = math.MinInt64 // stands for the zero time, which is too long ago for nanoseconds
)

type kind byte

const (
	kindWindow kind = 1
	kindTable  kind = 2
)

func (k kind) String() string {
	switch k {
	case kindWindow:
		return "one window"
	case kindTable:
		return "a table of windows"
	}
	return fmt.Sprintf("kind %d", byte(k))
}

func checksum(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

// MarshalBinary encodes s in a versioned, checksummed format that describes itself. It returns an error that wraps
// [ErrDamaged] if s contradicts itself.
func (s Snapshot) MarshalBinary() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	body, err := appendFrame(nil, s.Taken, s.Timeframe, s.Precision, s.Elapsed)
	if err != nil {
		return nil, err
	}
	return seal(kindWindow, appendBuckets(body, s.Buckets)), nil
}

// UnmarshalBinary decodes what MarshalBinary encoded, and nothing else: other bytes leave s as it was and return an error
// that wraps [ErrForeign], [ErrNewer], [ErrTruncated] or [ErrDamaged]. It uses memory in proportion to data.
func (s *Snapshot) UnmarshalBinary(data []byte) error {
	body, err := open(kindWindow, data)
	if err != nil {
		return err
	}
	d := decoder{rest: body}
	var got Snapshot
	got.Taken, got.Timeframe, got.Precision, got.Elapsed = d.frame()
	got.Buckets = d.buckets()
	if err := d.end(); err != nil {
		return err
	}
	if err := got.check(); err != nil {
		return err
	}
	*s = got
	return nil
}

// seal puts a header before body and a checksum after it.
func seal(k kind, body []byte) []byte {
	data := make([]byte, 0, headerSize+len(body)+sumSize)
	data = append(data, magic...)
	data = append(data, version, byte(k))
	data = binary.BigEndian.AppendUint64(data, uint64(len(body)))
	data = append(data, body...)
	return binary.BigEndian.AppendUint32(data, checksum(data))
}

// open checks everything around the body, and returns the body.
func open(k kind, data []byte) ([]byte, error) {
	if head := data[:min(len(data), len(magic))]; !bytes.HasPrefix([]byte(magic), head) {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrForeign, magic)
	}
	// The version comes before every other check: what follows it may have another layout in a newer one.
	if len(data) > len(magic) && data[len(magic)] > version {
		return nil, fmt.Errorf("%w: %d, this one reads %d", ErrNewer, data[len(magic)], version)
	}
	if len(data) < headerSize+sumSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrTruncated, len(data))
	}
	length := binary.BigEndian.Uint64(data[headerSize-8:])
	body := data[headerSize : len(data)-sumSize]
	switch {
	case data[len(magic)] != version:
		return nil, fmt.Errorf("%w: version %d", ErrDamaged, data[len(magic)])
	case uint64(len(body)) < length:
		return nil, fmt.Errorf("%w: %d of %d bytes of content", ErrTruncated, len(body), length)
	case uint64(len(body)) > length:
		return nil, fmt.Errorf("%w: %d bytes too many", ErrDamaged, uint64(len(body))-length)
	}
	end := len(data) - sumSize
	if checksum(data[:end]) != binary.BigEndian.Uint32(data[end:]) {
		return nil, fmt.Errorf("%w: wrong checksum", ErrDamaged)
	}
	if got := kind(data[len(magic)+1]); got != k {
		return nil, fmt.Errorf("%w: it holds %v, not %v", ErrForeign, got, k)
	}
	return body, nil
}

// appendFrame appends what all windows of a file share.
func appendFrame(b []byte, taken time.Time, timeframe, precision, elapsed time.Duration) ([]byte, error) {
	nano := int64(noTime)
	if !taken.IsZero() {
		nano = taken.UnixNano()
		if nano == noTime || !time.Unix(0, nano).Equal(taken) {
			return nil, fmt.Errorf("%w: the time %v", errTooLarge, taken)
		}
	}
	b = binary.BigEndian.AppendUint64(b, uint64(nano))
	b = binary.BigEndian.AppendUint64(b, uint64(timeframe))
	b = binary.BigEndian.AppendUint64(b, uint64(precision))
	return binary.BigEndian.AppendUint64(b, uint64(elapsed)), nil
}

func appendBuckets(b []byte, list []Bucket) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	next := 0
	for _, bucket := range list {
		b = binary.AppendUvarint(b, uint64(bucket.Age-next))
		b = binary.AppendUvarint(b, bucket.Count)
		next = bucket.Age + 1
	}
	return b
}

// A decoder reads a body. After its first error it reads zeros, and end returns the error.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrDamaged, what)
	}
	d.rest = nil
}

// bytes reads n bytes, or returns nil.
func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.fail("content ends too early")
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) uint64() uint64 {
	if b := d.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// varint reads a varint of at most limit.
func (d *decoder) varint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.rest)
	switch {
	case n <= 0:
		d.fail("a number ends too early or is too long")
	case n > 1 && d.rest[n-1] == 0:
		d.fail("a number is longer than it needs to be")
	case v > limit:
		d.fail("a number is too large")
	default:
		d.rest = d.rest[n:]
		return v
	}
	return 0
}

func (d *decoder) frame() (taken time.Time, timeframe, precision, elapsed time.Duration) {
	if nano := int64(d.uint64()); nano != noTime {
		taken = time.Unix(0, nano)
	}
	return taken, time.Duration(d.uint64()), time.Duration(d.uint64()), time.Duration(d.uint64())
}

func (d *decoder) buckets() []Bucket {
	n := d.varint(uint64(len(d.rest)) / 2) // each bucket takes two bytes at least
	if n == 0 {
		return nil
	}
	list := make([]Bucket, 0, n)
	next := uint64(0)
	for range n {
		age := next + d.varint(MaxBuckets)
		list = append(list, Bucket{Age: int(age), Count: d.varint(math.MaxUint64)})
		next = age + 1
	}
	return list
}

// end returns the first error, which having bytes left is too.
func (d *decoder) end() error {
	if len(d.rest) > 0 {
		d.fail("content goes on after its end")
	}
	return d.err
}
