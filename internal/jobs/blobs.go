package jobs

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrNoBlob is wrapped by the error of [Blobs.Open] for a name that isn't there.
var ErrNoBlob = errors.New("no such blob")

// ErrBlobTooLarge is wrapped by the error of [Blobs.Put] for more bytes than were allowed.
var ErrBlobTooLarge = errors.New("the blob is too large")

// Blobs keeps bodies that are too large for the log, where every node can read them. Names are made of letters, digits, "-", "_" and ".". It holds
// nothing but what jobs refer to: the service deletes the rest. Its methods are safe for concurrent use.
type Blobs interface {
	// Put stores what r has, at most max bytes, and returns how many there were. When it returns without an error the blob is stored for good;
	// with one, or none of it is there or it is deleted later.
	Put(ctx context.Context, name string, r io.Reader, max int64) (size int64, err error)

	// Open returns a blob's bytes; ErrNoBlob, wrapped, if there is none.
	Open(ctx context.Context, name string) (io.ReadCloser, error)

	// Delete deletes a blob. It is no error if there is none.
	Delete(ctx context.Context, name string) error

	// List returns all blobs, in no order.
	List(ctx context.Context) ([]BlobInfo, error)
}

// BlobInfo describes a blob.
type BlobInfo struct {
	Name     string
	Size     int64
	Modified time.Time
}
