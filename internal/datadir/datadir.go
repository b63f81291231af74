// Package datadir is the directory that a process keeps its state in. It belongs to one process at a time, and gives the
// node an identity that survives a restart, just as the state does.
package datadir

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Files of the directory that are its own.
const (
	lockFile = "lock"
	idFile   = "node-id"
)

// ErrInUse is wrapped by the error of Open when another process has the directory.
var ErrInUse = errors.New("in use by another process")

// Dir is a directory that is locked for this process. Make one with Open. Its methods are safe for concurrent use.
type Dir struct {
	path string
	id   string
	lock *os.File
}

// Open makes the directory at path if there is none, readable by its owner alone, and locks it. The lock ends with the
// process however that ends; it is advisory, so it keeps out those who ask. It returns an error that wraps [ErrInUse] if
// another process has the directory, and one that wraps [errors.ErrUnsupported] on systems without such locks.
func Open(path string) (*Dir, error) {
	d, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	return d, nil
}

func open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	d := &Dir{path: path}
	var err error
	if d.lock, err = lock(d.Path(lockFile)); err != nil {
		return nil, err
	}
	if d.id, err = nodeID(d.Path(idFile)); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Path returns the path of a file in the directory.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// ID returns what names this node among others, 32 hexadecimal digits. It was drawn at random when the directory was new.
func (d *Dir) ID() string { return d.id }

// Close gives the directory up.
func (d *Dir) Close() error { return errors.Join(unlock(d.lock), d.lock.Close()) }

// lock locks the file at path and writes the process's number into it, for people.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := tryLock(f); err != nil {
		defer f.Close()
		if errors.Is(err, ErrInUse) {
			return nil, fmt.Errorf("%s is %w%s", filepath.Dir(path), err, holder(f))
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	if err := writePID(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder says who has the lock, "" if that is not known.
func holder(f *os.File) string {
	var buf [16]byte
	n, _ := f.ReadAt(buf[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}

// NewID draws a name for a node that keeps nothing.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// nodeID reads the name of the node, or draws one and writes it.
func nodeID(path string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id := NewID()
		return id, write(path, id+"\n")
	}
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(data))
	if b, err := hex.DecodeString(id); err != nil || len(b) != 16 {
		return "", fmt.Errorf("%s does not hold 32 hexadecimal digits: remove it, and the node gets a new name", path)
	}
	return id, nil
}

// write makes a file appear as a whole, or not at all.
func write(path, text string) error {
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
