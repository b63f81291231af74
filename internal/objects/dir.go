package objects

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// tempPrefix starts the names of files that are being written. No key has a dot.
const tempPrefix = ".tmp-"

// bufferSize is how much content goes to disk at once. SHA-256 takes as long for it as a system call for nothing, a hundred times over.
const bufferSize = 128 << 10

// Dir is a [Store] in a directory: the object abc… is the file ab/abc…. Any number of processes, on any number of machines, may use one directory
// at once, if the file system renames as POSIX says. Make one with OpenDir.
type Dir struct {
	root    *os.Root
	buffers sync.Pool // of *[bufferSize]byte

	mu     sync.Mutex
	shards map[string]bool // guarded by mu; the directories of keys that are known to be on disk, at most 36 times 36
}

var _ Store = (*Dir)(nil)

// OpenDir opens the directory at path, and makes it, for its owner alone, if there is none.
func OpenDir(path string) (*Dir, error) {
	if err := makeDir(path); err != nil {
		return nil, fmt.Errorf("directory of objects: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("directory of objects: %w", err)
	}
	d := &Dir{root: root, shards: map[string]bool{}}
	d.buffers.New = func() any { return new([bufferSize]byte) }
	return d, nil
}

// makeDir makes a directory and those above it that are missing, and syncs the entries of what it made.
func makeDir(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err // OpenRoot finds out whether it is a directory
	}
	parent := filepath.Dir(path)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// fileOf is where a key's content is, a path in the root.
func fileOf(key string) string { return key[:shardLen] + "/" + key }

// Put implements [Store].
func (d *Dir) Put(ctx context.Context, key string, r io.Reader, size, max int64) (Info, error) {
	if err := CheckKey(key); err != nil {
		return Info{}, err
	}
	in, err := newIntake(ctx, r, size, max)
	if err != nil {
		return Info{}, err
	}
	if err := d.put(key, in); err != nil {
		return Info{}, fmt.Errorf("storing an object: %w", orFull(err))
	}
	return in.info(), nil
}

func (d *Dir) put(key string, in *intake) (err error) {
	if err := d.makeShard(key[:shardLen]); err != nil {
		return err
	}
	temp := tempPrefix + rand.Text()
	stored := false
	defer func() {
		if !stored { // also when the reader panics
			d.root.Remove(temp)
		}
	}()
	if err := d.write(temp, in); err != nil {
		return err
	}
	if err := context.Cause(in.ctx); err != nil {
		return err
	}
	if err := d.root.Rename(temp, fileOf(key)); err != nil {
		d.forgetShard(key[:shardLen])
		return err
	}
	stored = true
	return d.sync(key[:shardLen]) // what it fails for stays: another node may have stored the same meanwhile
}

// write makes a synced file of the content.
func (d *Dir) write(name string, in *intake) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := d.buffers.Get().(*[bufferSize]byte)
	defer d.buffers.Put(buf)
	// A File would read by itself, into a buffer of another size.
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, in, buf[:]); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// makeShard makes the directory of a key. It is synced by whoever uses it first in this process, for another process that made it may not have
// come to that yet.
func (d *Dir) makeShard(shard string) error {
	d.mu.Lock()
	known := d.shards[shard]
	d.mu.Unlock()
	if known {
		return nil
	}
	if err := d.root.Mkdir(shard, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.sync("."); err != nil {
		return err
	}
	d.mu.Lock()
	d.shards[shard] = true
	d.mu.Unlock()
	return nil
}

// forgetShard has the directory of a key made again, should somebody have removed it.
func (d *Dir) forgetShard(shard string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.shards, shard)
}

// sync makes the entries of a directory durable.
func (d *Dir) sync(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// orFull wraps ErrFull where there is no room: on the disk, in the user's share of it, or in what a process may write to a file.
func orFull(err error) error {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, full) {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
	return err
}

// stat describes the file of a key.
func (d *Dir) stat(key string) (fs.FileInfo, error) {
	info, err := d.root.Lstat(fileOf(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a file", ErrNotFound, fileOf(key))
	}
	return info, err
}

// Stat implements [Store].
func (d *Dir) Stat(ctx context.Context, key string) (Info, error) {
	if err := d.ready(ctx, key); err != nil {
		return Info{}, err
	}
	info, err := d.stat(key)
	if err != nil {
		return Info{}, err
	}
	return Info{Size: info.Size(), Modified: info.ModTime()}, nil
}

// ready checks what comes with every call about a key.
func (d *Dir) ready(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// Delete implements [Store].
func (d *Dir) Delete(ctx context.Context, key string) error {
	if err := d.ready(ctx, key); err != nil {
		return err
	}
	if err := d.root.Remove(fileOf(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting an object: %w", err)
	}
	// An earlier call may have removed it and not come to this.
	if err := d.sync(key[:shardLen]); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting an object: %w", err)
	}
	return nil
}

// Check implements [Store].
func (d *Dir) Check(ctx context.Context) error {
	in, err := newIntake(ctx, strings.NewReader("?"), 1, 1)
	if err != nil {
		return err
	}
	temp := tempPrefix + rand.Text()
	err = d.write(temp, in)
	if removed := d.root.Remove(temp); !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	if err != nil {
		return fmt.Errorf("the directory of objects can't be written to: %w", orFull(err))
	}
	return nil
}

// Close implements [Store].
func (d *Dir) Close() error { return d.root.Close() }
