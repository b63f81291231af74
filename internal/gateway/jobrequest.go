package gateway

import (
	"bytes"
	"context"
	"io"

	"github.com/sluicegate/sluice/internal/jobs"
)

// JobRequest is what a job keeps of a client's request.
type JobRequest struct {
	Method, Target, Host string
	ContentType          string
	Bytes                int64 // of the body

	inline []byte
	blob   string
	blobs  jobs.Blobs
}

// JobRequest returns what a job that isn't done keeps, or jobs.ErrNotFound. Only where there are jobs.
func (g *Gateway) JobRequest(ctx context.Context, id jobs.ID) (*JobRequest, error) {
	payload, err := g.jobs.Service.Payload(ctx, id)
	if err != nil {
		return nil, err
	}
	kept, err := parseKept(payload)
	if err != nil {
		return nil, err
	}
	blob, size, err := g.jobs.Service.Blob(ctx, id)
	if err != nil {
		return nil, err
	}
	r := &JobRequest{
		Method: string(kept.head.Method), Target: string(kept.head.Target), Host: string(kept.head.Host), Bytes: int64(len(kept.body)), inline: kept.body,
		blobs: g.jobs.Blobs,
	}
	if blob != "" {
		r.blob, r.Bytes = blob, size
	}
	if kind, ok := kept.head.Get("content-type"); ok {
		r.ContentType = string(kind)
	}
	return r, nil
}

// Body opens the body. Close it.
func (r *JobRequest) Body(ctx context.Context) (io.ReadCloser, error) {
	if r.blob != "" {
		return r.blobs.Open(ctx, r.blob)
	}
	return io.NopCloser(bytes.NewReader(r.inline)), nil
}
