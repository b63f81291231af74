package window

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// maxFile bounds the files that Load reads into memory.
const maxFile = 1 << 30

// A SetAsideError reports a file that held no snapshot, and where it is now. It unwraps to why: [ErrForeign],
// [ErrNewer], [ErrTruncated] or [ErrDamaged].
type SetAsideError struct {
	Path string // where the file was
	To   string // where it is now
	Err  error
}

func (e *SetAsideError) Error() string {
	return fmt.Sprintf("%s: %v; set aside as %s", e.Path, e.Err, e.To)
}

func (e *SetAsideError) Unwrap() error { return e.Err }

// Save writes a [Snapshot] or [TableSnapshot] to the file at path, so that a crash at any moment leaves the file as it was
// or as it is to be: it writes path.tmp, syncs it, renames it to path and syncs the directory. When it returns nil the
// snapshot is on disk. Only its owner may read the file. There must be one writer at a time.
func Save(path string, snapshot encoding.BinaryMarshaler) error {
	data, err := snapshot.MarshalBinary()
	if err != nil {
		return fmt.Errorf("saving %s: %w", path, err)
	}
	if len(data) > maxFile {
		return fmt.Errorf("saving %s: %w: %d bytes, more than %d", path, errTooLarge, len(data), maxFile)
	}
	temporary := path + ".tmp" // always the same, so that crashes do not litter
	if err := writeSynced(temporary, data); err != nil {
		return fmt.Errorf("saving %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("saving %s: %w", path, err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("saving %s: %w", path, err)
	}
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes a rename in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Load reads a [Snapshot] or [TableSnapshot] from the file at path. If there is no such file, the snapshot stays as it
// is, empty, and Load returns nil. A file that holds no snapshot of that kind is renamed to path.damaged-TIME, or
// path.damaged-TIME-2 and so on if that exists, and reported by a [*SetAsideError]: the caller may start empty, and
// nothing is lost. Any other error (no permission, a directory in its place) leaves the file where it is.
func Load(path string, snapshot encoding.BinaryUnmarshaler) error {
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = snapshot.UnmarshalBinary(data)
	}
	if err == nil {
		return nil
	}
	if !isUnusable(err) {
		return fmt.Errorf("loading %s: %w", path, err)
	}
	to, asideErr := setAside(path, time.Now())
	if asideErr != nil {
		return fmt.Errorf("loading %s: %w; cannot set it aside: %w", path, err, asideErr)
	}
	return &SetAsideError{Path: path, To: to, Err: err}
}

// isUnusable reports whether err says that the bytes were read, and are no snapshot.
func isUnusable(err error) bool {
	for _, reason := range []error{ErrForeign, ErrNewer, ErrTruncated, ErrDamaged} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// readFile reads a regular file that is not absurdly large.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrForeign, maxFile)
	}
	return data, err
}

// setAside renames path to a name that does not exist, and returns the name.
func setAside(path string, now time.Time) (string, error) {
	base := path + ".damaged-" + now.UTC().Format("20060102T150405Z")
	for i, to := 2, base; ; i, to = i+1, fmt.Sprintf("%s-%d", base, i) {
		// A rename replaces what is there, so take the name first: only one can create a file.
		f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) && i < 1000 {
			continue
		}
		if err != nil {
			return "", err
		}
		return to, errors.Join(f.Close(), os.Rename(path, to), syncDir(filepath.Dir(path)))
	}
}
