package jobs

// budget bounds what a command does beyond its own job.
const budget = 1024

// MaxClaim is how many jobs a command claims at most.
const MaxClaim = 1024

// Bounds of what jobs have in common.
const (
	maxClasses  = 1 << 16
	maxSessions = 1 << 16
	maxQueues   = 1 << 16
)

// State is the jobs: a state machine in the sense of [journal.Machine]. Apply is a pure function of the state and a command. Make one with
// NewState; it is not safe for concurrent use, but methods that only read may be called at once.
type State struct {
	payloads *Payloads

	rows     slab[row]
	ids      index
	outcomes slab[outcome]
	blobs    map[uint32]blobs
	blobRefs map[string]int

	lanes    slab[lane]
	laneOf   map[laneKey]uint32
	queues   slab[queue]
	queueOf  map[string]uint32
	owners   slab[owner]
	ownerOf  map[string]uint32
	classes  slab[class]
	classOf  map[classKey]uint32
	sessions slab[session]
	openOf   map[uint64]uint32 // sessions by id

	keys              slab[keyRow]
	keyIndex          index
	firstKey, lastKey uint32

	delayed []uint32 // a heap of rows, by when they are due

	now         Time
	lastSession uint64
	claims      uint64 // a chain over all claims, in which the order of all lists shows
	sums        uint64 // of the digests of rows, keys and sessions
	counts      [Failed + 1]int

	due    Time // nothing is due before; 0: nothing ever is
	hooks  *hooks
	bounds bounds // no part of the state
}

// bounds are those that tests may lower.
type bounds struct{ queued, jobs, keys, budget int }

type laneKey struct {
	queue   uint32
	tenant  string
	ordered bool
}

// NewState returns a state without jobs. It owns p until that is closed; nil keeps payloads in memory.
func NewState(p *Payloads) *State {
	if p == nil {
		p = newPayloads("")
	}
	return &State{
		payloads: p, blobs: map[uint32]blobs{}, blobRefs: map[string]int{},
		laneOf: map[laneKey]uint32{}, queueOf: map[string]uint32{}, ownerOf: map[string]uint32{}, classOf: map[classKey]uint32{},
		openOf: map[uint64]uint32{}, hooks: newHooks(), bounds: bounds{MaxQueued, MaxJobs, MaxKeys, budget},
	}
}

// Apply changes the state by a command. Bytes that are no command change nothing.
func (s *State) Apply(cmd []byte) Reply {
	c, ok := parseCommand(cmd)
	if !ok {
		return Reply{Outcome: Invalid}
	}
	s.now = max(s.now, c.time)
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
	case beat:
		s.beat(&c, &r)
	case reap:
		s.reap(&c, &r)
	case tick:
		s.tick(&r)
	case retry:
		s.retry(&c, &r)
	case purge:
		s.purge(&c, &r)
	case cancel:
		s.cancel(&c, &r)
	}
	s.payloads.move(s.noted)
	s.hooks.show(s)
	return r
}

// noted returns where the state has the place of a record.
func (s *State) noted(owner uint32) *ref {
	r := s.rows.at(owner >> 1)
	switch {
	case owner&1 == 0:
		return &r.payload
	case r.result != 0:
		return &s.outcomes.at(r.result).record
	}
	return nil
}

// find returns the number of a job, 0 if there is none.
func (s *State) find(id *ID) uint32 {
	return s.ids.find(id.hash(), func(i uint32) bool { return s.rows.at(i).id == *id })
}

func (s *State) hashOfRow(i uint32) uint64 { return s.rows.at(i).id.hash() }

func (s *State) hashOfKey(i uint32) uint64 { return hashDigest(&s.keys.at(i).digest) }

func (s *State) queueOfRow(r *row) *queue { return s.queues.at(s.lanes.at(r.lane).queue) }

// count notes that a job comes into a phase (1) or leaves it (-1).
func (s *State) count(r *row, by int) {
	s.counts[r.phase] += by
	s.queueOfRow(r).counts[r.phase] += by
}

func (s *State) enqueue(c *command, r *Reply) {
	spec := &c.spec
	if i := s.find(&spec.ID); i != 0 {
		r.Outcome, r.Job = Existed, s.view(i)
		return
	}
	if r.Outcome, r.Job = s.admit(c); r.Outcome != OK {
		s.endBlob(spec.ID, spec.Blob, r)
		return
	}
	i := s.rows.add()
	v := s.rows.at(i)
	*v = row{id: spec.ID, accepted: s.now, phase: Queued, lane: s.enlist(c), owner: s.own(c.owner), class: s.classify(spec)}
	v.payload = s.payloads.put(i<<1, spec.Payload)
	if spec.Blob != "" {
		s.setBlobs(i, v, blobs{request: spec.Blob, requestSize: spec.BlobSize})
	}
	s.ids.put(v.id.hash(), i)
	s.limit(i, v)
	s.pushReady(i, v, false)
	s.count(v, 1)
	s.sums += v.digest()
	if c.keyed {
		s.remember(c)
	}
	r.Job = s.view(i)
}

// admit says what becomes of a job that is to be accepted: OK, or that it is an earlier one, or that it is refused.
func (s *State) admit(c *command) (Outcome, View) {
	if c.keyed {
		if i := s.key(&c.key); i != 0 && s.keys.at(i).at+keyTTL > s.now {
			k := s.keys.at(i)
			o, v := Existed, View{ID: k.job, State: Forgotten}
			if k.fingerprint != c.spec.Fingerprint {
				o = Conflict
			}
			if j := s.find(&k.job); j != 0 {
				v = s.view(j)
			}
			return o, v
		}
	}
	if s.counts[Queued] >= s.bounds.queued || s.rows.live >= s.bounds.jobs || c.keyed && s.keys.live >= s.bounds.keys ||
		s.classes.live >= maxClasses || s.queues.live >= maxQueues {
		return Full, View{}
	}
	return OK, View{}
}

// enlist returns the job's lane, made if there is none, which has one more job.
func (s *State) enlist(c *command) uint32 {
	q := s.queueOf[string(c.queue)]
	if q == 0 {
		q = s.queues.add()
		name := string(c.queue)
		s.queues.at(q).name = name
		s.queueOf[name] = q
	}
	i := s.laneOf[laneKey{q, string(c.tenant), c.spec.Ordered}]
	if i == 0 {
		i = s.lanes.add()
		tenant := string(c.tenant)
		*s.lanes.at(i) = lane{queue: q, tenant: tenant, ordered: c.spec.Ordered}
		s.laneOf[laneKey{q, tenant, c.spec.Ordered}] = i
		s.queues.at(q).refs++
	}
	l := s.lanes.at(i)
	l.refs++
	l.weight = uint32(c.spec.Weight)
	return i
}

func (s *State) delist(i uint32) {
	l := s.lanes.at(i)
	if l.refs--; l.refs > 0 {
		return
	}
	q := s.queues.at(l.queue)
	if q.refs--; q.refs == 0 {
		delete(s.queueOf, q.name)
		s.queues.remove(l.queue)
	}
	delete(s.laneOf, laneKey{l.queue, l.tenant, l.ordered})
	s.lanes.remove(i)
}

func (s *State) own(name []byte) uint32 {
	i := s.ownerOf[string(name)]
	if i == 0 {
		i = s.owners.add()
		s.owners.at(i).name = string(name)
		s.ownerOf[s.owners.at(i).name] = i
	}
	s.owners.at(i).refs++
	return i
}

func (s *State) disown(i uint32) {
	o := s.owners.at(i)
	if o.refs--; o.refs == 0 {
		delete(s.ownerOf, o.name)
		s.owners.remove(i)
	}
}

func (s *State) classify(spec *Spec) uint32 {
	key := classKey{Time(millis(spec.Timeout)), Time(millis(spec.Deadline)), Time(millis(spec.KeepResult)), spec.MaxAttempts}
	i := s.classOf[key]
	if i == 0 {
		i = s.classes.add()
		s.classes.at(i).classKey = key
		s.classOf[key] = i
	}
	s.classes.at(i).refs++
	return i
}

func (s *State) declassify(i uint32) {
	c := s.classes.at(i)
	if c.refs--; c.refs == 0 {
		delete(s.classOf, c.classKey)
		s.classes.remove(i)
	}
}

// limit gives a job the deadline of its class, from now on.
func (s *State) limit(i uint32, r *row) {
	if c := s.classes.at(r.class); c.deadline != 0 {
		r.deadline = s.now + c.deadline
		s.pushLate(i, r)
		s.note(r.deadline)
	}
}

func (r *row) late(now Time) bool { return r.deadline != 0 && r.deadline <= now }

// forget removes a job that is in no list.
func (s *State) forget(i uint32, r *Reply) {
	v := s.rows.at(i)
	s.sums -= v.digest()
	s.count(v, -1)
	s.popLate(i, v)
	s.payloads.drop(v.payload)
	s.dropOutcome(v)
	b := s.blobs[i]
	s.setBlobs(i, v, blobs{})
	s.endBlob(v.id, b.request, r)
	s.endBlob(v.id, b.result, r)
	s.ids.drop(s.hashOfRow(i), i)
	s.delist(v.lane)
	s.disown(v.owner)
	s.declassify(v.class)
	s.rows.remove(i)
}

func (s *State) dropOutcome(v *row) {
	if v.result != 0 {
		s.payloads.drop(s.outcomes.at(v.result).record)
		s.outcomes.remove(v.result)
		v.result = 0
	}
}

// setBlobs says which blobs a job refers to.
func (s *State) setBlobs(i uint32, r *row, b blobs) {
	old := s.blobs[i]
	for _, name := range []string{b.request, b.result} {
		if name != "" {
			s.blobRefs[name]++
		}
	}
	for _, name := range []string{old.request, old.result} {
		if name == "" {
			continue
		}
		if s.blobRefs[name]--; s.blobRefs[name] == 0 {
			delete(s.blobRefs, name)
		}
	}
	if r.flags &^= rowBlob; b != (blobs{}) {
		r.flags |= rowBlob
		s.blobs[i] = b
	} else if old != b {
		delete(s.blobs, i)
	}
}

// endBlob tells whoever sent the command of a blob that no job refers to.
func (s *State) endBlob(id ID, name string, r *Reply) {
	if name != "" && s.blobRefs[name] == 0 {
		r.Ended = append(r.Ended, Ended{ID: id, Blob: name})
	}
}

// note says that something is due then.
func (s *State) note(at Time) {
	if s.due == 0 || at < s.due {
		s.due = at
	}
}

// Hash returns a hash of the state, which every command keeps up to date.
func (s *State) Hash() uint64 {
	return chain(3, s.sums, s.claims, uint64(s.now), s.lastSession, uint64(s.rows.live), uint64(s.keys.live))
}
