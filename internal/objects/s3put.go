package objects

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// Bounds of an upload. What is small is held in memory: it can be sent again, and the service checks its sum. Other content of a known size is one
// request, streamed, up to what S3 allows for one. All else is cut into parts, whose length must be known before they are sent, so each is held.
const (
	maxHeld   = 64 << 10
	maxSingle = 5 << 30
	partSize  = 8 << 20
	maxParts  = 16                // buffers of one store
	maxObject = 10_000 * partSize // S3 takes 10,000 parts
)

// Put implements [Store].
func (s *S3) Put(ctx context.Context, key string, r io.Reader, size, max int64) (Info, error) {
	if err := CheckKey(key); err != nil {
		return Info{}, err
	}
	if max < 0 || max > maxObject {
		max = maxObject
	}
	in, err := newIntake(ctx, r, size, max)
	if err != nil {
		return Info{}, err
	}
	switch {
	case size >= 0 && size <= maxHeld:
		err = s.putSmall(ctx, key, in, size)
	case size >= 0 && size <= maxSingle:
		err = s.putStream(ctx, key, in, size)
	default:
		err = s.putParts(ctx, key, in)
	}
	in.stop()
	if err == nil && !in.complete() {
		err = errors.New("the service did not take all of it")
	}
	if err != nil {
		return Info{}, failed(ctx, in, err)
	}
	return in.info(), nil
}

// putStream stores content of a known size with one request. If it breaks off, the service has less than was announced, and keeps nothing.
func (s *S3) putStream(ctx context.Context, key string, in *intake, size int64) error {
	_, err := s.client.Client.PutObject(ctx, s.bucket, s.prefix+key, in, size, minio.PutObjectOptions{DisableMultipart: true})
	return err
}

// putSmall reads content first.
func (s *S3) putSmall(ctx context.Context, key string, in *intake, size int64) error {
	data := make([]byte, size)
	if _, err := io.ReadFull(in, data); err != nil {
		return err
	}
	return s.putHeld(ctx, key, data)
}

// putHeld stores what is in memory. The client's own way to do it would, without TLS, send no length for nothing.
func (s *S3) putHeld(ctx context.Context, name string, data []byte) error {
	return again(ctx, func() error {
		r := &held{data: data}
		defer r.stop()
		_, err := s.client.PutObject(ctx, s.bucket, s.prefix+name, r, int64(len(data)), "", hexSum(data),
			minio.PutObjectOptions{DisableContentSha256: true})
		return err
	})
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// failed says why an upload failed. If the service had all of it, it may have stored it without our hearing of it. That is not removed: another node
// may have stored the same under the same key since, and have been told that it did.
func failed(ctx context.Context, in *intake, err error) error {
	if cause := in.failure(); cause != nil {
		err = cause // and not what became of the connection because of it
	} else if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("storing an object in S3: %w", orKnown(err))
}

// putParts stores content part by part; what fits into one is stored as a whole.
func (s *S3) putParts(ctx context.Context, key string, in *intake) error {
	buf, err := s.buffer(ctx)
	if err != nil {
		return err
	}
	defer func() { s.buffers <- buf }()
	n, err := io.ReadFull(in, buf)
	switch {
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return s.putHeld(ctx, key, buf[:n])
	case err != nil:
		return err
	}
	upload, err := s.client.NewMultipartUpload(ctx, s.bucket, s.prefix+key, minio.PutObjectOptions{})
	if err != nil {
		return err
	}
	parts, err := s.sendParts(ctx, key, upload, in, buf)
	if err == nil {
		err = again(ctx, func() error {
			_, err := s.client.CompleteMultipartUpload(ctx, s.bucket, s.prefix+key, upload, parts, minio.PutObjectOptions{})
			return err
		})
	}
	if err != nil {
		return errors.Join(err, s.abort(ctx, key, upload))
	}
	return nil
}

// sendParts sends buf, which is full, and then what else there is.
func (s *S3) sendParts(ctx context.Context, key, upload string, in *intake, buf []byte) ([]minio.CompletePart, error) {
	var parts []minio.CompletePart
	for n := len(buf); n > 0; {
		part, err := s.sendPart(ctx, key, upload, len(parts)+1, buf[:n])
		if err != nil {
			return nil, err
		}
		parts = append(parts, minio.CompletePart{PartNumber: part.PartNumber, ETag: part.ETag})
		if n, err = io.ReadFull(in, buf); err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, err
		}
	}
	return parts, nil
}

// sendPart has the service check the part against its sum.
func (s *S3) sendPart(ctx context.Context, key, upload string, number int, data []byte) (part minio.ObjectPart, err error) {
	opts := minio.PutObjectPartOptions{Sha256Hex: hexSum(data), DisableContentSha256: true}
	err = again(ctx, func() error {
		r := &held{data: data}
		defer r.stop()
		part, err = s.client.PutObjectPart(ctx, s.bucket, s.prefix+key, upload, number, r, int64(len(data)), opts)
		return err
	})
	return part, err
}

// buffer waits for one.
func (s *S3) buffer(ctx context.Context) ([]byte, error) {
	select {
	case buf := <-s.buffers:
		if buf == nil {
			buf = make([]byte, partSize)
		}
		return buf, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// abort gives the parts of an upload up. There are none if it has been completed after all, or given up already.
func (s *S3) abort(ctx context.Context, name, upload string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s3Cleanup)
	defer cancel()
	err := again(ctx, func() error { return s.client.AbortMultipartUpload(ctx, s.bucket, s.prefix+name, upload) })
	if minio.ToErrorResponse(err).Code == minio.NoSuchUpload {
		return nil
	}
	return err
}

// Sweep implements [Store].
func (s *S3) Sweep(ctx context.Context, olderThan time.Duration) (int, error) {
	limit, n := time.Now().Add(-olderThan), 0
	ctx, cancel := context.WithCancel(ctx) // ends the list when something fails
	defer cancel()
	uploads := s.client.ListIncompleteUploads(ctx, s.bucket, s.prefix, true)
	var failed error
	for u := range uploads {
		if failed != nil { // the list is read to its end, or its goroutine would stay
			continue
		}
		if failed = s.sweepOne(ctx, u, limit, &n); failed != nil {
			cancel()
		}
	}
	if failed != nil {
		return n, fmt.Errorf("removing what cut-off uploads left in S3: %w", failed)
	}
	return n, nil
}

func (s *S3) sweepOne(ctx context.Context, u minio.ObjectMultipartInfo, limit time.Time, n *int) error {
	if minio.ToErrorResponse(u.Err).Code == minio.NoSuchUpload { // some say so where there has never been any
		return nil
	}
	if u.Err != nil {
		return u.Err
	}
	key, ours := strings.CutPrefix(u.Key, s.prefix)
	if !ours || CheckKey(key) != nil || !u.Initiated.Before(limit) {
		return nil
	}
	if err := s.abort(ctx, key, u.UploadID); err != nil {
		return err
	}
	*n++
	return nil
}

// Check implements [Store]. What it writes is no object: its name has a dot.
func (s *S3) Check(ctx context.Context) error {
	name := ".check-" + rand.Text()
	if err := s.putHeld(ctx, name, []byte("?")); err != nil {
		return fmt.Errorf("the S3 service can't be written to: %w", orKnown(err))
	}
	return s.remove(ctx, name)
}
