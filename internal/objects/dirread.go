package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// Open implements [Store].
func (d *Dir) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := d.ready(ctx, key); err != nil {
		return nil, err
	}
	if _, err := d.stat(key); err != nil { // to open something else than a file may take forever
		return nil, err
	}
	f, err := d.root.Open(fileOf(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	c, err := newContent(ctx, f, offset, length)
	if err != nil {
		f.Close()
		return nil, err
	}
	return c, nil
}

// content is a range of a file.
type content struct {
	ctx  context.Context
	file *os.File
	left int64
}

func newContent(ctx context.Context, f *os.File, offset, length int64) (*content, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	left, err := rangeOf(info.Size(), offset, length)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	return &content{ctx, f, left}, nil
}

// rangeOf returns how much there is of length bytes from offset on.
func rangeOf(size, offset, length int64) (int64, error) {
	if offset < 0 || offset > size {
		return 0, fmt.Errorf("%w: byte %d of %d", ErrRange, offset, size)
	}
	if left := size - offset; length < 0 || length > left {
		return left, nil
	}
	return length, nil
}

// Read implements [io.Reader].
func (c *content) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.file.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err == io.EOF { // somebody else has cut the file
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements [io.Closer].
func (c *content) Close() error { return c.file.Close() }

// List implements [Store].
func (d *Dir) List(ctx context.Context, prefix, after string, limit int) ([]Entry, error) {
	limit, err := checkList(prefix, after, limit)
	if err != nil {
		return nil, err
	}
	shards, err := d.names(ctx, ".", maxShards, func(name string) bool {
		return len(name) == shardLen && checkChars(name) == nil && name >= start(after) && strings.HasPrefix(name, start(prefix))
	})
	if err != nil {
		return nil, err
	}
	var page []Entry
	for _, shard := range shards {
		if page, err = d.listShard(ctx, page, shard, prefix, after, limit); err != nil || len(page) == limit {
			return page, err
		}
	}
	return page, nil
}

// maxShards is how many directories there are for keys.
const maxShards = 36 * 36

// start is what a beginning of a key says about its directory.
func start(s string) string { return s[:min(len(s), shardLen)] }

// listShard appends what a directory of keys has to a page.
func (d *Dir) listShard(ctx context.Context, page []Entry, shard, prefix, after string, limit int) ([]Entry, error) {
	for {
		want := limit - len(page)
		keys, err := d.names(ctx, shard, want, func(name string) bool {
			return strings.HasPrefix(name, prefix) && name > after && CheckKey(name) == nil && name[:shardLen] == shard
		})
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			info, err := d.stat(key)
			if errors.Is(err, ErrNotFound) { // deleted meanwhile
				continue
			}
			if err != nil {
				return nil, err
			}
			page = append(page, Entry{Key: key, Size: info.Size(), Modified: info.ModTime()})
		}
		if len(keys) < want || len(page) == limit {
			return page, nil
		}
		after = keys[len(keys)-1] // some were gone: a page that isn't full would say that it is the last
	}
}

// nameBatch is how many names are read from a directory at once.
const nameBatch = 1024

// names returns the lowest names in a directory that are wanted, at most limit, in order. It holds a few times as many of them, however many there are.
func (d *Dir) names(ctx context.Context, dir string, limit int, wanted func(string) bool) ([]string, error) {
	var found []string
	err := d.each(ctx, dir, func(name string) error {
		if wanted(name) {
			found = append(found, name)
		}
		if len(found) >= 2*limit+nameBatch {
			slices.Sort(found)
			found = found[:limit]
		}
		return nil
	})
	slices.Sort(found)
	return found[:min(len(found), limit)], err
}

// each calls visit for every name in a directory. One that isn't there is empty.
func (d *Dir) each(ctx context.Context, dir string, visit func(name string) error) error {
	f, err := d.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		names, err := f.Readdirnames(nameBatch)
		for _, name := range names {
			if err := visit(name); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Sweep implements [Store].
func (d *Dir) Sweep(ctx context.Context, olderThan time.Duration) (int, error) {
	limit, n := time.Now().Add(-olderThan), 0
	err := d.each(ctx, ".", func(name string) error {
		if !strings.HasPrefix(name, tempPrefix) {
			return nil
		}
		info, err := d.root.Lstat(name)
		if err == nil && info.ModTime().Before(limit) {
			if err = d.root.Remove(name); err == nil {
				n++
			}
		}
		if errors.Is(err, fs.ErrNotExist) { // its upload has ended
			return nil
		}
		return err
	})
	if err != nil {
		return n, fmt.Errorf("removing what cut-off uploads left: %w", err)
	}
	return n, nil
}
