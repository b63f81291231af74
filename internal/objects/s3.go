package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3 is a [Store] in a bucket of an S3-compatible service: the object abc… is named prefix + abc…. Any number of processes may use one prefix. A
// bucket that keeps versions keeps what is deleted. Make one with DialS3.
type S3 struct {
	client         minio.Core
	bucket, prefix string
	transport      http.RoundTripper
	buffers        chan []byte // each of partSize, or nil until it is used; holding one is the right to an upload that needs it
}

var _ Store = (*S3)(nil)

// Bounds of one exchange with the service.
const (
	s3Cleanup = 10 * time.Second // of removing what failed
	s3Answer  = time.Minute      // until the service starts to answer what was sent to it
	s3Conns   = 256              // idle ones that are kept
	s3Idle    = 20 * time.Second // less than services wait: what is streamed can't be sent again on another connection
)

// DialS3 makes a store. Nothing is sent until it is used; [S3.Check] says whether it can be.
func DialS3(c S3Config) (*S3, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("S3: %w", err)
	}
	s := &S3{bucket: c.Bucket, prefix: c.Prefix, transport: c.Transport, buffers: make(chan []byte, maxParts)}
	for range maxParts {
		s.buffers <- nil
	}
	if s.transport == nil {
		t, err := minio.DefaultTransport(!c.Plain)
		if err != nil {
			return nil, fmt.Errorf("S3: %w", err)
		}
		t.MaxIdleConns, t.MaxIdleConnsPerHost, t.IdleConnTimeout, t.ResponseHeaderTimeout = s3Conns, s3Conns, s3Idle, s3Answer
		s.transport = t
	}
	client, err := minio.New(c.Endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(c.AccessKey, c.SecretKey, c.SessionID), Secure: !c.Plain, Region: c.Region,
		BucketLookup: lookup(c.Style), Transport: s.transport, MaxRetries: 1, // see again
	})
	if err != nil {
		return nil, fmt.Errorf("S3: %w", err)
	}
	s.client = minio.Core{Client: client}
	return s, nil
}

func lookup(style Style) minio.BucketLookupType {
	switch style {
	case StylePath:
		return minio.BucketLookupPath
	case StyleDomain:
		return minio.BucketLookupDNS
	default:
		return minio.BucketLookupAuto
	}
}

// orKnown wraps the errors of this package that say what the service said. Its client's own text names the bucket and no secret.
func orKnown(err error) error {
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		return err
	}
	switch {
	case r.Code == minio.NoSuchKey:
		return ErrNotFound
	case r.StatusCode == http.StatusInsufficientStorage, r.Code == "XMinioStorageFull", r.Code == "QuotaExceeded":
		return fmt.Errorf("%w: %w", ErrFull, err)
	case r.Code == minio.EntityTooLarge:
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case r.StatusCode == http.StatusRequestedRangeNotSatisfiable, r.Code == minio.InvalidRange:
		return fmt.Errorf("%w: %w", ErrRange, err)
	}
	return err
}

// Stat implements [Store].
func (s *S3) Stat(ctx context.Context, key string) (Info, error) {
	if err := CheckKey(key); err != nil {
		return Info{}, err
	}
	var info minio.ObjectInfo
	err := again(ctx, func() (err error) {
		info, err = s.client.StatObject(ctx, s.bucket, s.prefix+key, minio.StatObjectOptions{})
		return err
	})
	if err != nil {
		return Info{}, fmt.Errorf("S3: %w", orKnown(err))
	}
	return Info{Size: info.Size, Modified: info.LastModified}, nil
}

// Open implements [Store].
func (s *S3) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if offset < 0 || offset > maxObject || length == 0 {
		return s.openNothing(ctx, key, offset)
	}
	var opts minio.GetObjectOptions
	if offset > 0 || length > 0 {
		opts.Set("Range", rangeHeader(offset, length))
	}
	var body io.ReadCloser
	err := again(ctx, func() (err error) {
		body, _, _, err = s.client.GetObject(ctx, s.bucket, s.prefix+key, opts)
		return err
	})
	if err = orKnown(err); errors.Is(err, ErrRange) { // there is no range that holds nothing
		return s.openNothing(ctx, key, offset)
	}
	if err != nil {
		return nil, fmt.Errorf("S3: %w", err)
	}
	return answer{ctx, body}, nil
}

// answer is a body that isn't read on when its context has ended, though some of it has arrived.
type answer struct {
	ctx context.Context
	io.ReadCloser
}

// Read implements [io.Reader].
func (a answer) Read(p []byte) (int, error) {
	if err := context.Cause(a.ctx); err != nil {
		return 0, err
	}
	return a.ReadCloser.Read(p)
}

func rangeHeader(offset, length int64) string {
	if length < 0 || length > maxObject { // all, without numbers that a service might not be able to add
		return fmt.Sprintf("bytes=%d-", offset)
	}
	return fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
}

// openNothing opens no bytes of an object that is there, at an offset that is in it.
func (s *S3) openNothing(ctx context.Context, key string, offset int64) (io.ReadCloser, error) {
	info, err := s.Stat(ctx, key)
	if err == nil {
		_, err = rangeOf(info.Size, offset, 0)
	}
	if err != nil {
		return nil, err
	}
	return http.NoBody, nil
}

// Delete implements [Store].
func (s *S3) Delete(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	return s.remove(ctx, key)
}

func (s *S3) remove(ctx context.Context, name string) error {
	err := again(ctx, func() error {
		return s.client.RemoveObject(ctx, s.bucket, s.prefix+name, minio.RemoveObjectOptions{})
	})
	if err = orKnown(err); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("S3: %w", err)
	}
	return nil
}

// List implements [Store].
func (s *S3) List(ctx context.Context, prefix, after string, limit int) ([]Entry, error) {
	limit, err := checkList(prefix, after, limit)
	if err != nil {
		return nil, err
	}
	var page []Entry
	err = again(ctx, func() (err error) {
		page, err = s.list(ctx, prefix, after, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("S3: %w", orKnown(err))
	}
	return page, nil
}

func (s *S3) list(ctx context.Context, prefix, after string, limit int) ([]Entry, error) {
	opts := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true, MaxKeys: limit}
	if after != "" {
		opts.StartAfter = s.prefix + after
	}
	var page []Entry
	for o := range s.client.ListObjectsIter(ctx, s.bucket, opts) {
		if o.Err != nil {
			return nil, o.Err
		}
		key := strings.TrimPrefix(o.Key, s.prefix)
		if CheckKey(key) != nil || key <= after { // somebody else's, or a service that doesn't know where to start
			continue
		}
		page = append(page, Entry{Key: key, Size: o.Size, Modified: o.LastModified})
		if len(page) == limit {
			break
		}
	}
	return page, context.Cause(ctx)
}

// Close implements [Store].
func (s *S3) Close() error {
	if t, ok := s.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	return nil
}
