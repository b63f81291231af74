package jobs

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// An ID names a job: 48 bits of the time it was made, in milliseconds since 1970, and 80 random bits. So IDs sort by time. The zero ID names no
// job.
type ID [16]byte

// idLength is how many characters an ID has as text.
const idLength = 26

// crockford is Crockford's base 32 in lower case, without i, l, o and u.
const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// NewID draws an ID.
func NewID(now time.Time) (id ID) {
	binary.BigEndian.PutUint64(id[:8], uint64(max(0, now.UnixMilli()))<<16)
	rand.Read(id[6:]) // never fails
	return id
}

// String returns the ID as 26 characters of Crockford's base 32, in lower case.
func (id ID) String() string {
	// 128 bits are 25 characters and 3 bits: with 2 bits of zero in front, text sorts as the bytes do.
	var text [idLength]byte
	hi, lo := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	for i := idLength - 1; i >= 0; i-- {
		text[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(text[:])
}

var errID = errors.New("a job's id is 26 characters of 0-9 and a-z without i, l, o and u")

// ParseID reads what String wrote. Upper case is lower case.
func ParseID(text string) (id ID, err error) {
	if len(text) != idLength || text[0] > '7' {
		return ID{}, fmt.Errorf("%.40q: %w", text, errID)
	}
	var hi, lo uint64
	for _, c := range []byte(strings.ToLower(text)) {
		v := strings.IndexByte(crockford, c)
		if v < 0 {
			return ID{}, fmt.Errorf("%.40q: %w", text, errID)
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	binary.BigEndian.PutUint64(id[:8], hi)
	binary.BigEndian.PutUint64(id[8:], lo)
	return id, nil
}

// Time returns when the ID was made.
func (id ID) Time() time.Time { return time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8]) >> 16)) }

// IsZero reports whether id names no job.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}
