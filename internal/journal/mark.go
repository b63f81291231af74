package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"sync"
)

// A mark says how far this node had come: the last sequence it applied before it answered anybody.
type mark struct {
	stream nodeID // the log it is about
	epoch  uint64 // of this node's records
	point
}

// markFile keeps the mark in two slots, written in turn, so that one is whole at any time. Writes reach the page
// cache, which a dying process leaves behind; sync brings them to the disk.
type markFile struct {
	f *os.File

	mu    sync.Mutex // guards what follows
	turn  uint64
	dirty bool
}

const (
	markSlot  = 512 // a sector, which disks write whole
	markBytes = 8 + 8 + 16 + 8 + 8 + 8 + 4
	markMagic = 0x314b52414d4a4c53 // "SLJMARK1"
)

// openMark opens or makes the file at path, and returns the mark in it, nil if it is new.
func openMark(path string) (*markFile, *mark, error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	m := &markFile{f: f}
	last := m.latest(data)
	if len(data) > 0 && last == nil {
		f.Close()
		return nil, nil, damaged("neither of the two marks in %s is whole; if the log is known to be good, remove that file", path)
	}
	return m, last, nil
}

func (m *markFile) latest(data []byte) *mark {
	var last *mark
	for slot := 0; slot+markBytes <= len(data); slot += markSlot {
		if turn, at := parseMark(data[slot:]); at != nil && turn >= m.turn {
			m.turn, last = turn, at
		}
	}
	return last
}

// parseMark returns nil if the slot isn't whole.
func parseMark(data []byte) (turn uint64, at *mark) {
	le := binary.LittleEndian
	if le.Uint32(data[markBytes-4:]) != crc32.Checksum(data[:markBytes-4], castagnoli) || le.Uint64(data) != markMagic {
		return 0, nil
	}
	at = &mark{epoch: le.Uint64(data[32:]), point: point{le.Uint64(data[40:]), le.Uint64(data[48:])}}
	copy(at.stream[:], data[16:])
	return le.Uint64(data[8:]), at
}

func (m *markFile) write(at mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn++
	le := binary.LittleEndian
	var buf [markBytes]byte
	le.PutUint64(buf[:], markMagic)
	le.PutUint64(buf[8:], m.turn)
	copy(buf[16:], at.stream[:])
	le.PutUint64(buf[32:], at.epoch)
	le.PutUint64(buf[40:], at.seq)
	le.PutUint64(buf[48:], at.hash)
	le.PutUint32(buf[markBytes-4:], crc32.Checksum(buf[:markBytes-4], castagnoli))
	m.dirty = true
	_, err := m.f.WriteAt(buf[:], int64(m.turn%2)*markSlot)
	return err
}

// sync brings the mark to the disk, if it is not there yet.
func (m *markFile) sync() error {
	m.mu.Lock()
	dirty := m.dirty
	m.dirty = false
	m.mu.Unlock()
	if !dirty {
		return nil
	}
	return m.f.Sync()
}

func (m *markFile) close() error { return errors.Join(m.sync(), m.f.Close()) }
