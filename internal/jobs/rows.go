package jobs

// A row is what is in memory of a job. It has no pointers, and 96 bytes: there may be millions.
type row struct {
	id       ID
	accepted Time
	at       Time // queued: when it is due to be tried again; running: since when; done or failed: since when
	deadline Time // 0 none
	lane     uint32
	owner    uint32
	class    uint32

	// The list that a job is in, by its phase: ready in its lane, running in its session, done in its class, failed in its queue. Of a delayed
	// job, before is its place in the heap.
	before, after uint32
	// The list of its class by deadline; see flagLate.
	lateBefore, lateAfter uint32

	payload  ref
	result   uint32 // in results, 0 none
	session  uint32 // that runs it
	fence    uint32
	attempts uint16
	phase    Phase
	flags    byte
}

const (
	rowDelayed = 1 << iota // queued, and not to be claimed before row.at
	rowLate                // in the list by deadline
	rowBlob                // has blobs, in State.blobs
	rowDiedWithNode
	rowDiedLate
	rowCancelled
)

const rowDied = rowDiedWithNode | rowDiedLate | rowCancelled

func (r *row) has(flag byte) bool { return r.flags&flag != 0 }

// digest hashes what nodes must agree on.
func (r *row) digest() uint64 {
	hi, lo := words((*[16]byte)(&r.id))
	state := uint64(r.phase) | uint64(r.flags)<<8 | uint64(r.attempts)<<16 | uint64(r.fence)<<32
	place := uint64(r.lane) | uint64(r.owner)<<32
	return chain(1, hi, lo, uint64(r.accepted), uint64(r.at), uint64(r.deadline), state, place, uint64(r.class)|uint64(r.session)<<32)
}

// An outcome is what is in memory of the last attempt of a job that has ended.
type outcome struct {
	started Time
	record  ref    // error, head and body
	body    uint32 // bytes of the body in the record
	status  uint16
}

// blobs are the names of a job's blobs, "" none.
type blobs struct {
	request, result         string
	requestSize, resultSize int64
}

// A class is what many jobs have in common. Each of its two lists is in the order of time, since its times are one duration after the clock's.
type class struct {
	classKey
	refs                int
	lateFirst, lateLast uint32 // jobs that are not done and have a deadline
	keptFirst, keptLast uint32 // jobs that are done
}

type classKey struct {
	timeout, deadline, keep Time // durations
	attempts                uint16
}

// A lane is the jobs of a tenant in a queue.
type lane struct {
	queue   uint32
	tenant  string
	ordered bool

	refs          int    // jobs, in any phase
	first, last   uint32 // that are ready
	blocked       uint32 // of an ordered lane the job that runs or is delayed
	weight        uint32
	deficit       uint32 // how many jobs may still be claimed before it is the next lane's turn
	before, after uint32 // the ring of lanes of the queue that have something to claim
}

// active reports whether there is something to claim.
func (l *lane) active() bool { return l.first != 0 && l.blocked == 0 }

// A queue is what a handler runs.
type queue struct {
	name        string
	refs        int    // lanes
	turn        uint32 // the lane in the ring whose turn it is
	first, last uint32 // of those that failed
	counts      [Failed + 1]int
}

// A session is a run of a node.
type session struct {
	id, epoch, beats uint64
	node             [16]byte
	dead             bool
	n                int
	first, last      uint32 // that it runs
}

// An owner is a name with the number of jobs that have it.
type owner struct {
	name string
	refs int
}

// A keyRow is an idempotency key. They are in a list, the oldest first.
type keyRow struct {
	digest      [16]byte
	job         ID
	at          Time
	fingerprint uint64
	after       uint32
}

func (k *keyRow) digestOf() uint64 {
	hi, lo := words(&k.digest)
	jobHi, jobLo := words((*[16]byte)(&k.job))
	return chain(2, hi, lo, jobHi, jobLo, uint64(k.at), k.fingerprint)
}
