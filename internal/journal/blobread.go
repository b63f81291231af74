package journal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Open returns a reader of a blob, which isn't for concurrent use. ctx bounds the reading, too. It reads the end of what was written only after it
// has checked the sum of all: what is damaged never looks whole. The error wraps fs.ErrNotExist if there is no such blob.
func (b *Blobs) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	data, _, err := b.get(ctx, 0, jetstream.WithGetMsgSubject(b.end(name)))
	if err != nil {
		return nil, b.wrap(fmt.Errorf("opening %q: %w", name, err))
	}
	e, err := parseBlobEnd(data)
	if err != nil {
		return nil, b.wrap(fmt.Errorf("opening %q: %w", name, err))
	}
	return &blobReader{ctx: ctx, blobs: b, name: name, end: e, seq: e.First, sum: sha256.New()}, nil
}

// get returns the first message from seq on that the option selects. It asks again while a cluster elects a leader.
func (b *Blobs) get(ctx context.Context, seq uint64, option jetstream.GetMsgOpt) (data []byte, at uint64, err error) {
	patience, cancel := context.WithTimeout(ctx, 2*blobTimeout)
	defer cancel()
	for {
		m, err := b.tryGet(patience, seq, option)
		switch {
		case err == nil:
			return m.Data, m.Sequence, nil
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return nil, 0, fs.ErrNotExist
		case !temporary(err) || pause(patience, 20*time.Millisecond) != nil:
			return nil, 0, b.failed(cmp.Or(ctx.Err(), err))
		}
	}
}

func (b *Blobs) tryGet(ctx context.Context, seq uint64, option jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, blobTimeout/attempts)
	defer cancel()
	s, err := b.handle(ctx)
	if err != nil {
		return nil, err
	}
	return s.GetMsg(ctx, max(seq, 1), option)
}

// blobReader reads a blob a chunk at a time.
type blobReader struct {
	ctx   context.Context
	blobs *Blobs
	name  string
	end   blobEnd
	seq   uint64 // where the next chunk is looked for
	read  uint32 // chunks
	sum   hash.Hash
	size  uint64
	rest  []byte // of the chunk
	err   error
}

func (r *blobReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.rest) == 0 && r.err == nil {
		if r.read == r.end.Chunks {
			r.err = io.EOF
		} else if err := r.next(); err != nil {
			r.err = r.blobs.wrap(fmt.Errorf("reading %q: %w", r.name, err))
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	if n > 0 {
		return n, nil
	}
	return 0, r.err
}

// next reads a chunk, and with the last checks the sum.
func (r *blobReader) next() error {
	data, seq, err := r.blobs.get(r.ctx, r.seq, jetstream.WithGetMsgSubject(r.blobs.chunks(r.name, string(r.end.Part[:]))))
	if errors.Is(err, fs.ErrNotExist) {
		return damaged("chunk %d of %d is missing, or the blob was deleted meanwhile", r.read+1, r.end.Chunks)
	}
	if err != nil {
		return err
	}
	r.seq = seq + 1
	r.read++
	r.sum.Write(data)
	r.size += uint64(len(data))
	if r.read == r.end.Chunks && (r.size != r.end.Size || [sha256.Size]byte(r.sum.Sum(nil)) != r.end.Sum) {
		return damaged("its %d bytes don't have the sum of the %d that were written", r.size, r.end.Size)
	}
	r.rest = data
	return nil
}

// Close ends the reading.
func (r *blobReader) Close() error {
	r.rest, r.err = nil, fs.ErrClosed
	return nil
}

// List returns all blobs, in the order in which they were complete. It removes those that are not whole and whose writer has been silent for an hour.
func (b *Blobs) List(ctx context.Context) ([]BlobInfo, error) {
	if err := b.sweep(ctx, blobAbandoned); err != nil {
		return nil, b.wrap(err)
	}
	var all []BlobInfo
	err := b.eachEnd(ctx, func(name string, e blobEnd, at time.Time) {
		all = append(all, BlobInfo{Name: name, Size: int64(e.Size), Time: at})
	})
	return all, b.wrap(err)
}

// eachEnd calls f for every blob.
func (b *Blobs) eachEnd(ctx context.Context, f func(name string, e blobEnd, at time.Time)) error {
	s, err := b.handle(ctx)
	if err != nil {
		return b.failed(err)
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{b.ends() + "*"}})
	if err != nil {
		return b.failed(err)
	}
	if info := c.CachedInfo(); info == nil || info.NumPending == 0 {
		return nil
	}
	messages, err := c.Messages()
	if err != nil {
		return b.failed(err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return b.failed(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		name, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(m.Subject(), b.ends()))
		if e, err := parseBlobEnd(m.Data()); err == nil { // another would say so when it is opened
			f(string(name), e, meta.Timestamp)
		}
		if meta.NumPending == 0 {
			return nil
		}
	}
}

// sweep removes chunks that belong to no blob and whose last came longer ago than age.
func (b *Blobs) sweep(ctx context.Context, age time.Duration) error {
	s, err := b.handle(ctx)
	if err != nil {
		return b.failed(err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(b.subject()+".chunk.>")) // first: a blob that is whole by now has its end in what is read below
	if err != nil {
		return b.failed(err)
	}
	loose := info.State.Subjects
	if len(loose) == 0 {
		return nil
	}
	if err := b.eachEnd(ctx, func(name string, e blobEnd, _ time.Time) { delete(loose, b.chunks(name, string(e.Part[:]))) }); err != nil {
		return err
	}
	for subject := range loose {
		last, err := s.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && info.TimeStamp.Sub(last.Time) < age { // both by the servers' clocks
			continue
		}
		if err := errors.Join(err, b.remove(ctx, subject)); err != nil {
			return err
		}
	}
	return nil
}
