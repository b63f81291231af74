package jobs_test

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/sluicegate/sluice/internal/jobs"
)

// A model is the jobs as one would write them down: slow, and easy to see through.
type model struct {
	now         jobs.Time
	lastSession uint64
	jobs        map[jobs.ID]*modelJob
	keys        map[string]modelKey
	lanes       map[modelLaneKey]*modelLane
	rings       map[string][]*modelLane // by queue, the one whose turn it is first
	sessions    []*modelSession
	order       int
}

type modelJob struct {
	spec      jobs.Spec
	view      jobs.View // but for what view adds
	fence     uint32
	order     int // by deadline
	delayed   jobs.Time
	lane      *modelLane
	session   *modelSession
	result    jobs.Stored
	died      string
	lastStart jobs.Time
}

type modelKey struct {
	id          jobs.ID
	at          jobs.Time
	fingerprint uint64
}

type modelLaneKey struct {
	queue, tenant string
	ordered       bool
}

type modelLane struct {
	key             modelLaneKey
	ready           []*modelJob
	blocked         *modelJob
	weight, deficit int
}

type modelSession struct {
	id, epoch, beats uint64
	node             [16]byte
	running          []*modelJob
}

func newModel() *model {
	return &model{jobs: map[jobs.ID]*modelJob{}, keys: map[string]modelKey{}, lanes: map[modelLaneKey]*modelLane{}, rings: map[string][]*modelLane{}}
}

func ms(d time.Duration) jobs.Time { return jobs.Time(d / time.Millisecond) }

func (m *model) time(t time.Time) { m.now = max(m.now, jobs.TimeOf(t)) }

func (m *model) enqueue(s jobs.Spec) (r jobs.Reply) {
	if j := m.jobs[s.ID]; j != nil {
		return jobs.Reply{Outcome: jobs.Existed, Job: m.view(j)}
	}
	key := s.Queue + "/" + s.Owner + "/" + s.Key
	if k, ok := m.keys[key]; ok && s.Key != "" && k.at+ms(jobs.KeyTTL) > m.now {
		r.Outcome, r.Job = jobs.Existed, jobs.View{ID: k.id, State: jobs.Forgotten}
		if k.fingerprint != s.Fingerprint {
			r.Outcome = jobs.Conflict
		}
		if j := m.jobs[k.id]; j != nil {
			r.Job = m.view(j)
		}
		m.ended(s.ID, s.Blob, &r)
		return r
	}
	j := &modelJob{spec: s}
	j.view = jobs.View{
		ID: s.ID, Queue: s.Queue, Tenant: s.Tenant, Owner: s.Owner, State: jobs.Queued, MaxAttempts: int(s.MaxAttempts), Accepted: m.now,
	}
	m.limit(j)
	k := modelLaneKey{s.Queue, s.Tenant, s.Ordered}
	if m.lanes[k] == nil {
		m.lanes[k] = &modelLane{key: k}
	}
	j.lane = m.lanes[k]
	j.lane.weight = s.Weight
	j.lane.ready = append(j.lane.ready, j)
	m.place(j.lane)
	m.jobs[s.ID] = j
	if s.Key != "" {
		m.keys[key] = modelKey{s.ID, m.now, s.Fingerprint}
	}
	r.Job = m.view(j)
	return r
}

func (m *model) limit(j *modelJob) {
	if j.spec.Deadline > 0 {
		j.view.Deadline = m.now + ms(j.spec.Deadline)
		m.order++
		j.order = m.order
	}
}

// place keeps the ring of a queue as it should be: those lanes that have something to claim, in the order in which they came to have it.
func (m *model) place(l *modelLane) {
	ring := m.rings[l.key.queue]
	active, in := len(l.ready) > 0 && l.blocked == nil, slices.Contains(ring, l)
	switch {
	case active && !in:
		m.rings[l.key.queue] = append(ring, l)
	case in && !active:
		l.deficit = 0
		m.rings[l.key.queue] = slices.DeleteFunc(ring, func(o *modelLane) bool { return o == l })
	}
}

func (m *model) session(id uint64) *modelSession {
	for _, v := range m.sessions {
		if v.id == id {
			return v
		}
	}
	return nil
}

func (m *model) claim(session uint64, queue string, n int) (r jobs.Reply) {
	v := m.session(session)
	if v == nil {
		return jobs.Reply{Outcome: jobs.Gone}
	}
	for len(r.Claimed) < n && len(m.rings[queue]) > 0 {
		l := m.rings[queue][0]
		if l.deficit == 0 {
			l.deficit = l.weight
		}
		j := l.ready[0]
		if m.late(j, m.now) {
			m.die(j, "its deadline passed before it could be done", &r)
			continue
		}
		l.ready = l.ready[1:]
		l.deficit--
		left := l.deficit
		if l.key.ordered {
			l.blocked = j
		}
		m.place(l)
		if ring := m.rings[queue]; left == 0 && len(ring) > 0 && ring[0] == l {
			m.rings[queue] = append(slices.Clone(ring[1:]), l)
		}
		j.view.State, j.session, j.lastStart = jobs.Running, v, m.now
		j.view.Attempts++
		j.fence++
		v.running = append(v.running, j)
		r.Claimed = append(r.Claimed, m.claimOf(j))
	}
	return r
}

func (m *model) claimOf(j *modelJob) jobs.Claim {
	spec := j.spec
	spec.Payload, spec.Key, spec.Fingerprint, spec.Weight = nil, "", 0, j.lane.weight
	return jobs.Claim{Spec: spec, Attempt: j.view.Attempts, Fence: j.fence, Accepted: j.view.Accepted, Expires: j.view.Deadline}
}

func (m *model) late(j *modelJob, at jobs.Time) bool {
	return j.view.Deadline != 0 && j.view.Deadline <= at
}

// leave takes a job out of wherever it is.
func (m *model) leave(j *modelJob) {
	is := func(o *modelJob) bool { return o == j }
	j.lane.ready = slices.DeleteFunc(j.lane.ready, is)
	if j.lane.blocked == j {
		j.lane.blocked = nil
	}
	m.place(j.lane)
	if j.session != nil {
		j.session.running = slices.DeleteFunc(j.session.running, is)
	}
	j.session, j.delayed = nil, 0
}

func (m *model) die(j *modelJob, why string, r *jobs.Reply) {
	m.leave(j)
	j.view.State, j.view.Finished, j.died, j.order = jobs.Failed, m.now, why, 0
	r.Died = append(r.Died, j.spec.ID)
}

// requeue lets a job wait in front of the others.
func (m *model) requeue(j *modelJob, r *jobs.Reply) {
	if m.late(j, m.now) {
		m.die(j, "its deadline passed before it could be done", r)
		return
	}
	m.leave(j)
	j.view.State = jobs.Queued
	j.lane.ready = slices.Insert(j.lane.ready, 0, j)
	m.place(j.lane)
}

func (m *model) needs(blob string) bool {
	for _, j := range m.jobs {
		if j.spec.Blob == blob || j.result.Blob == blob {
			return true
		}
	}
	return false
}

func (m *model) ended(id jobs.ID, blob string, r *jobs.Reply) {
	if blob != "" && !m.needs(blob) {
		r.Ended = append(r.Ended, jobs.Ended{ID: id, Blob: blob})
	}
}

func (m *model) setResult(j *modelJob, result jobs.Stored, r *jobs.Reply) {
	old := j.result.Blob
	j.result = result
	m.ended(j.spec.ID, old, r)
}

// end finds the claim, and says if it isn't one any more.
func (m *model) end(id jobs.ID, fence uint32, blob string, f func(j *modelJob, r *jobs.Reply)) (r jobs.Reply) {
	j := m.jobs[id]
	switch {
	case j == nil:
		r.Outcome = jobs.NotFound
		m.ended(id, blob, &r)
		return r
	case j.view.State != jobs.Running || j.fence != fence:
		r.Outcome = jobs.Stale
		m.ended(id, blob, &r)
	default:
		f(j, &r)
	}
	r.Job = m.view(j)
	return r
}

func (m *model) finish(id jobs.ID, fence uint32, result jobs.Stored) jobs.Reply {
	return m.end(id, fence, result.Blob, func(j *modelJob, r *jobs.Reply) {
		m.leave(j)
		j.view.State, j.view.Finished, j.order = jobs.Done, m.now, 0
		m.setResult(j, result, r)
		blob := j.spec.Blob
		j.spec.Blob, j.spec.BlobSize, j.spec.Payload = "", 0, nil
		m.ended(id, blob, r)
	})
}

func (m *model) fail(id jobs.ID, fence uint32, result jobs.Stored) jobs.Reply {
	return m.end(id, fence, result.Blob, func(j *modelJob, r *jobs.Reply) {
		m.setResult(j, result, r)
		m.die(j, "", r)
	})
}

func (m *model) retryLater(id jobs.ID, fence uint32, wait time.Duration, result jobs.Stored) jobs.Reply {
	return m.end(id, fence, result.Blob, func(j *modelJob, r *jobs.Reply) {
		m.setResult(j, result, r)
		at := m.now + ms(wait)
		switch {
		case j.view.Attempts >= j.view.MaxAttempts:
			m.die(j, "", r)
		case m.late(j, at):
			m.die(j, "its deadline passed before it could be done", r)
		case wait <= 0:
			m.requeue(j, r)
		default:
			m.leave(j)
			j.view.State, j.delayed = jobs.Queued, at
			if j.lane.key.ordered {
				j.lane.blocked = j
				m.place(j.lane)
			}
		}
	})
}

func (m *model) release(id jobs.ID, fence uint32) jobs.Reply {
	return m.end(id, fence, "", func(j *modelJob, r *jobs.Reply) {
		j.view.Attempts--
		m.requeue(j, r)
	})
}

func (m *model) openSession(node [16]byte, epoch uint64) (r jobs.Reply) {
	for _, v := range m.sessions {
		if v.node == node && v.epoch == epoch {
			return jobs.Reply{Session: v.id}
		}
		if v.node == node && v.epoch > epoch {
			return jobs.Reply{Outcome: jobs.Stale}
		}
	}
	for _, v := range slices.Clone(m.sessions) {
		if v.node == node {
			m.kill(v, &r)
		}
	}
	m.lastSession++
	m.sessions = append(m.sessions, &modelSession{id: m.lastSession, epoch: epoch, node: node})
	r.Session = m.lastSession
	return r
}

func (m *model) beat(session uint64) (r jobs.Reply) {
	v := m.session(session)
	if v == nil {
		return jobs.Reply{Outcome: jobs.Gone}
	}
	v.beats++
	return r
}

func (m *model) reap(session, beats uint64) (r jobs.Reply) {
	v := m.session(session)
	switch {
	case v == nil:
		r.Outcome = jobs.NotFound
	case v.beats != beats:
		r.Outcome = jobs.Stale
	default:
		m.kill(v, &r)
	}
	return r
}

func (m *model) kill(v *modelSession, r *jobs.Reply) {
	for _, j := range slices.Backward(slices.Clone(v.running)) {
		if j.view.Attempts >= j.view.MaxAttempts {
			m.die(j, "the node died while running it", r)
		} else {
			m.requeue(j, r)
		}
	}
	m.sessions = slices.DeleteFunc(m.sessions, func(o *modelSession) bool { return o == v })
}

// all returns the jobs that f is true for, by an order.
func (m *model) all(f func(*modelJob) bool, by func(a, b *modelJob) int) (some []*modelJob) {
	for _, j := range m.jobs {
		if f(j) {
			some = append(some, j)
		}
	}
	slices.SortFunc(some, by)
	return some
}

// tick does what is due in the order of the state, but for jobs with a deadline of more than one class, and those that are due at the same time.
func (m *model) tick() (r jobs.Reply) {
	for _, j := range m.all(func(j *modelJob) bool { return j.delayed != 0 && j.delayed <= m.now }, func(a, b *modelJob) int {
		return cmp.Compare(a.delayed, b.delayed)
	}) {
		m.requeue(j, &r)
	}
	for _, j := range m.all(func(j *modelJob) bool { return j.view.State == jobs.Queued && m.late(j, m.now) },
		func(a, b *modelJob) int { return cmp.Compare(a.order, b.order) }) {
		m.die(j, "its deadline passed before it could be done", &r)
	}
	for _, j := range m.all(func(j *modelJob) bool {
		return j.view.State == jobs.Done && j.view.Finished+ms(j.spec.KeepResult) <= m.now ||
			j.view.State == jobs.Failed && j.view.Finished+ms(jobs.KeepDead) <= m.now
	}, byID) {
		m.forget(j, &r)
	}
	return r
}

func byID(a, b *modelJob) int { return bytes.Compare(a.spec.ID[:], b.spec.ID[:]) }

func (m *model) forget(j *modelJob, r *jobs.Reply) {
	delete(m.jobs, j.spec.ID)
	m.ended(j.spec.ID, j.spec.Blob, r)
	m.ended(j.spec.ID, j.result.Blob, r)
}

func (m *model) retry(id jobs.ID) (r jobs.Reply) {
	j := m.jobs[id]
	switch {
	case j == nil:
		r.Outcome = jobs.NotFound
		return r
	case j.delayed != 0:
		m.requeue(j, &r)
	case j.view.State != jobs.Failed:
		r.Outcome = jobs.Refused
	default:
		j.view.State, j.view.Attempts, j.view.Finished, j.died, j.lastStart = jobs.Queued, 0, 0, "", 0
		m.setResult(j, jobs.Stored{}, &r)
		m.limit(j)
		j.lane.ready = append(j.lane.ready, j)
		m.place(j.lane)
	}
	r.Job = m.view(j)
	return r
}

func (m *model) cancel(id jobs.ID) (r jobs.Reply) {
	j := m.jobs[id]
	switch {
	case j == nil:
		r.Outcome = jobs.NotFound
		return r
	case j.view.State != jobs.Queued:
		r.Outcome = jobs.Refused
	default:
		m.die(j, "it was cancelled", &r)
	}
	r.Job = m.view(j)
	return r
}

func (m *model) purge(queue string, before jobs.Time, ids []jobs.ID) (r jobs.Reply) {
	gone := []*modelJob{}
	for _, id := range ids {
		if j := m.jobs[id]; j != nil && (j.view.State == jobs.Done || j.view.State == jobs.Failed) && !slices.Contains(gone, j) {
			gone = append(gone, j)
		}
	}
	if len(ids) == 0 {
		gone = m.all(func(j *modelJob) bool {
			return j.view.State == jobs.Failed && j.view.Finished < before && (queue == "" || queue == j.spec.Queue)
		}, byID)
	}
	for _, j := range gone {
		m.forget(j, &r)
		r.Count++
	}
	return r
}

// view is without the error, as replies have it.
func (m *model) view(j *modelJob) jobs.View {
	v := j.view
	v.Started, v.NextAttempt, v.Status = j.lastStart, j.delayed, j.result.Status
	v.ResultBytes = int64(len(j.result.Body))
	if j.result.Blob != "" {
		v.ResultBytes = j.result.BlobSize
	}
	switch v.State {
	case jobs.Done:
		v.Expires = v.Finished + ms(j.spec.KeepResult)
	case jobs.Failed:
		v.Expires = v.Finished + ms(jobs.KeepDead)
	}
	return v
}

func (m *model) message(j *modelJob) string {
	switch {
	case j.died == "":
		return j.result.Error
	case j.result.Error == "":
		return j.died
	}
	return j.died + "; the last attempt: " + j.result.Error
}

func (m *model) isDue(at jobs.Time) bool {
	for _, j := range m.jobs {
		if j.delayed == at {
			return true
		}
	}
	return false
}

// due returns when the next thing is due that happens to a job, 0 never.
func (m *model) due() (due jobs.Time) {
	for _, j := range m.jobs {
		v := m.view(j)
		for _, at := range []jobs.Time{v.NextAttempt, v.Expires, v.Deadline} {
			if at != 0 && at == v.Expires { // which waits for the end of the second
				at += 999
			}
			counts := at != 0 && (at != v.Deadline || v.State == jobs.Queued)
			if counts && (due == 0 || at < due) {
				due = at
			}
		}
	}
	return due
}
