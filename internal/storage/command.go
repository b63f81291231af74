package storage

import (
	"encoding/binary"
	"time"

	"github.com/sluicegate/sluice/internal/quota"
)

// A command is what a node puts into the log. In bytes it is
//
//	version  byte   1
//	kind     byte
//	body
//
// and the body, by kind (a text is its length and its bytes; numbers are unsigned varints as in encoding/binary, in their shortest form, times
// in milliseconds since 1970):
//
//	jobs       a command of package jobs
//	retry      blob [16]byte, bytes, a command of package jobs that retries a job that failed
//	set        a command of package quota that sets limits
//	reserve    time, blob [16]byte, bytes, session, user
//	put        time, blob [16]byte, condition, entry
//	release    time, blob [16]byte
//	remove     time, condition, user text, bucket text, object text
//	collected  blobs [16]byte each
//
// A condition is its kind, a byte, and for those with entity tags their number and sums [32]byte. An entry is bucket, object, content type and
// file name text, size, length, sum [32]byte.
//
// A job of the queue [Queue] has as its payload: blob [16]byte, size, bucket, object and file name text; and an entry in its
// result's head.
type kind byte

const (
	jobsKind kind = 1 + iota
	retryKind
	setKind
	reserveKind
	putKind
	releaseKind
	removeKind
	collectedKind
)

const commandVersion = 1

// maxCollected is how many blobs a command says are collected at most.
const maxCollected = 512

func begin(k kind, room int) []byte { return append(make([]byte, 0, room+64), commandVersion, byte(k)) }

func appendTime(dst []byte, now time.Time) []byte {
	return binary.AppendUvarint(dst, uint64(max(0, min(now.UnixMilli(), quota.MaxTime))))
}

func encodeJobs(cmd []byte) []byte { return append(begin(jobsKind, len(cmd)), cmd...) }

func encodeRetry(blob BlobID, bytes uint64, cmd []byte) []byte {
	return append(binary.AppendUvarint(append(begin(retryKind, len(cmd)), blob[:]...), bytes), cmd...)
}

func encodeSet(now time.Time, user string, c quota.Change) []byte {
	return append(begin(setKind, len(user)), quota.EncodeSet(uint64(max(0, now.UnixMilli())), user, c)...)
}

func encodeReserve(now time.Time, r quota.Reservation) []byte {
	p := append(appendTime(begin(reserveKind, len(r.User)), now), r.ID[:]...)
	p = binary.AppendUvarint(binary.AppendUvarint(p, r.Bytes), r.Session)
	return append(p, r.User...)
}

func encodePut(now time.Time, c Condition, e *Entry) []byte {
	p := append(appendTime(begin(putKind, len(e.Object)+256), now), e.Blob[:]...)
	return appendEntry(appendCondition(p, c), e)
}

func encodeRelease(now time.Time, blob BlobID) []byte {
	return append(appendTime(begin(releaseKind, 0), now), blob[:]...)
}

func encodeRemove(now time.Time, c Condition, user, bucket, object string) []byte {
	p := appendCondition(appendTime(begin(removeKind, len(object)), now), c)
	return appendText(appendText(appendText(p, user), bucket), object)
}

func encodeCollected(blobs []BlobID) []byte {
	p := begin(collectedKind, 16*len(blobs))
	for _, b := range blobs {
		p = append(p, b[:]...)
	}
	return p
}

// appendEntry leaves out what a command doesn't say: the user, the month and the time are those of the reservation and the command.
func appendEntry(dst []byte, e *Entry) []byte {
	for _, text := range []string{e.Bucket, e.Object, e.ContentType, e.FileName} {
		dst = appendText(dst, text)
	}
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, e.Size), e.Length)
	return append(dst, e.SHA256[:]...)
}

func (r *reader) entry() *Entry {
	return &Entry{
		Bucket: r.text(), Object: r.text(), ContentType: r.text(), FileName: r.text(), Size: r.uvarint(), Length: r.uvarint(), SHA256: r.sum(),
	}
}

// A Condition is what must hold of the object that is there for a command to have an effect.
type Condition struct {
	Kind ConditionKind
	Sums [][32]byte // of the kinds OneOf and NoneOf, at most [MaxTags]
}

// ConditionKind says what a condition asks for.
type ConditionKind byte

const (
	Always ConditionKind = iota
	Absent               // there is no object
	Exists               // there is one
	OneOf                // there is one, and its content has one of the sums
	NoneOf               // there is none, or its content has none of the sums
)

// MaxTags bounds the entity tags of a condition.
const MaxTags = 16

// holds reports whether the condition is met by an object; nil is none.
func (c *Condition) holds(e *Entry) bool {
	switch c.Kind {
	case Absent:
		return e == nil
	case Exists:
		return e != nil
	case OneOf:
		return e != nil && c.has(e)
	case NoneOf:
		return e == nil || !c.has(e)
	}
	return true
}

func (c *Condition) has(e *Entry) bool {
	for i := range c.Sums {
		if c.Sums[i] == e.SHA256 {
			return true
		}
	}
	return false
}

func appendCondition(dst []byte, c Condition) []byte {
	dst = append(dst, byte(c.Kind))
	if c.Kind < OneOf {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.Sums)))
	for i := range c.Sums {
		dst = append(dst, c.Sums[i][:]...)
	}
	return dst
}

func (r *reader) condition() (c Condition) {
	c.Kind = ConditionKind(r.byte())
	if c.Kind > NoneOf {
		r.bad = true
	}
	if c.Kind < OneOf {
		return c
	}
	for range r.upTo(MaxTags) {
		c.Sums = append(c.Sums, r.sum())
	}
	return c
}

// A payload is what the job of an order carries: an object's record, which counts as many bytes as it says.
type payload struct {
	blob                 BlobID
	size                 uint64
	bucket, object, file string
}

func (q *payload) encode() []byte {
	p := binary.AppendUvarint(append([]byte(nil), q.blob[:]...), q.size)
	return appendText(appendText(appendText(p, q.bucket), q.object), q.file)
}

// parsePayload reads it. It reports false for what no order of a client may say.
func parsePayload(data []byte) (q payload, ok bool) {
	r := reader{rest: data}
	q = payload{blob: r.id(), size: r.upTo(quota.MaxBytes), bucket: r.text(), object: r.text(), file: r.text()}
	return q, !r.bad && len(r.rest) == 0 && CheckBucket(q.bucket) == nil && CheckObject(q.object) == nil && CheckFileName(q.file) == nil
}
