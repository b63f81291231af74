//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package counter

import (
	"errors"
	"io/fs"
	"os"
)

// A fileLock is a file that is there while a process uses the state. On these systems it stays behind when a process is
// killed, and has to be removed by hand.
type fileLock struct {
	file *os.File
	path string
}

// lockFile makes the file. It returns an error that wraps [ErrInUse] if it is there already.
func lockFile(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, errors.Join(ErrInUse, errors.New("if none does, remove "+path))
	}
	if err != nil {
		return nil, err
	}
	return &fileLock{f, path}, nil
}

func (l *fileLock) release() error { return errors.Join(l.file.Close(), os.Remove(l.path)) }
