package journal

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	blobChunk   = 128 << 10       // bytes of one message
	blobTimeout = 5 * time.Second // for one message to be stored or read
	blobName    = 256             // bytes of the longest name

	// blobAbandoned is after how long without a further byte a blob that isn't whole is taken for one whose author died.
	blobAbandoned = time.Hour
)

// ErrBlobTooLarge says that a value is longer than its writer allowed.
var ErrBlobTooLarge = errors.New("the value is larger than allowed")

// Blobs keeps values that are too large for commands, beside the journals of a broker: each under a name that is used once, in chunks of 128 KiB on
// a stream of their own. One chunk of each reader and writer is in memory. Its methods are safe for concurrent use.
//
// JetStream's own object store isn't used: it has up to 4000 chunks of a writer under way, and what a writer that dies leaves there is seen by
// nobody and never removed.
//
// A blob is there when its last message is, which tells its length, the number of its chunks and their SHA-256. Errors wrap [ErrUnavailable] when
// the broker can't be reached or has no room; a call that failed may be repeated under another name.
type Blobs struct {
	broker *Broker
	name   string

	mu     sync.Mutex // guards what follows
	js     jetstream.JetStream
	stream jetstream.Stream // as js sees it
}

// BlobInfo describes a blob.
type BlobInfo struct {
	Name string
	Size int64     // in bytes
	Time time.Time // when it was complete, by the clock of the server
}

// OpenBlobs finds or makes the stream of the blobs called name: letters, digits, "-" and "_". It waits until ctx ends for a broker that isn't
// there. With an embedded broker, what writers of an earlier process left unfinished is removed.
func OpenBlobs(ctx context.Context, broker *Broker, name string) (*Blobs, error) {
	if err := (&Config{Name: name}).complete(); err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	b := &Blobs{broker: broker, name: name}
	for {
		err := b.create(ctx)
		if err == nil {
			return b, nil
		}
		if !temporary(err) {
			return nil, b.wrap(err)
		}
		if ended := pause(ctx, 100*time.Millisecond); ended != nil {
			return nil, fmt.Errorf("%w: %w", ended, b.wrap(err))
		}
	}
}

func (b *Blobs) streamName() string     { return "SLUICE_" + b.name + "_blobs" }
func (b *Blobs) subject() string        { return "sluice.blobs." + b.name }
func (b *Blobs) ends() string           { return b.subject() + ".end." }
func (b *Blobs) end(name string) string { return b.ends() + encodeBlob(name) }
func (b *Blobs) chunks(name, part string) string {
	return b.subject() + ".chunk." + encodeBlob(name) + "." + part
}

// encodeBlob makes a name a word of a subject.
func encodeBlob(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

func (b *Blobs) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("blobs %s: %w", b.name, err)
}

// create makes sure that there is a stream, and that nothing unfinished of an embedded one's earlier processes is in it.
func (b *Blobs) create(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // a cluster that elects a leader doesn't answer
	defer cancel()
	if err := b.broker.fit(); err != nil {
		return err
	}
	replicas, err := b.broker.replicas()
	if err != nil {
		return err
	}
	_, err = b.broker.stream().CreateStream(ctx, jetstream.StreamConfig{
		Name: b.streamName(), Subjects: []string{b.subject() + ".>"}, Description: "large values of " + b.name,
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		Replicas: replicas, Duplicates: 100 * time.Millisecond, // the least; it isn't used
	})
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return err
	}
	if b.broker.embedded() { // nobody else writes
		return b.sweep(ctx, 0)
	}
	return nil
}

// handle returns the stream, through the connection of this moment.
func (b *Blobs) handle(ctx context.Context) (jetstream.Stream, error) {
	js := b.broker.stream()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.js == js {
		return b.stream, nil
	}
	s, err := js.Stream(ctx, b.streamName())
	if err != nil {
		return nil, err
	}
	b.js, b.stream = js, s
	return s, nil
}

// failed wraps an error of the broker's, and gives the broker the chance to recover.
func (b *Blobs) failed(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(err, b.broker.repair(err, errors.Is(err, context.DeadlineExceeded))))
}

// blobEnd is the last message of a blob.
type blobEnd struct {
	Version byte
	Part    [26]byte // names the chunks
	First   uint64   // sequence of the first chunk
	Chunks  uint32
	Size    uint64
	Sum     [sha256.Size]byte
}

const blobVersion = 1

func (e *blobEnd) marshal() []byte {
	data, err := binary.Append(nil, binary.LittleEndian, e)
	if err != nil {
		panic(err) // it has a fixed size
	}
	return data
}

func parseBlobEnd(data []byte) (e blobEnd, err error) {
	if n, err := binary.Decode(data, binary.LittleEndian, &e); err != nil || n != len(data) || e.Version != blobVersion {
		return e, damaged("the end of the blob isn't one that this program can read")
	}
	return e, nil
}

// Put stores what r has to say under name, at most max bytes, and returns when it is stored as safely as commands are: embedded, synced to disk.
// If it fails, nothing is visible and what was stored is removed, if necessary later. The error is ErrBlobTooLarge if r has more, that of r, one that
// wraps fs.ErrExist if there is such a blob, or ErrUnavailable.
func (b *Blobs) Put(ctx context.Context, name string, r io.Reader, max int64) (size int64, err error) {
	if name == "" || len(name) > blobName {
		return 0, b.wrap(fmt.Errorf("a name of %d bytes: want 1 to %d", len(name), blobName))
	}
	e := blobEnd{Version: blobVersion}
	copy(e.Part[:], rand.Text())
	chunks := b.chunks(name, string(e.Part[:]))
	if err = b.putChunks(ctx, chunks, &e, r, max); err == nil {
		err = b.check(ctx, chunks, &e)
	}
	if err == nil {
		err = b.putEnd(ctx, name, &e)
	}
	if err != nil {
		b.remove(ctx, chunks)
		return 0, b.wrap(fmt.Errorf("putting %q: %w", name, err))
	}
	return int64(e.Size), nil
}

// putChunks stores one chunk after the other, and fills in what they amount to.
func (b *Blobs) putChunks(ctx context.Context, subject string, e *blobEnd, r io.Reader, max int64) error {
	sum := sha256.New()
	chunk := make([]byte, blobChunk)
	for {
		n, end := readFull(r, chunk)
		if end != nil && end != io.EOF {
			return end
		}
		if e.Size += uint64(n); e.Size > uint64(max) {
			return fmt.Errorf("%w: at most %d bytes", ErrBlobTooLarge, max)
		}
		if n > 0 {
			sum.Write(chunk[:n])
			seq, err := b.publish(ctx, subject, chunk[:n])
			if err != nil {
				return err
			}
			if e.Chunks++; e.Chunks == 1 {
				e.First = seq
			}
		}
		if end != nil {
			sum.Sum(e.Sum[:0])
			return nil
		}
	}
}

// check makes sure that the first chunks are there still when the last one is: a writer that stood still for long is taken for dead.
func (b *Blobs) check(ctx context.Context, subject string, e *blobEnd) error {
	ctx, cancel := context.WithTimeout(ctx, blobTimeout)
	defer cancel()
	s, err := b.handle(ctx)
	if err != nil {
		return b.failed(err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return b.failed(err)
	}
	if n := info.State.Subjects[subject]; n != uint64(e.Chunks) {
		return fmt.Errorf("%w: %d of its %d chunks are there: the others were removed while it was written", ErrUnavailable, n, e.Chunks)
	}
	return nil
}

// readFull is io.ReadFull, but for the error of a reader that ends: io.EOF, also after some bytes. So one that breaks off with
// io.ErrUnexpectedEOF isn't taken for one that ends.
func readFull(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = r.Read(p[n:])
		n += more
	}
	return n, err
}

// putEnd makes the blob visible.
func (b *Blobs) putEnd(ctx context.Context, name string, e *blobEnd) error {
	_, err := b.publish(ctx, b.end(name), e.marshal(), jetstream.WithExpectLastSequencePerSubject(0))
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return fs.ErrExist
	}
	return err
}

// publish stores one message, which it sends once: what comes of a lost reply is of no use to anybody.
func (b *Blobs) publish(ctx context.Context, subject string, data []byte, options ...jetstream.PublishOpt) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, blobTimeout)
	defer cancel()
	ack, err := b.broker.stream().Publish(ctx, subject, data, append(options, jetstream.WithRetryAttempts(0))...)
	if err != nil {
		return 0, b.failed(err)
	}
	return ack.Sequence, nil
}

// remove forgets the messages of a subject, whether or not ctx has ended. What it can't is removed by a sweep.
func (b *Blobs) remove(ctx context.Context, subject string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), blobTimeout)
	defer cancel()
	s, err := b.handle(ctx)
	if err != nil {
		return b.failed(err)
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
		return b.failed(err)
	}
	return nil
}

// Delete removes a blob. One that isn't there is removed already.
func (b *Blobs) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.remove(ctx, b.end(name)); err != nil { // first, so that none is seen without its chunks
		return b.wrap(err)
	}
	return b.wrap(b.remove(ctx, b.chunks(name, "*")))
}
