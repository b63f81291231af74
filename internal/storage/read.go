package storage

import (
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/quota"
)

// Jobs is the part of the state that is the jobs.
func (s *State) Jobs() *jobs.State { return s.jobs }

// Quotas is the part of the state that is the quotas. It is to be read.
func (s *State) Quotas() *quota.State { return s.quota }

// Get returns an object.
func (s *State) Get(user, bucket, object string) (*Entry, bool) {
	return s.objects.Get(key(user, bucket, object))
}

// List appends up to n objects of a bucket whose ids begin with prefix and come after one, in order, and returns the extended slice.
func (s *State) List(dst []*Entry, user, bucket, prefix, after string, n int) []*Entry {
	if n <= 0 {
		return dst
	}
	from := key(user, bucket, prefix)
	if after != "" && after >= prefix {
		from = key(user, bucket, after) + "\x00" // the first id that is above it
	}
	for _, e := range s.objects.From(from) {
		if e.User != user || e.Bucket != bucket || len(e.Object) < len(prefix) || e.Object[:len(prefix)] != prefix {
			break
		}
		if dst = append(dst, e); len(dst) == n {
			break
		}
	}
	return dst
}

// Buckets appends up to n names of buckets of a user that have objects and come after one, in order, and returns the extended slice.
func (s *State) Buckets(dst []string, user, after string, n int) []string {
	from := user + "\x00"
	if after != "" {
		from = user + "\x00" + after + "\x01"
	}
	for len(dst) < n {
		found := false
		for _, e := range s.objects.From(from) {
			if found = e.User == user; found {
				dst = append(dst, e.Bucket)
				from = user + "\x00" + e.Bucket + "\x01"
			}
			break
		}
		if !found {
			break
		}
	}
	return dst
}

// Stats are the figures of a state.
type Stats struct {
	Objects      int
	Size         uint64 // as they count
	Length       uint64 // of their content
	Garbage      int
	Users        int
	Reservations int
}

// Stats returns the figures.
func (s *State) Stats() Stats {
	v := Stats{Objects: s.objects.Len(), Size: s.size, Length: s.length, Garbage: s.garbage.len()}
	v.Users, v.Reservations = s.quota.Len()
	return v
}

// BlobOf returns what a job that is queued or running stores its object as.
func (s *State) BlobOf(id jobs.ID) (BlobID, bool) {
	blob, found := s.work[id]
	return blob, found
}
