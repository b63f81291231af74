package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/sluicegate/sluice/internal/journal"
)

// journalBlobs are the large values beside a journal as jobs see them.
type journalBlobs struct{ *journal.Blobs }

// JournalBlobs keeps the blobs of jobs beside the journals of a broker, as safely as commands are kept.
func JournalBlobs(b *journal.Blobs) Blobs { return journalBlobs{b} }

// Put implements Blobs.
func (b journalBlobs) Put(ctx context.Context, name string, r io.Reader, max int64) (int64, error) {
	n, err := b.Blobs.Put(ctx, name, r, max)
	if errors.Is(err, journal.ErrBlobTooLarge) {
		err = fmt.Errorf("%w: %w", ErrBlobTooLarge, err)
	}
	return n, err
}

// Open implements Blobs.
func (b journalBlobs) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := b.Blobs.Open(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrNoBlob, err)
	}
	return r, err
}

// List implements Blobs.
func (b journalBlobs) List(ctx context.Context) ([]BlobInfo, error) {
	all, err := b.Blobs.List(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]BlobInfo, len(all))
	for i, info := range all {
		list[i] = BlobInfo{Name: info.Name, Size: info.Size, Modified: info.Time}
	}
	return list, nil
}
