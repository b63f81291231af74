//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package counter

import (
	"errors"
	"os"
	"syscall"
)

// A fileLock is a lock on a file that the system gives back when the process ends, however it ends.
type fileLock struct{ file *os.File }

// lockFile makes the file if need be and locks it. It returns an error that wraps [ErrInUse] if the file is locked. The file
// is never removed: a process that has opened it and one that makes it anew could both have a lock then.
func lockFile(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			break
		}
	}
	if err == nil {
		return &fileLock{f}, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, ErrInUse
	}
	return nil, &os.PathError{Op: "lock", Path: path, Err: err}
}

// release unlocks before it closes. A process that this one starts at the moment has the open file too, until it runs its own program, and with it
// the lock.
func (l *fileLock) release() error {
	return errors.Join(syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN), l.file.Close())
}
