package storage

import (
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/quota"
)

// applyJobs passes a command on to the jobs, and does with quotas and catalogue what belongs to it.
func (s *State) applyJobs(cmd []byte) Reply {
	if spec, now, ok := jobs.PeekEnqueue(cmd); ok && spec.Queue == Queue {
		return s.accept(cmd, &spec, uint64(now))
	}
	if id, _, ok := jobs.PeekRetry(cmd); ok && s.failed(id) {
		return Reply{Outcome: Invalid, Jobs: jobs.Reply{Outcome: jobs.Refused}} // it needs a reservation: that is retryKind
	}
	id, result, finishes := jobs.PeekFinish(cmd)
	r := s.pass(cmd)
	if finishes && r.Jobs.Outcome == jobs.OK {
		s.finish(id, &result)
	}
	return r
}

// pass applies a command to the jobs. Those that died release what they reserved, as sessions do that have ended.
func (s *State) pass(cmd []byte) Reply {
	r := Reply{Jobs: s.jobs.Apply(cmd)}
	if r.Jobs.Outcome == jobs.Invalid {
		r.Outcome = Invalid
		return r
	}
	s.quota.Advance(min(uint64(s.jobs.Now()), quota.MaxTime))
	for _, id := range r.Jobs.Died {
		s.abandon(id)
	}
	if jobs.EndsSessions(cmd) {
		s.endSessions()
	}
	return r
}

// failed reports whether a job is a dead letter that has no reservation any more.
func (s *State) failed(id jobs.ID) bool {
	v, found := s.jobs.Get(id)
	return found && v.Queue == Queue && v.State == jobs.Failed
}

// accept reserves what a job will store, and enqueues it; or neither. A job that is there already under its key needs no second reservation.
func (s *State) accept(cmd []byte, spec *jobs.Spec, now uint64) Reply {
	q, ok := parsePayload(spec.Payload)
	if !ok || quota.CheckUser(spec.Owner) != nil {
		return Reply{Outcome: Invalid, Jobs: jobs.Reply{Outcome: jobs.Invalid}}
	}
	if s.jobs.Knows(cmd) {
		return s.pass(cmd)
	}
	s.quota.Advance(min(now, quota.MaxTime))
	return s.reserveFor(cmd, spec.ID, quota.Reservation{ID: q.blob, User: spec.Owner, Bytes: q.size})
}

// reserveFor makes a reservation for a job that a command queues, unless the command turns out to have no effect.
func (s *State) reserveFor(cmd []byte, id jobs.ID, hold quota.Reservation) Reply {
	if r := s.hold(hold); r.Outcome != Done {
		return r
	}
	r := s.pass(cmd)
	if r.Jobs.Outcome != jobs.OK {
		s.quota.Release(hold.ID)
	} else {
		s.work[id] = hold.ID
		s.sums += digestWork(id, hold.ID)
	}
	r.Usage = s.quota.Usage(hold.User)
	return r
}

// retry reserves again for a job that failed, and queues it; or neither.
func (s *State) retry(r *reader) Reply {
	blob, bytes, cmd := r.id(), r.upTo(quota.MaxBytes), r.remains()
	id, now, ok := jobs.PeekRetry(cmd)
	if r.bad || !ok {
		return Reply{Outcome: Invalid}
	}
	if !s.failed(id) {
		return s.pass(cmd) // one that waits to be tried again still has its reservation; others are refused
	}
	s.quota.Advance(min(uint64(now), quota.MaxTime))
	v, _ := s.jobs.Get(id)
	return s.reserveFor(cmd, id, quota.Reservation{ID: blob, User: v.Owner, Bytes: bytes})
}

// finish makes an entry of what a job has stored. The job is done already.
func (s *State) finish(id jobs.ID, result *jobs.Stored) {
	blob, found := s.work[id]
	if !found {
		return
	}
	r := &reader{rest: result.Head}
	e := r.entry()
	hold, _ := s.quota.Reservation(blob)
	e.User, e.Blob, e.Created = hold.User, blob, s.now()
	if r.bad || len(r.rest) > 0 || !e.check() || e.Size > hold.Bytes {
		s.abandon(id)
		return
	}
	s.forget(id, blob)
	s.enter(e)
}

// abandon releases what a job reserved that will not be done.
func (s *State) abandon(id jobs.ID) {
	blob, found := s.work[id]
	if !found {
		return
	}
	s.forget(id, blob)
	s.quota.Release(blob)
	s.garbage.add(blob)
}

func (s *State) forget(id jobs.ID, blob BlobID) {
	delete(s.work, id)
	s.sums -= digestWork(id, blob)
}

// endSessions releases what sessions reserved that live no more.
func (s *State) endSessions() {
	for _, session := range s.quota.Sessions() {
		if !s.jobs.Alive(session) {
			s.quota.ReleaseSession(session, s.garbage.add)
		}
	}
}
