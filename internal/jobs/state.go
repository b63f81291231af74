package jobs

import (
	"cmp"
	"encoding/json"

	"hash/fnv"
	"io"
	"slices"
	"time"
)

// budget bounds what a command does beyond its own job.
const budget = 1024

// MaxClaim is how many jobs a command claims at most.
const MaxClaim = 1024

// Why a job failed without a handler saying so.
const (
	diedWithNode = "the node died while running it"
	diedLate     = "its deadline passed before it could be done"
)

// State is the jobs: a state machine in the sense of [journal.Machine]. Apply is a pure function of the state and a command. Make one with
// NewState; it is not safe for concurrent use, but for methods that only read.
type State struct {
	m     model
	hooks *hooks
}

type model struct {
	Now         Time
	Chain       uint64
	LastSession uint64
	Jobs        map[ID]*job
	Keys        map[ID]keyed
	Lanes       []*lane
	Sessions    []*session
	Queues      map[string][]int // lanes whose turn it is
	Order       uint64
}

type job struct {
	Spec     Spec
	Phase    Phase
	Attempts int
	Fence    uint32
	Accepted Time
	Started  Time
	At       Time // due, finished
	Deadline Time
	Delayed  bool
	Session  uint64
	Result   Stored
	Lane     int
	Order    uint64
}

type keyed struct {
	ID          ID
	At          Time
	Fingerprint uint64
}

type lane struct {
	Queue, Tenant string
	Ordered       bool
	Ready         []ID
	Blocked       ID
	Weight        int
	Deficit       int
}

type session struct {
	ID, Epoch, Beats uint64
	Node             ID
	Dead             bool
	Running          []ID
}

// NewState returns a state without jobs.
func NewState(p *Payloads) *State {
	return &State{m: model{Jobs: map[ID]*job{}, Keys: map[ID]keyed{}, Queues: map[string][]int{}}, hooks: newHooks()}
}

// Apply changes the state by a command. Bytes that are no command change nothing.
func (s *State) Apply(cmd []byte) Reply {
	c, ok := parseCommand(cmd)
	if !ok {
		return Reply{Outcome: Invalid}
	}
	h := fnv.New64a()
	h.Write(cmd)
	s.m.Chain = s.m.Chain*31 + h.Sum64()
	s.m.Now = max(s.m.Now, c.time)
	var r Reply
	switch c.kind {
	case enqueue:
		s.enqueue(&c, &r)
	case claim:
		s.claim(&c, &r)
	case finish, fail, retryLater, release:
		s.end(&c, &r)
	case openSession:
		s.openSession(&c, &r)
	case beat, reap:
		s.renew(&c, &r)
	case tick:
		s.tick(&r)
	case retry:
		s.retry(&c, &r)
	case purge:
		s.purge(&c, &r)
	}
	s.hooks.setDue(s.Due())
	return r
}

func (s *State) lane(spec *Spec) int {
	i := slices.IndexFunc(s.m.Lanes, func(l *lane) bool {
		return l.Queue == spec.Queue && l.Tenant == spec.Tenant && l.Ordered == spec.Ordered
	})
	if i < 0 {
		i = len(s.m.Lanes)
		s.m.Lanes = append(s.m.Lanes, &lane{Queue: spec.Queue, Tenant: spec.Tenant, Ordered: spec.Ordered})
	}
	return i
}

func (s *State) enqueue(c *command, r *Reply) {
	spec := c.spec
	if s.m.Jobs[spec.ID] != nil {
		r.Outcome, r.Job = Existed, s.view(spec.ID)
		return
	}
	if k, ok := s.m.Keys[c.key]; c.keyed && ok && k.At+Time(millis(KeyTTL)) > s.m.Now {
		r.Outcome, r.Job = Existed, s.view(k.ID)
		if k.Fingerprint != spec.Fingerprint {
			r.Outcome = Conflict
		}
		s.ended(spec.ID, spec.Blob, r)
		return
	}
	spec.Payload = slices.Clone(spec.Payload)
	j := &job{Spec: spec, Phase: Queued, Accepted: s.m.Now, Lane: s.lane(&spec)}
	if spec.Deadline > 0 {
		j.Deadline = s.m.Now + Time(millis(spec.Deadline))
	}
	s.m.Order++
	j.Order = s.m.Order
	s.m.Jobs[spec.ID] = j
	if c.keyed {
		s.m.Keys[c.key] = keyed{ID: spec.ID, At: s.m.Now, Fingerprint: spec.Fingerprint}
	}
	l := s.m.Lanes[j.Lane]
	l.Weight = spec.Weight
	l.Ready = append(l.Ready, spec.ID)
	s.activate(j.Lane)
	r.Job = s.view(spec.ID)
}

func (s *State) activate(i int) {
	l := s.m.Lanes[i]
	ring := s.m.Queues[l.Queue]
	if active := len(l.Ready) > 0 && l.Blocked.IsZero(); active && !slices.Contains(ring, i) {
		s.m.Queues[l.Queue] = append(ring, i)
	} else if !active {
		l.Deficit = 0
		s.m.Queues[l.Queue] = slices.DeleteFunc(ring, func(k int) bool { return k == i })
	}
	s.hooks.wake(l.Queue)
}

func (s *State) session(id uint64) *session {
	for _, v := range s.m.Sessions {
		if v.ID == id {
			return v
		}
	}
	return nil
}

func (s *State) claim(c *command, r *Reply) {
	v := s.session(c.session)
	if v == nil || v.Dead {
		r.Outcome = Gone
		return
	}
	q := c.spec.Queue
	for uint64(len(r.Claimed)) < min(c.number, MaxClaim) && len(r.Died) < budget && len(s.m.Queues[q]) > 0 {
		i := s.m.Queues[q][0]
		l := s.m.Lanes[i]
		if l.Deficit == 0 {
			l.Deficit = l.Weight
		}
		id := l.Ready[0]
		j := s.m.Jobs[id]
		if j.Deadline != 0 && j.Deadline <= s.m.Now {
			s.die(j, Stored{Error: diedLate}, r)
			continue
		}
		l.Ready = l.Ready[1:]
		if l.Ordered {
			l.Blocked = id
		}
		l.Deficit--
		j.Phase, j.Session, j.Started = Running, v.ID, s.m.Now
		j.Attempts++
		j.Fence++
		v.Running = append(v.Running, id)
		r.Claimed = append(r.Claimed, s.claimOf(j))
		s.activate(i)
		if ring := s.m.Queues[q]; l.Deficit == 0 && len(ring) > 0 && ring[0] == i {
			s.m.Queues[q] = append(ring[1:], i)
		}
	}
}

func (s *State) claimOf(j *job) Claim {
	spec := j.Spec
	spec.Payload, spec.Key, spec.Fingerprint = nil, "", 0
	return Claim{Spec: spec, Attempt: j.Attempts, Fence: j.Fence, Accepted: j.Accepted, Expires: j.Deadline}
}

// leave takes a job out of whatever list it is in.
func (s *State) leave(j *job) {
	l := s.m.Lanes[j.Lane]
	l.Ready = slices.DeleteFunc(l.Ready, func(id ID) bool { return id == j.Spec.ID })
	if l.Blocked == j.Spec.ID {
		l.Blocked = ID{}
	}
	if v := s.session(j.Session); v != nil {
		v.Running = slices.DeleteFunc(v.Running, func(id ID) bool { return id == j.Spec.ID })
		s.m.Sessions = slices.DeleteFunc(s.m.Sessions, func(v *session) bool { return v.Dead && len(v.Running) == 0 })
	}
	j.Delayed, j.Session = false, 0
	s.activate(j.Lane)
}

func (s *State) die(j *job, result Stored, r *Reply) {
	s.leave(j)
	s.ended(j.Spec.ID, j.Result.Blob, r)
	j.Phase, j.At, j.Result = Failed, s.m.Now, result
	r.Died = append(r.Died, j.Spec.ID)
}

func (s *State) ended(id ID, blob string, r *Reply) {
	if blob != "" && !s.HasBlob(blob) {
		r.Ended = append(r.Ended, Ended{ID: id, Blob: blob})
	}
}

func (s *State) front(j *job, r *Reply) {
	s.leave(j)
	j.Phase = Queued
	if j.Deadline != 0 && j.Deadline <= s.m.Now {
		s.die(j, Stored{Error: diedLate}, r)
		return
	}
	l := s.m.Lanes[j.Lane]
	l.Ready = slices.Insert(l.Ready, 0, j.Spec.ID)
	s.activate(j.Lane)
}

func (s *State) end(c *command, r *Reply) {
	j := s.m.Jobs[c.id]
	if j == nil {
		r.Outcome = NotFound
		return
	}
	if j.Phase != Running || j.Fence != c.fence {
		r.Outcome, r.Job = Stale, s.view(c.id)
		return
	}
	result := c.result
	result.Head, result.Body = slices.Clone(result.Head), slices.Clone(result.Body)
	switch c.kind {
	case finish:
		s.leave(j)
		blob := j.Spec.Blob
		j.Phase, j.At, j.Result, j.Spec.Payload, j.Spec.Blob = Done, s.m.Now, result, nil, ""
		s.ended(c.id, blob, r)
	case fail:
		s.die(j, result, r)
	case release:
		j.Attempts--
		s.front(j, r)
	case retryLater:
		switch {
		case j.Attempts >= int(j.Spec.MaxAttempts) || j.Deadline != 0 && max(c.at, s.m.Now) >= j.Deadline:
			s.die(j, result, r)
		case c.at <= s.m.Now:
			j.Result = result
			s.front(j, r)
		default:
			s.leave(j)
			j.Phase, j.Delayed, j.At, j.Result = Queued, true, c.at, result
			if l := s.m.Lanes[j.Lane]; l.Ordered {
				l.Blocked = c.id
				s.activate(j.Lane)
			}
		}
	}
	r.Job = s.view(c.id)
}

func (s *State) openSession(c *command, r *Reply) {
	for _, v := range slices.Clone(s.m.Sessions) {
		if v.Node != c.node {
			continue
		}
		if v.Epoch == c.number && !v.Dead {
			r.Session = v.ID
			return
		}
		if v.Epoch >= c.number {
			r.Outcome = Stale
			return
		}
		s.kill(v, r)
	}
	s.m.LastSession++
	s.m.Sessions = append(s.m.Sessions, &session{ID: s.m.LastSession, Node: c.node, Epoch: c.number})
	r.Session = s.m.LastSession
}

func (s *State) renew(c *command, r *Reply) {
	v := s.session(c.session)
	switch {
	case c.kind == beat && (v == nil || v.Dead):
		r.Outcome = Gone
	case c.kind == beat:
		v.Beats++
	case v == nil:
		r.Outcome = NotFound
	case !v.Dead && v.Beats != c.number:
		r.Outcome = Stale
	default:
		s.kill(v, r)
	}
}

func (s *State) kill(v *session, r *Reply) {
	v.Dead = true
	for _, id := range slices.Backward(slices.Clone(v.Running)) {
		j := s.m.Jobs[id]
		if j.Attempts >= int(j.Spec.MaxAttempts) {
			s.die(j, Stored{Error: diedWithNode}, r)
			continue
		}
		s.front(j, r)
	}
	s.m.Sessions = slices.DeleteFunc(s.m.Sessions, func(v *session) bool { return v.Dead && len(v.Running) == 0 })
}

func (s *State) sorted() []*job {
	var all []*job
	for _, j := range s.m.Jobs {
		all = append(all, j)
	}
	slices.SortFunc(all, func(a, b *job) int { return cmp.Compare(a.Order, b.Order) })
	return all
}

func (j *job) event() Time {
	switch j.Phase {
	case Queued:
		t := j.Deadline
		if j.Delayed && (t == 0 || j.At < t) {
			t = j.At
		}
		return t
	case Done:
		return j.At + Time(millis(j.Spec.KeepResult))
	case Failed:
		return j.At + Time(millis(KeepDead))
	}
	return 0
}

func (s *State) tick(r *Reply) {
	for _, j := range s.sorted() {
		if at := j.event(); at == 0 || at > s.m.Now {
			continue
		}
		switch {
		case j.Phase != Queued:
			s.forget(j, r)
		case j.Deadline != 0 && j.Deadline <= s.m.Now:
			s.die(j, Stored{Error: diedLate}, r)
		default:
			s.front(j, r)
		}
	}
	for key, k := range s.m.Keys {
		if k.At+Time(millis(KeyTTL)) <= s.m.Now {
			delete(s.m.Keys, key)
		}
	}
}

func (s *State) forget(j *job, r *Reply) {
	delete(s.m.Jobs, j.Spec.ID)
	s.ended(j.Spec.ID, j.Spec.Blob, r)
	s.ended(j.Spec.ID, j.Result.Blob, r)
}

func (s *State) retry(c *command, r *Reply) {
	j := s.m.Jobs[c.id]
	switch {
	case j == nil:
		r.Outcome = NotFound
		return
	case j.Phase == Queued && j.Delayed:
		s.front(j, r)
	case j.Phase == Failed:
		blob := j.Result.Blob
		j.Phase, j.Attempts, j.At, j.Result = Queued, 0, 0, Stored{}
		if j.Spec.Deadline > 0 {
			j.Deadline = s.m.Now + Time(millis(j.Spec.Deadline))
		}
		s.ended(c.id, blob, r)
		l := s.m.Lanes[j.Lane]
		l.Ready = append(l.Ready, c.id)
		s.activate(j.Lane)
	default:
		r.Outcome = Refused
	}
	r.Job = s.view(c.id)
}

func (s *State) purge(c *command, r *Reply) {
	if len(c.ids) > 0 {
		for id := range slices.Chunk(c.ids, 16) {
			if j := s.m.Jobs[ID(id)]; j != nil && (j.Phase == Done || j.Phase == Failed) {
				s.forget(j, r)
				r.Count++
			}
		}
		return
	}
	for _, j := range s.sorted() {
		if j.Phase == Failed && j.At < c.at && (c.spec.Queue == "" || c.spec.Queue == j.Spec.Queue) {
			s.forget(j, r)
			r.Count++
		}
	}
}

func (s *State) view(id ID) View {
	j := s.m.Jobs[id]
	if j == nil {
		return View{ID: id, State: Forgotten}
	}
	v := View{
		ID: id, Queue: j.Spec.Queue, Tenant: j.Spec.Tenant, Owner: j.Spec.Owner, State: j.Phase, Attempts: j.Attempts, MaxAttempts: int(j.Spec.MaxAttempts),
		Accepted: j.Accepted, Started: j.Started, Deadline: j.Deadline, Status: j.Result.Status,
		ResultBytes: max(int64(len(j.Result.Body)), j.Result.BlobSize),
	}
	switch {
	case j.Phase == Done || j.Phase == Failed:
		v.Finished, v.Expires = j.At, j.event()
	case j.Delayed:
		v.NextAttempt = j.At
	}
	return v
}

// Get returns a job.
func (s *State) Get(id ID) (View, bool) {
	j := s.m.Jobs[id]
	if j == nil {
		return View{}, false
	}
	v := s.view(id)
	v.Error = j.Result.Error
	return v, true
}

// Payload returns the payload of a job that isn't done.
func (s *State) Payload(id ID) ([]byte, error) {
	if j := s.m.Jobs[id]; j != nil {
		return j.Spec.Payload, nil
	}
	return nil, ErrNotFound
}

// Result returns what the last attempt of a job left.
func (s *State) Result(id ID) (Stored, error) {
	if j := s.m.Jobs[id]; j != nil {
		return j.Result, nil
	}
	return Stored{}, ErrNotFound
}

// HasBlob reports whether a job refers to a blob.
func (s *State) HasBlob(name string) bool {
	for _, j := range s.m.Jobs {
		if j.Spec.Blob == name || j.Result.Blob == name {
			return true
		}
	}
	return false
}

// Ready reports whether a queue has something to claim.
func (s *State) Ready(queue string) bool { return len(s.m.Queues[queue]) > 0 }

// Now is the latest time of a command.
func (s *State) Now() Time { return s.m.Now }

// Due is when a tick has something to do, 0 never; it may be early, never late.
func (s *State) Due() Time {
	var due Time
	for _, j := range s.m.Jobs {
		if at := j.event(); at != 0 && (due == 0 || at < due) {
			due = at
		}
	}
	return due
}

// Count is how many jobs are in a phase.
func (s *State) Count(p Phase) (n int) {
	for _, j := range s.m.Jobs {
		if j.Phase == p {
			n++
		}
	}
	return n
}

// Page returns up to f.Limit jobs that f asks for, in the order of their IDs, looking at a part of the jobs from a cursor on, 0 at first. It
// returns the cursor for the next part, 0 after the last.
func (s *State) Page(f *Filter, cursor uint32) (found []View, next uint32) {
	for _, j := range s.m.Jobs {
		if v := s.view(j.Spec.ID); f.matches(&v) {
			found = append(found, v)
		}
	}
	return found, 0
}

// SessionInfo is a session as others see it.
type SessionInfo struct {
	ID, Epoch, Beats uint64
	Node             [16]byte
	Running          int
}

// Sessions returns those that live.
func (s *State) Sessions() (all []SessionInfo) {
	for _, v := range s.m.Sessions {
		all = append(all, SessionInfo{v.ID, v.Epoch, v.Beats, v.Node, len(v.Running)})
	}
	return all
}

// Claims returns what a session runs.
func (s *State) Claims(session uint64) (all []Claim) {
	if v := s.session(session); v != nil {
		for _, id := range v.Running {
			all = append(all, s.claimOf(s.m.Jobs[id]))
		}
	}
	return all
}

// QueueStats are the figures of a queue.
type QueueStats struct {
	Queue   string        `json:"queue"`
	Queued  int           `json:"queued"` // Ready and waiting for another attempt, or their turn
	Running int           `json:"running"`
	Done    int           `json:"done"`
	Failed  int           `json:"failed"`
	Oldest  time.Duration `json:"-"` // how long the oldest has waited that is ready to run
}

// Stats returns the figures of all queues, by name. now is what Oldest is reckoned from.
func (s *State) Stats(now time.Time) []QueueStats {
	byName := map[string]*QueueStats{}
	for _, j := range s.m.Jobs {
		q := byName[j.Spec.Queue]
		if q == nil {
			q = &QueueStats{Queue: j.Spec.Queue}
			byName[j.Spec.Queue] = q
		}
		switch j.Phase {
		case Queued:
			q.Queued++
			q.Oldest = max(q.Oldest, now.Sub(j.Accepted.Time()))
		case Running:
			q.Running++
		case Done:
			q.Done++
		case Failed:
			q.Failed++
		}
	}
	var all []QueueStats
	for _, q := range byName {
		all = append(all, *q)
	}
	slices.SortFunc(all, func(a, b QueueStats) int { return cmp.Compare(a.Queue, b.Queue) })
	return all
}

// Hash returns a hash of the state.
func (s *State) Hash() uint64 { return s.m.Chain }

// Snapshot writes the whole state.
func (s *State) Snapshot(w io.Writer) error { return json.NewEncoder(w).Encode(s.m) }

// Restore replaces the state by what Snapshot wrote.
func (s *State) Restore(r io.Reader) error {
	var m model
	if err := json.NewDecoder(r).Decode(&m); err != nil {
		return err
	}
	s.m = m
	return nil
}
