package storage

import (
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/ordered"
	"github.com/sluicegate/sluice/internal/quota"
)

// Queue is what the jobs are in that POST makes.
const Queue = "objects"

// MaxObjects is how many objects there may be, with those that are on their way. It is a rule of the state machine: nodes that are to agree need
// the same.
const MaxObjects = 32 << 20

// State is the jobs, the quotas and the catalogue as one state machine, in the sense of [journal.Machine]. Make one with NewState; it is not safe
// for concurrent use, but for methods that only read.
type State struct {
	jobs    *jobs.State
	quota   *quota.State
	objects ordered.List[*Entry]
	work    map[jobs.ID]BlobID // the reservations of jobs that are queued or running
	garbage garbage
	size    uint64 // of all entries, as they count
	length  uint64 // of their content
	sums    uint64 // of the digests of entries and of work

	maxObjects int // no part of the state
}

// NewState returns an empty state whose jobs keep their payloads in p.
func NewState(p *jobs.Payloads) *State {
	return &State{
		jobs: jobs.NewState(p), quota: quota.NewState(), work: map[jobs.ID]BlobID{}, garbage: newGarbage(), maxObjects: MaxObjects,
	}
}

// Outcome is what became of a command.
type Outcome byte

const (
	Done      Outcome = iota
	Invalid           // not a command
	OverQuota         // the bytes are more than what is left of the user's quota
	Full              // a bound of the state is reached
	NotFound          // no such object or reservation
	NoSession         // the session has ended
	Unmet             // the condition is not met; of a put, the reservation is released
)

// A Reply says what became of a command. Only [Done], and of a put also Unmet, changes anything but the clock.
type Reply struct {
	Outcome Outcome
	Jobs    jobs.Reply // of a command for the jobs, if it was passed on to them
	Usage   quota.Usage
	Entry   *Entry // what was put or removed
	Old     *Entry // what was replaced; nil: nothing
}

// Apply changes the state by a command. Bytes that are no command change nothing.
func (s *State) Apply(cmd []byte) Reply {
	r := &reader{rest: cmd}
	version, k := r.byte(), kind(r.byte())
	if version != commandVersion {
		return Reply{Outcome: Invalid}
	}
	switch k {
	case jobsKind:
		return s.applyJobs(r.remains())
	case retryKind:
		return s.retry(r)
	case setKind:
		return s.set(r.remains())
	case reserveKind:
		return s.reserve(r)
	case putKind:
		return s.put(r)
	case releaseKind:
		return s.release(r)
	case removeKind:
		return s.remove(r)
	case collectedKind:
		return s.collected(r)
	}
	return Reply{Outcome: Invalid}
}

// advance reads the time of a command whose other parts are read, and moves the clock. It reports false for a command that is none.
func (s *State) advance(r *reader, now uint64) bool {
	if r.bad || len(r.rest) > 0 || now > quota.MaxTime {
		return false
	}
	s.quota.Advance(now)
	return true
}

func (s *State) set(cmd []byte) Reply {
	if !quota.IsSet(cmd) {
		return Reply{Outcome: Invalid}
	}
	return quotaReply(s.quota.Apply(cmd))
}

func quotaReply(q quota.Reply) Reply {
	r := Reply{Usage: q.Usage}
	switch q.Outcome {
	case quota.Done:
	case quota.Over:
		r.Outcome = OverQuota
	case quota.Full:
		r.Outcome = Full
	case quota.NotFound:
		r.Outcome = NotFound
	default:
		r.Outcome = Invalid
	}
	return r
}

// reserve sets bytes aside for a session that lives.
func (s *State) reserve(r *reader) Reply {
	now := r.uvarint()
	hold := quota.Reservation{ID: r.id(), Bytes: r.uvarint(), Session: r.uvarint(), User: string(r.remains())}
	switch {
	case !s.advance(r, now) || hold.Session == 0:
		return Reply{Outcome: Invalid}
	case !s.jobs.Alive(hold.Session):
		return Reply{Outcome: NoSession}
	}
	return s.hold(hold)
}

// hold makes a reservation for an object.
func (s *State) hold(hold quota.Reservation) Reply {
	_, holds := s.quota.Len()
	if s.objects.Len()+holds >= s.maxObjects {
		return Reply{Outcome: Full, Usage: s.quota.Usage(hold.User)}
	}
	if s.garbage.has(hold.ID) {
		return Reply{Outcome: Invalid}
	}
	return quotaReply(s.quota.Reserve(hold))
}

// put makes an entry of a reservation, if the condition is met by what is there.
func (s *State) put(r *reader) Reply {
	now, blob, cond, e := r.uvarint(), r.id(), r.condition(), r.entry()
	if !s.advance(r, now) {
		return Reply{Outcome: Invalid}
	}
	hold, ok := s.quota.Reservation(blob)
	if !ok {
		return Reply{Outcome: NotFound}
	}
	e.User, e.Blob, e.Created = hold.User, blob, s.now()
	if !e.check() || e.Size > hold.Bytes {
		return Reply{Outcome: Invalid}
	}
	if old, _ := s.objects.Get(key(e.User, e.Bucket, e.Object)); !cond.holds(old) {
		s.quota.Release(blob)
		s.garbage.add(blob)
		return Reply{Outcome: Unmet, Entry: old, Usage: s.quota.Usage(e.User)}
	}
	return s.enter(e)
}

// enter makes an entry of a reservation, and garbage of what it replaces. The entry is one that check has seen and fits into the reservation.
func (s *State) enter(e *Entry) Reply {
	e.Month = s.quota.Commit(e.Blob, e.Size).Month
	old, _ := s.objects.Put(key(e.User, e.Bucket, e.Object), e)
	s.count(e)
	if old != nil {
		s.discard(old)
	}
	return Reply{Entry: e, Old: old, Usage: s.quota.Usage(e.User)}
}

func (s *State) count(e *Entry) {
	s.size += e.Size
	s.length += e.Length
	s.sums += e.digest()
}

// discard takes off what an entry counted that has left the catalogue.
func (s *State) discard(e *Entry) {
	s.size -= e.Size
	s.length -= e.Length
	s.sums -= e.digest()
	s.quota.Credit(e.User, e.Size, e.Month)
	s.garbage.add(e.Blob)
}

// release ends a reservation that nothing came of. Its blob may be in the store all the same.
func (s *State) release(r *reader) Reply {
	now, blob := r.uvarint(), r.id()
	if !s.advance(r, now) {
		return Reply{Outcome: Invalid}
	}
	q := s.quota.Release(blob)
	if q.Outcome == quota.Done {
		s.garbage.add(blob)
	}
	return quotaReply(q)
}

// remove takes an object out of the catalogue.
func (s *State) remove(r *reader) Reply {
	now, cond, user, bucket, object := r.uvarint(), r.condition(), r.text(), r.text(), r.text()
	if !s.advance(r, now) {
		return Reply{Outcome: Invalid}
	}
	at := key(user, bucket, object)
	switch e, found := s.objects.Get(at); {
	case !found:
		return Reply{Outcome: NotFound}
	case !cond.holds(e):
		return Reply{Outcome: Unmet, Entry: e}
	default:
		s.objects.Delete(at)
		s.discard(e)
		return Reply{Entry: e, Usage: s.quota.Usage(user)}
	}
}

// collected forgets garbage that a node has deleted.
func (s *State) collected(r *reader) Reply {
	if len(r.rest)%16 != 0 || len(r.rest) > 16*maxCollected {
		return Reply{Outcome: Invalid}
	}
	for len(r.rest) > 0 {
		s.garbage.remove(r.id())
	}
	return Reply{}
}

// now is the latest time of a command, in milliseconds since 1970.
func (s *State) now() uint64 {
	ms, _ := s.quota.Clock()
	return ms
}
