package jobs

import (
	"encoding/binary"
	"math"
	"time"
)

// A command is what a node puts into the log. In bytes it is
//
//	version  byte    1
//	kind     byte
//	time     varint  the node's clock, in milliseconds since 1970
//	body
//
// and the body, by kind (a string is its length and its bytes; numbers are unsigned varints as in encoding/binary, in their shortest form):
//
//	enqueue       id [16]byte, flags byte (1 ordered, 2 keyed, 4 has a blob), queue, tenant, owner string, weight, attempts, timeout, deadline,
//	              keep (milliseconds), if keyed digest [16]byte and fingerprint uint64, if it has a blob name string and size, payload the rest
//	claim         session, max, queue string
//	finish, fail  id [16]byte, fence, result
//	retry later   id [16]byte, fence, due, result
//	release       id [16]byte, fence
//	open session  node [16]byte, epoch
//	beat          session
//	reap          session, beats
//	tick
//	retry, cancel id [16]byte
//	purge         before (milliseconds since 1970), queue string, count, ids [16]byte
//
// A result is status, flags byte (1 has a blob), error, head string, if it has a blob name string and size, and the body, the rest.
type command struct {
	kind    kind
	time    Time
	id      ID
	spec    Spec   // of enqueue, but for the names
	queue   []byte // of enqueue, claim and purge
	tenant  []byte
	owner   []byte
	key     [16]byte
	keyed   bool
	session uint64
	number  uint64 // epoch, beats, or how many to claim
	fence   uint32
	at      Time // due, or before
	node    [16]byte
	result  Stored
	ids     []byte // of purge, 16 bytes each
}

type kind byte

const (
	enqueue kind = 1 + iota
	claim
	finish
	fail
	retryLater
	release
	openSession
	beat
	reap
	tick
	retry
	purge
	cancel
)

const (
	commandVersion = 1
	maxPurge       = 1000 // ids in a command
	maxStatus      = 999
)

const (
	flagOrdered = 1 << iota
	flagKeyed
	flagBlob
)

// EncodeEnqueue makes the command that accepts a job. The Spec must be complete.
func EncodeEnqueue(s *Spec, now time.Time) []byte {
	dst := make([]byte, 0, 160+len(s.Queue)+len(s.Tenant)+len(s.Owner)+len(s.Blob)+len(s.Payload))
	dst = append(header(dst, enqueue, now), s.ID[:]...)
	var flags byte
	if s.Ordered {
		flags |= flagOrdered
	}
	if s.Key != "" {
		flags |= flagKeyed
	}
	if s.Blob != "" {
		flags |= flagBlob
	}
	dst = appendString(appendString(appendString(append(dst, flags), s.Queue), s.Tenant), s.Owner)
	for _, v := range []uint64{uint64(s.Weight), uint64(s.MaxAttempts), millis(s.Timeout), millis(s.Deadline), millis(s.KeepResult)} {
		dst = binary.AppendUvarint(dst, v)
	}
	if s.Key != "" {
		digest := s.keyDigest()
		dst = binary.LittleEndian.AppendUint64(append(dst, digest[:]...), s.Fingerprint)
	}
	if s.Blob != "" {
		dst = binary.AppendUvarint(appendString(dst, s.Blob), uint64(s.BlobSize))
	}
	return append(dst, s.Payload...)
}

// EncodeClaim makes the command that claims jobs of a queue, at most so many.
func EncodeClaim(session uint64, queue string, most int, now time.Time) []byte {
	dst := binary.AppendUvarint(header(nil, claim, now), session)
	return appendString(binary.AppendUvarint(dst, uint64(max(0, most))), queue)
}

// EncodeFinish makes the command that ends a claimed job well.
func EncodeFinish(id ID, fence uint32, r *Stored, now time.Time) []byte {
	return appendResult(claimed(finish, id, fence, now, len(r.Head)+len(r.Body)), r)
}

// EncodeFail makes the command that ends a claimed job for good, and badly.
func EncodeFail(id ID, fence uint32, r *Stored, now time.Time) []byte {
	return appendResult(claimed(fail, id, fence, now, len(r.Head)+len(r.Body)), r)
}

// EncodeRetryLater makes the command that queues a claimed job to be tried again at a time. If its attempts are spent, or its deadline is before
// that, it fails.
func EncodeRetryLater(id ID, fence uint32, at time.Time, r *Stored, now time.Time) []byte {
	dst := binary.AppendUvarint(claimed(retryLater, id, fence, now, len(r.Head)+len(r.Body)), uint64(TimeOf(at)))
	return appendResult(dst, r)
}

// EncodeRelease makes the command that gives a claimed job back as if it had not been claimed.
func EncodeRelease(id ID, fence uint32, now time.Time) []byte {
	return claimed(release, id, fence, now, 0)
}

// EncodeOpenSession makes the command that opens a session. It ends those of the node with a lower epoch.
func EncodeOpenSession(node [16]byte, epoch uint64, now time.Time) []byte {
	return binary.AppendUvarint(append(header(nil, openSession, now), node[:]...), epoch)
}

// EncodeBeat makes the command that renews a session.
func EncodeBeat(session uint64, now time.Time) []byte {
	return binary.AppendUvarint(header(nil, beat, now), session)
}

// EncodeReap makes the command that ends a session that has beaten so many times.
func EncodeReap(session, beats uint64, now time.Time) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(header(nil, reap, now), session), beats)
}

// EncodeTick makes the command that does what is due.
func EncodeTick(now time.Time) []byte { return header(nil, tick, now) }

// EncodeRetry makes the command that queues a failed job again, as if it were new, or tries one at once that waits to be tried again.
func EncodeRetry(id ID, now time.Time) []byte { return append(header(nil, retry, now), id[:]...) }

// EncodeCancel makes the command that fails a job that is queued.
func EncodeCancel(id ID, now time.Time) []byte { return append(header(nil, cancel, now), id[:]...) }

// EncodePurge makes the command that forgets the jobs with these ids that are done or failed, at most 1000; or, without any, the failed jobs of a
// queue, "" for all, that failed before a time.
func EncodePurge(queue string, before time.Time, ids []ID, now time.Time) []byte {
	dst := appendString(binary.AppendUvarint(header(nil, purge, now), uint64(TimeOf(before))), queue)
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, id := range ids {
		dst = append(dst, id[:]...)
	}
	return dst
}

func header(dst []byte, k kind, now time.Time) []byte {
	return binary.AppendUvarint(append(dst, commandVersion, byte(k)), uint64(TimeOf(now)))
}

func claimed(k kind, id ID, fence uint32, now time.Time, room int) []byte {
	dst := make([]byte, 0, room+128)
	return binary.AppendUvarint(append(header(dst, k, now), id[:]...), uint64(fence))
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendResult(dst []byte, r *Stored) []byte {
	dst = binary.AppendUvarint(dst, uint64(max(0, min(r.Status, maxStatus))))
	var flags byte
	if r.Blob != "" {
		flags = flagBlob
	}
	dst = appendString(append(dst, flags), r.Error[:min(len(r.Error), MaxError)])
	dst = append(binary.AppendUvarint(dst, uint64(len(r.Head))), r.Head...)
	if r.Blob != "" {
		dst = binary.AppendUvarint(appendString(dst, r.Blob), uint64(r.BlobSize))
	}
	return append(dst, r.Body...)
}

// parseCommand reads a command. It reports false for bytes that the functions above do not write. What it returns points into p.
func parseCommand(p []byte) (c command, ok bool) {
	r := reader{rest: p}
	version := r.byte()
	c.kind = kind(r.byte())
	c.time = r.time()
	switch c.kind {
	case enqueue:
		r.enqueue(&c)
	case claim:
		c.session, c.number, c.queue = r.uvarint(), r.uvarint(), r.name()
	case finish, fail, retryLater, release:
		c.id, c.fence = r.id(), uint32(r.below(math.MaxUint32))
		if c.kind == retryLater {
			c.at = r.time()
		}
		if c.kind != release {
			r.result(&c.result)
		}
	case openSession:
		c.node, c.number = r.id(), r.uvarint()
	case beat:
		c.session = r.uvarint()
	case reap:
		c.session, c.number = r.uvarint(), r.uvarint()
	case tick:
	case retry, cancel:
		c.id = r.id()
	case purge:
		c.at, c.queue = r.time(), r.name()
		c.ids = r.take(16 * int(r.below(maxPurge)))
	default:
		return c, false
	}
	return c, version == commandVersion && !r.bad && len(r.rest) == 0
}

// A reader takes bytes apart. After the first that is not as it should be, bad is set and what it returns means nothing.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.bad, r.rest = true, nil
		return nil
	}
	p := r.rest[:n:n]
	r.rest = r.rest[n:]
	return p
}

func (r *reader) byte() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

// uvarint takes the shortest form alone, so that equal commands are equal bytes.
func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || n > 1 && r.rest[n-1] == 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// below takes a number that is limit at most.
func (r *reader) below(limit uint64) uint64 {
	v := r.uvarint()
	if v > limit {
		r.bad = true
		return 0
	}
	return v
}

func (r *reader) word() uint64 {
	if p := r.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (r *reader) time() Time { return Time(r.below(maxTime)) }

func (r *reader) id() (id [16]byte) {
	copy(id[:], r.take(len(id)))
	return id
}

func (r *reader) text(limit uint64) []byte { return r.take(int(r.below(limit))) }

func (r *reader) name() []byte { return r.text(MaxName) }

func (r *reader) span() time.Duration {
	return time.Duration(r.below(uint64(MaxSpan/time.Millisecond))) * time.Millisecond
}

func (r *reader) remains(limit int) []byte {
	r.bad = r.bad || len(r.rest) > limit
	return r.take(len(r.rest))
}

func (r *reader) enqueue(c *command) {
	s := &c.spec
	s.ID = r.id()
	flags := r.byte()
	c.queue, c.tenant, c.owner = r.name(), r.name(), r.name()
	s.Weight, s.MaxAttempts = int(r.below(MaxWeight)), uint16(r.below(math.MaxUint16))
	s.Timeout, s.Deadline, s.KeepResult = r.span(), r.span(), r.span()
	s.Ordered = flags&flagOrdered != 0
	if c.keyed = flags&flagKeyed != 0; c.keyed {
		c.key, s.Fingerprint = r.id(), r.word()
	}
	if flags&flagBlob != 0 {
		s.Blob, s.BlobSize = r.blob()
	}
	s.Payload = r.remains(MaxPayload)
	c.id = s.ID
	r.bad = r.bad || flags >= flagBlob<<1 || len(c.queue) == 0 || s.Weight == 0 || s.MaxAttempts == 0 || s.ID.IsZero()
}

func (r *reader) blob() (string, int64) {
	name, size := string(r.name()), int64(r.below(math.MaxInt64))
	r.bad = r.bad || name == ""
	return name, size
}

func (r *reader) result(s *Stored) {
	s.Status = int(r.below(maxStatus))
	flags := r.byte()
	s.Error = string(r.text(MaxError))
	s.Head = r.text(MaxPayload)
	if flags == flagBlob {
		s.Blob, s.BlobSize = r.blob()
	}
	s.Body = r.remains(MaxPayload - len(s.Head))
	r.bad = r.bad || flags&^flagBlob != 0
}
