package storage

import (
	"context"
	"time"

	"github.com/sluicegate/sluice/internal/quota"
)

// What tests reach beyond the package's API.

// Commands of a State.
var (
	EncodeJobs      = encodeJobs
	EncodeRetry     = encodeRetry
	EncodeSet       = encodeSet
	EncodeReserve   = encodeReserve
	EncodePut       = encodePut
	EncodeRelease   = encodeRelease
	EncodeRemove    = encodeRemove
	EncodeCollected = encodeCollected
)

// A Request is the payload of a job.
type Request struct {
	Blob                 BlobID
	Size                 uint64
	Bucket, Object, File string
}

// Encode returns the payload.
func (q Request) Encode() []byte {
	r := payload{q.Blob, q.Size, q.Bucket, q.Object, q.File}
	return r.encode()
}

// ResultOf is the head of a job's result that stored an entry.
func ResultOf(e *Entry) []byte { return appendEntry(nil, e) }

// Garbage lists what is to be deleted.
func (s *State) Garbage() (all []BlobID) {
	for b := range s.garbage.all() {
		all = append(all, b)
	}
	return all
}

// Entries lists all objects.
func (s *State) Entries() (all []*Entry) {
	for _, e := range s.objects.All() {
		all = append(all, e)
	}
	return all
}

// Bound lowers the bound of a state.
func (s *State) Bound(objects int) { s.maxObjects = objects }

// Now is the latest time of a command.
func (s *State) Now() time.Time { return time.UnixMilli(int64(s.now())) }

// SetMany encodes a change of bytes.
func SetMany(now time.Time, user string, bytes uint64) []byte {
	return encodeSet(now, user, quota.Change{Bytes: &bytes})
}

// Rate is a change of the requests a minute.
func Rate(perMinute uint32) quota.Change { return quota.Change{Rate: &perMinute} }

// KeyOf is what a blob is called in the store.
func KeyOf(id BlobID) string { return keyOf(id) }

// Do appends a command of the jobs.
func (s *Storage) Do(ctx context.Context, cmd []byte) (Reply, error) {
	return s.do(ctx, encodeJobs(cmd))
}

// SweepOnce is one look for blobs that nobody knows of.
var SweepOnce = (*Storage).sweepOnce
