package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A snapshot is a file:
//
//	magic    8 bytes
//	stream   [16]byte  the log it belongs to
//	state    see state.marshal
//	machine  what Machine.Snapshot wrote
//	crc      uint32    CRC-32C of all before it
const (
	snapshotMagic  = "SLJSNAP1"
	snapshotPrefix = "snapshot-"
	snapshotBuffer = 256 << 10
	snapshotsKept  = 2
)

func snapshotName(seq uint64) string { return fmt.Sprintf("%s%020d", snapshotPrefix, seq) }

// parseSnapshotName reports whether name is that of a snapshot that is whole.
func parseSnapshotName(name string) (seq uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, snapshotPrefix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil
}

// writeSnapshot writes to a temporary file; publishSnapshot makes it count.
func writeSnapshot(f *os.File, stream nodeID, s *state, machine func(io.Writer) error) error {
	sum := crc32.New(castagnoli)
	buf := bufio.NewWriterSize(f, snapshotBuffer)
	w := io.MultiWriter(buf, sum)
	if _, err := w.Write(slices.Concat([]byte(snapshotMagic), stream[:], s.marshal())); err != nil {
		return err
	}
	body := bufio.NewWriterSize(w, snapshotBuffer) // machines write small pieces
	if err := errors.Join(machine(body), body.Flush()); err != nil {
		return err
	}
	if err := binary.Write(buf, binary.LittleEndian, sum.Sum32()); err != nil {
		return err
	}
	return buf.Flush()
}

// publishSnapshot syncs the file and gives it its name. It closes f.
func publishSnapshot(f *os.File, dir string, seq uint64) error {
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, snapshotName(seq))); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// listSnapshots returns the sequences of the snapshots in dir, the newest first.
func listSnapshots(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []uint64
	for _, e := range entries {
		if seq, ok := parseSnapshotName(e.Name()); ok {
			all = append(all, seq)
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all, nil
}

// pruneSnapshots removes all but the last two, and what a crash left unfinished.
func pruneSnapshots(dir string) error {
	all, err := listSnapshots(dir)
	if err != nil {
		return err
	}
	for _, seq := range all[min(snapshotsKept, len(all)):] {
		err = errors.Join(err, os.Remove(filepath.Join(dir, snapshotName(seq))))
	}
	return err
}

// removeUnfinished removes what a crash left of a snapshot. Call it while none is being written.
func removeUnfinished(dir string) error {
	unfinished, err := filepath.Glob(filepath.Join(dir, snapshotPrefix+"*.tmp"))
	for _, path := range unfinished {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// errRestore says that a snapshot was whole and yet the machine didn't take it, so that the machine's state isn't known.
var errRestore = errors.New("the state machine doesn't take the snapshot")

// readSnapshot checks the whole file before the machine sees any of it. A file that is damaged, or belongs to another
// log, is ErrDamaged.
func readSnapshot(path string, stream nodeID, restore func(io.Reader) error) (state, error) {
	f, err := os.Open(path)
	if err != nil {
		return state{}, err
	}
	defer f.Close()
	size, err := checkSnapshot(f)
	if err != nil {
		return state{}, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return state{}, err
	}
	r := bufio.NewReaderSize(io.LimitReader(f, size), snapshotBuffer)
	s, err := readSnapshotHead(r, stream)
	if err != nil {
		return state{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := restore(r); err != nil {
		return state{}, fmt.Errorf("%s: %w: %w", path, errRestore, err)
	}
	return s, nil
}

// checkSnapshot returns how many bytes the sum at the end is of.
func checkSnapshot(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size() - crc32.Size
	if size < int64(len(snapshotMagic)) {
		return 0, damaged("%d bytes are too short for a snapshot", info.Size())
	}
	var sum hash.Hash32 = crc32.New(castagnoli)
	if _, err := io.CopyBuffer(sum, io.LimitReader(f, size), make([]byte, snapshotBuffer)); err != nil {
		return 0, err
	}
	var want uint32
	if err := binary.Read(f, binary.LittleEndian, &want); err != nil {
		return 0, err
	}
	if sum.Sum32() != want {
		return 0, damaged("the checksum of the snapshot is %08x, not %08x", sum.Sum32(), want)
	}
	return size, nil
}

func readSnapshotHead(r io.Reader, stream nodeID) (state, error) {
	var head [len(snapshotMagic) + len(stream)]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return state{}, damaged("the snapshot ends early")
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return state{}, damaged("this is no snapshot that this program can read")
	}
	if nodeID(head[len(snapshotMagic):]) != stream {
		return state{}, damaged("the snapshot belongs to another log")
	}
	return readState(r)
}
