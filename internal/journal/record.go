package journal

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// A record is one message of the log:
//
//	crc      uint32   CRC-32C of all that follows
//	version  byte     1
//	node     [16]byte
//	epoch    uint64
//	number   uint64
//	baseSeq  uint64   the last sequence its author had applied
//	baseHash uint64   the state hash there
//	count    uint32
//	count × (length uint32, command)
//
// Integers are little-endian.
const (
	recordVersion = 1
	recordHeader  = 4 + 1 + 16 + 8 + 8 + 8 + 8 + 4
	commandHeader = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type nodeID [16]byte

// An identity names a record for good: an author never uses one for two contents.
type identity struct {
	node   nodeID
	epoch  uint64
	number uint64
}

// A point is a place in the log and the state hash there.
type point struct {
	seq  uint64
	hash uint64
}

type record struct {
	identity
	base     point
	count    int
	commands []byte // as in the message
	sum      uint32
}

// startRecord appends a header to buf; finishRecord fills it in when the commands are there.
func startRecord(buf []byte) []byte { return append(buf, make([]byte, recordHeader)...) }

func appendCommand(buf, command []byte) []byte {
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(command)))
	return append(buf, command...)
}

func finishRecord(buf []byte, id identity, base point, count int) {
	le := binary.LittleEndian
	buf[4] = recordVersion
	copy(buf[5:21], id.node[:])
	le.PutUint64(buf[21:], id.epoch)
	le.PutUint64(buf[29:], id.number)
	le.PutUint64(buf[37:], base.seq)
	le.PutUint64(buf[45:], base.hash)
	le.PutUint32(buf[53:], uint32(count))
	le.PutUint32(buf, crc32.Checksum(buf[4:], castagnoli))
}

// parseRecord checks everything that can be checked without state, so that the commands can be walked without errors.
func parseRecord(data []byte) (record, error) {
	le := binary.LittleEndian
	if len(data) < recordHeader {
		return record{}, damaged("%d bytes are too short for a record", len(data))
	}
	var r record
	r.sum = le.Uint32(data)
	if got := crc32.Checksum(data[4:], castagnoli); got != r.sum {
		return record{}, damaged("the checksum of the record is %08x, not %08x", got, r.sum)
	}
	if data[4] != recordVersion {
		return record{}, damaged("the record has version %d, and this program reads version %d", data[4], recordVersion)
	}
	copy(r.node[:], data[5:21])
	r.epoch, r.number = le.Uint64(data[21:]), le.Uint64(data[29:])
	r.base = point{seq: le.Uint64(data[37:]), hash: le.Uint64(data[45:])}
	r.count = int(le.Uint32(data[53:]))
	r.commands = data[recordHeader:]
	rest := r.commands
	for range r.count {
		if _, rest = nextCommand(rest); rest == nil {
			return record{}, damaged("the commands of the record end early")
		}
	}
	if len(rest) != 0 {
		return record{}, damaged("%d bytes follow the commands of the record", len(rest))
	}
	return r, nil
}

// nextCommand splits off the first command; rest is nil if there is none.
func nextCommand(data []byte) (command, rest []byte) {
	if len(data) < commandHeader {
		return nil, nil
	}
	n := uint64(binary.LittleEndian.Uint32(data))
	data = data[commandHeader:]
	if n > uint64(len(data)) {
		return nil, nil
	}
	return data[:n:n], data[n:]
}

// mix makes a hash of two, with the finalizer of SplitMix64. It finds accidents, not attacks.
func mix(a, b uint64) uint64 {
	x := bits.RotateLeft64(a, 23)*0x9e3779b97f4a7c15 + b
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
