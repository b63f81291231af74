package cache

import (
	"encoding/binary"
	"hash/crc32"
)

// Encode returns the record of an entry.
func Encode(e *Entry) []byte { return e.encode("token") }

// Decode reads a record and returns the record of what it read.
func Decode(record []byte) ([]byte, error) {
	e, token, err := decode(record)
	if err != nil {
		return nil, err
	}
	return e.encode(token), nil
}

// Seal gives bytes the version and the checksum of a record.
func Seal(content []byte) []byte {
	b := append(make([]byte, recordHead), content...)
	b[0] = recordVersion
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(content, castagnoli))
	return b
}

// RecordKey is where a request's answer is in Redis.
func (c *Cache) RecordKey(p *Plan) string {
	return entryKey(c.shared.resourceKey(p.buf[:p.base]), c.name, p.Key())
}

// Remembered is what is kept of the targets whose answers vary, in bytes.
func (c *Cache) Remembered() (n int) {
	for _, v := range c.varies.cache.All() {
		n += len(v.base)
	}
	return n
}
