package jobs

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// Bounds of the state machine. Nodes that are to agree need the same.
const (
	MaxName    = 256      // bytes of a queue, a tenant, an owner, the name of a blob
	MaxPayload = 32 << 10 // bytes of a payload, or of a result's head and body together
	MaxError   = 1 << 10  // bytes of a result's error
	MaxQueued  = 5_000_000
	MaxJobs    = 16 << 20 // queued, running, done and failed
	MaxKeys    = 16 << 20 // idempotency keys of the last [KeyTTL]
	MaxWeight  = 1000
	MaxSpan    = 366 * 24 * time.Hour // of a timeout, a deadline and the time that a result is kept

	KeyTTL   = 24 * time.Hour     // how long an idempotency key is remembered
	KeepDead = 7 * 24 * time.Hour // how long a job that failed is kept
)

// What [Spec.Complete] puts in place of zero.
const (
	DefaultAttempts   = 10
	DefaultTimeout    = time.Minute
	DefaultKeepResult = 24 * time.Hour
)

// A Spec says what a job is.
type Spec struct {
	ID     ID     // the zero ID: one is drawn
	Queue  string // which handler runs it
	Tenant string // whom the order is fair to
	Owner  string // who may ask for it

	// Key is an idempotency key of the owner in the queue, "" none. For KeyTTL a job with the same key and fingerprint is the same job; one with
	// another fingerprint is refused.
	Key         string
	Fingerprint uint64

	// Ordered jobs of a tenant in a queue run one after the other, in the order in which they were accepted: the next begins when the one before
	// is done or has failed.
	Ordered bool

	// Weight is the tenant's share of the queue in relation to others', 1 to MaxWeight; 0 is 1. The one of the last accepted job counts.
	Weight int

	Payload  []byte // what the handler needs, MaxPayload at most; kept in a file, not in memory
	Blob     string // name of a large body in the store of blobs, "" none
	BlobSize int64

	MaxAttempts uint16        // 0: DefaultAttempts
	Timeout     time.Duration // of an attempt; 0: DefaultTimeout
	Deadline    time.Duration // after acceptance no attempt starts later; 0: none
	KeepResult  time.Duration // a job that is done is remembered this long; 0: DefaultKeepResult
}

// Complete fills in what is zero and reports what no job may be. now is for the ID.
func (s *Spec) Complete(now time.Time) error {
	if s.ID.IsZero() {
		s.ID = NewID(now)
	}
	s.Weight = cmp.Or(s.Weight, 1)
	s.MaxAttempts = cmp.Or(s.MaxAttempts, DefaultAttempts)
	s.Timeout = cmp.Or(s.Timeout, DefaultTimeout)
	s.KeepResult = cmp.Or(s.KeepResult, DefaultKeepResult)
	return s.check()
}

func (s *Spec) check() error {
	for _, n := range []struct{ what, name string }{{"queue", s.Queue}, {"tenant", s.Tenant}, {"owner", s.Owner}, {"blob", s.Blob}} {
		if len(n.name) > MaxName {
			return fmt.Errorf("the name of the job's %s has %d bytes, at most %d", n.what, len(n.name), MaxName)
		}
	}
	switch {
	case s.Queue == "":
		return errors.New("the job has no queue")
	case len(s.Payload) > MaxPayload:
		return fmt.Errorf("the job's payload has %d bytes, at most %d: larger ones are blobs", len(s.Payload), MaxPayload)
	case s.BlobSize < 0 || s.Blob == "" && s.BlobSize != 0:
		return fmt.Errorf("a blob %q of %d bytes", s.Blob, s.BlobSize)
	case s.Weight < 1 || s.Weight > MaxWeight:
		return fmt.Errorf("a weight of %d: want 1 to %d", s.Weight, MaxWeight)
	}
	for _, span := range []time.Duration{s.Timeout, s.Deadline, s.KeepResult} {
		if span < 0 || span > MaxSpan {
			return fmt.Errorf("a time of %v: want 0 to %v", span, MaxSpan)
		}
	}
	return nil
}

// keyDigest is what the log has of an idempotency key: 128 bits of its SHA-256 with its scope, so that nobody can make two that collide.
func (s *Spec) keyDigest() [16]byte {
	var buf []byte
	for _, part := range []string{s.Queue, s.Owner, s.Key} {
		buf = binary.AppendUvarint(buf, uint64(len(part)))
		buf = append(buf, part...)
	}
	sum := sha256.Sum256(buf)
	return [16]byte(sum[:16])
}

// millis rounds up, so that what isn't nothing stays.
func millis(d time.Duration) uint64 {
	if d > math.MaxInt64-time.Millisecond {
		return uint64(d / time.Millisecond)
	}
	return uint64((d + time.Millisecond - 1) / time.Millisecond)
}
