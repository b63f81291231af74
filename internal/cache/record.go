package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// A record is an entry as other nodes read it: a byte for the version, the CRC-32C of all that follows, and then numbers and
// byte strings in the order of encode. It changes with the version; a record of another version is a miss.
const (
	recordVersion = 1
	recordHead    = 1 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errRecord = errors.New("cache: damaged record, or one of another version")

const (
	flagValidate = 1 << iota
	flagStrict
	flagShared
	flagEverybody
	flagAuthorized
	flagModified // modified has a value
)

func (e *Entry) flags() uint64 {
	var n uint64
	for flag, set := range map[uint64]bool{
		flagValidate: e.validate, flagStrict: e.strict, flagShared: e.shared, flagEverybody: e.everybody,
		flagAuthorized: e.authorized, flagModified: !e.modified.IsZero(),
	} {
		if set {
			n |= flag
		}
	}
	return n
}

// encode returns the record of an entry. token is that of its resource; see Shared.
func (e *Entry) encode(token string) []byte {
	b := make([]byte, recordHead, recordHead+128+len(e.key)+len(e.block)+len(e.body))
	b[0] = recordVersion
	for _, part := range [][]byte{[]byte(token), e.key, e.reason, e.block, e.etag, e.lastModified, e.body} {
		b = appendPart(b, part)
	}
	for _, n := range [...]int64{
		int64(e.status), e.modified.Unix(), e.date.UnixNano(), e.came.UnixNano(), int64(e.initialAge), int64(e.freshFor),
		int64(e.swr), int64(e.sie), int64(e.base),
	} {
		b = binary.AppendVarint(b, n)
	}
	b = binary.AppendUvarint(b, e.flags())
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[recordHead:], castagnoli))
	return b
}

// decode reads a record. The entry's slices are the record's.
func decode(record []byte) (e *Entry, token string, err error) {
	if len(record) < recordHead || record[0] != recordVersion ||
		binary.BigEndian.Uint32(record[1:]) != crc32.Checksum(record[recordHead:], castagnoli) {
		return nil, "", errRecord
	}
	r := recordReader{left: record[recordHead:]}
	token = string(r.part())
	e = &Entry{key: r.part(), reason: r.part(), block: r.part(), etag: r.optional(), lastModified: r.optional(), body: r.part()}
	e.status = int(r.number())
	e.modified = time.Unix(r.number(), 0).UTC()
	e.date, e.came = time.Unix(0, r.number()).UTC(), time.Unix(0, r.number())
	e.initialAge, e.freshFor = time.Duration(r.number()), time.Duration(r.number())
	e.swr, e.sie = time.Duration(r.number()), time.Duration(r.number())
	e.base = int(r.number())
	flags := uint64(r.unsigned())
	e.validate, e.strict, e.shared = flags&flagValidate != 0, flags&flagStrict != 0, flags&flagShared != 0
	e.everybody, e.authorized = flags&flagEverybody != 0, flags&flagAuthorized != 0
	if flags&flagModified == 0 {
		e.modified = time.Time{}
	}
	if r.broken || len(r.left) > 0 || e.base < 0 || e.base > len(e.key) || e.status < 200 || e.status > 999 || !isBlock(e.block) {
		return nil, "", errRecord
	}
	return e, token, nil
}

// isBlock reports whether b is whole field lines.
func isBlock(b []byte) bool {
	for len(b) > 0 {
		line, rest, ended := bytes.Cut(b, []byte("\r\n"))
		name, value, found := bytes.Cut(line, []byte(": "))
		if !ended || !found || !isName(name) || !http1.IsFieldValue(value) {
			return false
		}
		b = rest
	}
	return true
}

// recordReader reads a record part by part. After a part that is not there, broken is true and all others are empty.
type recordReader struct {
	left   []byte
	broken bool
}

func (r *recordReader) unsigned() uint64 {
	n, size := binary.Uvarint(r.left)
	if size <= 0 {
		r.left, r.broken = nil, true
		return 0
	}
	r.left = r.left[size:]
	return n
}

func (r *recordReader) number() int64 {
	n, size := binary.Varint(r.left)
	if size <= 0 {
		r.left, r.broken = nil, true
		return 0
	}
	r.left = r.left[size:]
	return n
}

func (r *recordReader) part() []byte {
	n := r.unsigned()
	if n > uint64(len(r.left)) {
		r.left, r.broken = nil, true
		return nil
	}
	part := r.left[:n:n]
	r.left = r.left[n:]
	return part
}

// optional is a part whose absence is written as an empty one.
func (r *recordReader) optional() []byte {
	if part := r.part(); len(part) > 0 {
		return part
	}
	return nil
}
