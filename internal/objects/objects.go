package objects

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"time"
)

// A Store keeps blobs under keys. Its methods are safe for concurrent use. Every method but Close takes a context whose end stops it; only a
// Read of somebody's reader that is under way is waited for. Errors other than those below are the store's own: the disk, the network, a refusal.
type Store interface {
	// Put stores what r holds under key, in place of what was there. size is how many bytes there must be, -1 if that isn't known, and max
	// how many there may be, -1 for any number. It returns [ErrKey], [ErrSize], [ErrTooLarge], [ErrFull], or an error that wraps what r
	// returned; then what was there before still is. After an error of the store's own it may also be all of what r held: a Put that was not
	// confirmed takes nothing away, for another node may have stored the same, and only Delete makes sure. r isn't read after Put has returned.
	// Of several at once for one key the last one stays, as a whole.
	Put(ctx context.Context, key string, r io.Reader, size, max int64) (Info, error)

	// Open returns length bytes from offset on, to the end of the object if it is shorter or if length is -1. The end of ctx ends reading
	// too, so ctx must outlast it. It returns [ErrKey], [ErrNotFound], or [ErrRange] if offset lies behind the end. Content that ends early
	// is [io.ErrUnexpectedEOF]. What is opened can be read to its end although it is replaced; after a Delete that may fail.
	Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)

	// Stat returns the size of an object and when it was stored. It returns [ErrKey] or [ErrNotFound].
	Stat(ctx context.Context, key string) (Info, error)

	// Delete removes an object for good. Where there is none, nothing is to be done. It returns [ErrKey].
	Delete(ctx context.Context, key string) error

	// List returns objects whose keys start with prefix and are above after, in the order of keys, at most limit of them and at most
	// [MaxList]; 0 stands for MaxList. Fewer than that are the last ones. What is put or deleted meanwhile may or may not be listed. prefix
	// and after are empty or beginnings of keys; otherwise it returns [ErrKey].
	List(ctx context.Context, prefix, after string, limit int) ([]Entry, error)

	// Sweep removes what uploads have left that were cut off by a crash at least olderThan ago, and says how much that was. An upload
	// that is still under way but has stood still for that long is cut off, and fails: a day is a good choice.
	Sweep(ctx context.Context, olderThan time.Duration) (int, error)

	// Check writes something and removes it, and so finds out whether the store can be written to.
	Check(ctx context.Context) error

	// Close gives the store up. What was opened can be read on.
	Close() error
}

// MaxList is how many entries List returns at most.
const MaxList = 1000

// Info is what is known of an object.
type Info struct {
	Size     int64             // in bytes
	SHA256   [sha256.Size]byte // of its content; only Put fills it in
	Modified time.Time         // when it was stored, by the store's clock; only Stat fills it in
}

// Entry is an object in a list.
type Entry struct {
	Key      string
	Size     int64
	Modified time.Time
}

// What a store returns, wrapped.
var (
	// ErrKey says that the key is none of a store.
	ErrKey = errors.New("not a key of an object")

	// ErrNotFound says that there is no such object.
	ErrNotFound = errors.New("no such object")

	// ErrSize says that there were not as many bytes as were announced.
	ErrSize = errors.New("the content has not the size that was announced")

	// ErrTooLarge says that there were more bytes than are allowed, or than the store can take.
	ErrTooLarge = errors.New("the content is too large")

	// ErrFull says that the store has no room left.
	ErrFull = errors.New("the store is full")

	// ErrRange says that a range starts behind the object's end.
	ErrRange = errors.New("the range starts behind the end of the object")
)
