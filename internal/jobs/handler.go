package jobs

import (
	"context"
	"io"
	"time"
)

// A Handler does the work of a queue.
type Handler interface {
	// Run makes one attempt. ctx ends with the job's timeout, when the service closes, and when another node may have taken the job over; what
	// is returned then changes nothing. A panic is a Retry with its text.
	Run(ctx context.Context, c *Claim) Result
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, c *Claim) Result

// Run implements Handler.
func (f HandlerFunc) Run(ctx context.Context, c *Claim) Result { return f(ctx, c) }

// Verdict is what is to become of a job after an attempt.
type Verdict uint8

// Verdicts of a handler.
const (
	Succeed Verdict = 1 + iota // the job is done
	Retry                      // try again later, if attempts are left and the deadline allows it; else it fails
	Fail                       // it fails, for good
	Abandon                    // it was not begun: queued again in front of the others, the attempt not counted
)

// Result is what an attempt came to. The zero value is a Retry.
type Result struct {
	Verdict Verdict
	Status  int    // the upstream's, 0 none
	Error   string // what went wrong, for people; the first MaxError bytes are kept

	// Head and Body are kept with the job. Together they are in the log up to MaxPayload bytes; beyond it the body goes to the store of blobs.
	// A handler that has put it there itself says where.
	Head, Body []byte
	Blob       string
	BlobSize   int64

	// After is how long to wait before the next attempt of a Retry; 0: exponential in the attempts, with jitter.
	After time.Duration
}

// Payload returns the job's payload.
func (c *Claim) Payload() ([]byte, error) { return c.service.payload(c.ID) }

// Body opens the job's blob. Close it.
func (c *Claim) Body(ctx context.Context) (io.ReadCloser, error) {
	return c.service.blobs.Open(ctx, c.Blob)
}
