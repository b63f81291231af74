package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/quota"
)

// A BlobID names content in the store: 128 random bits, which are the id of the reservation too that it was written under.
type BlobID = quota.ID

// keyOf is what a blob is called in the store: 26 characters of base 32.
func keyOf(id BlobID) string { return jobs.ID(id).String() }

// blobOf reads what keyOf wrote.
func blobOf(key string) (BlobID, bool) {
	id, err := jobs.ParseID(key)
	return BlobID(id), err == nil && keyOf(BlobID(id)) == key
}

// An Entry is what the catalogue knows of an object. It never changes: a change makes another one.
type Entry struct {
	User, Bucket, Object string

	Blob        BlobID
	Size        uint64 // what it counts of the quota
	Length      uint64 // of its content, in bytes
	SHA256      [sha256.Size]byte
	ContentType string
	FileName    string // "" none
	Created     uint64 // milliseconds since 1970
	Month       quota.Month
}

// ETag is the entry's entity tag: the SHA-256 of its content, quoted.
func (e *Entry) ETag() string { return `"` + hex.EncodeToString(e.SHA256[:]) + `"` }

// key is where an object is in the catalogue: no name has a zero byte, so users and buckets are apart.
func key(user, bucket, object string) string {
	var b strings.Builder
	b.Grow(len(user) + len(bucket) + len(object) + 2)
	b.WriteString(user)
	b.WriteByte(0)
	b.WriteString(bucket)
	b.WriteByte(0)
	b.WriteString(object)
	return b.String()
}

// check reports whether the entry is one that the catalogue may have.
func (e *Entry) check() bool {
	return quota.CheckUser(e.User) == nil && CheckBucket(e.Bucket) == nil && CheckObject(e.Object) == nil && checkContentType(e.ContentType) == nil &&
		(e.FileName == "" || CheckFileName(e.FileName) == nil) && e.Size <= quota.MaxBytes && e.Length <= quota.MaxBytes && e.Created <= quota.MaxTime
}
