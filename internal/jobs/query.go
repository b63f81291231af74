package jobs

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"slices"
	"time"
)

// view is what replies say of a job: without its error, which is in a file.
func (s *State) view(i uint32) View {
	r := s.rows.at(i)
	c, l := s.classes.at(r.class), s.lanes.at(r.lane)
	v := View{
		ID: r.id, Queue: s.queues.at(l.queue).name, Tenant: l.tenant, Owner: s.owners.at(r.owner).name, State: r.phase,
		Attempts: int(r.attempts), MaxAttempts: int(c.attempts), Accepted: r.accepted, Deadline: r.deadline,
	}
	if r.result != 0 {
		o := s.outcomes.at(r.result)
		v.Started, v.Status, v.ResultBytes = o.started, int(o.status), int64(o.body)
	}
	if b, ok := s.blobs[i]; ok && b.result != "" {
		v.ResultBytes = b.resultSize
	}
	switch r.phase {
	case Queued:
		v.NextAttempt = r.at
	case Running:
		v.Started = r.at
	case Done:
		v.Finished, v.Expires = r.at, r.at+c.keep
	case Failed:
		v.Finished, v.Expires = r.at, r.at+keepDead
	}
	return v
}

// Why a job failed without a handler saying so.
const (
	diedWithNode = "the node died while running it"
	diedLate     = "its deadline passed before it could be done"
	diedUnwanted = "it was cancelled"
)

func why(flags byte, message string) string {
	text := ""
	switch {
	case flags&rowDiedWithNode != 0:
		text = diedWithNode
	case flags&rowDiedLate != 0:
		text = diedLate
	case flags&rowCancelled != 0:
		text = diedUnwanted
	default:
		return message
	}
	if message != "" {
		text += "; the last attempt: " + message
	}
	return text
}

// Get returns a job.
func (s *State) Get(id ID) (View, bool) {
	i := s.find(&id)
	if i == 0 {
		return View{}, false
	}
	v := s.view(i)
	if r, err := s.Result(id); err == nil {
		v.Error = r.Error
	} else {
		v.Error = err.Error()
	}
	return v, true
}

// Payload returns the payload of a job that isn't done, or ErrNotFound.
func (s *State) Payload(id ID) ([]byte, error) {
	p, err := s.payloadOf(id)
	if err != nil {
		return nil, err
	}
	return p.read()
}

func (s *State) payloadOf(id ID) (piece, error) {
	i := s.find(&id)
	if i == 0 {
		return piece{}, ErrNotFound
	}
	return s.payloads.locate(s.rows.at(i).payload), nil
}

// Result returns what the last attempt of a job left, or ErrNotFound.
func (s *State) Result(id ID) (Stored, error) {
	k, err := s.resultOf(id)
	if err != nil {
		return Stored{}, err
	}
	return k.read()
}

// A keptResult is a result whose record is not read yet.
type keptResult struct {
	Stored
	piece
	flags byte
}

func (s *State) resultOf(id ID) (k keptResult, err error) {
	i := s.find(&id)
	if i == 0 {
		return k, ErrNotFound
	}
	v := s.rows.at(i)
	k.flags = v.flags
	if v.result != 0 {
		o := s.outcomes.at(v.result)
		k.Status, k.piece = int(o.status), s.payloads.locate(o.record)
	}
	if b, ok := s.blobs[i]; ok {
		k.Blob, k.BlobSize = b.result, b.resultSize
	}
	return k, nil
}

func (k *keptResult) read() (Stored, error) {
	data, err := k.piece.read()
	if err != nil {
		return Stored{}, err
	}
	k.Error, k.Head, k.Body = parseOutcome(data)
	k.Error = why(k.flags, k.Error)
	return k.Stored, nil
}

// again reports whether a record has to be looked for again.
func again(err error) bool { return errors.Is(err, os.ErrClosed) }

// HasBlob reports whether a job refers to a blob.
func (s *State) HasBlob(name string) bool { return s.blobRefs[name] > 0 }

// Ready reports whether a queue has something to claim.
func (s *State) Ready(queue string) bool {
	i := s.queueOf[queue]
	return i != 0 && s.queues.at(i).turn != 0
}

// Now is the latest time of a command.
func (s *State) Now() Time { return s.now }

// Due is when a tick has something to do, 0 never. It may be early; only what is to be forgotten waits for up to a second more.
func (s *State) Due() Time { return s.due }

// Count is how many jobs are in a phase.
func (s *State) Count(p Phase) int {
	if int(p) >= len(s.counts) {
		return 0
	}
	return s.counts[p]
}

// PayloadStats are the figures of the files that payloads and results are in.
func (s *State) PayloadStats() PayloadStats { return s.payloads.stats() }

// pageRows is how many rows Page looks at: some hundred microseconds' worth.
const pageRows = 8 << 10

// Page returns jobs that f asks for, in no order, looking at a part of all jobs from a cursor on, 0 at first. It returns the cursor for the next part,
// 0 after the last. The limit of f doesn't count.
func (s *State) Page(f *Filter, cursor uint32) (found []View, next uint32) {
	end := min(cursor+pageRows, s.rows.n)
	for i := cursor + 1; i <= end; i++ {
		r := s.rows.at(i)
		if r.phase == 0 || f.State != 0 && f.State != r.phase || bytes.Compare(r.id[:], f.After[:]) <= 0 || f.behind(&r.id) {
			continue
		}
		if v := s.view(i); f.matches(&v) {
			found = append(found, v)
		}
	}
	if end == s.rows.n {
		return found, 0
	}
	return found, end
}

// SessionInfo is a session as others see it.
type SessionInfo struct {
	ID, Epoch, Beats uint64
	Node             [16]byte
	Running          int
}

// Sessions returns those that live, and those that are dead while they still have jobs.
func (s *State) Sessions() (all []SessionInfo) {
	for i := uint32(1); i <= s.sessions.n; i++ {
		if e := s.sessions.at(i); e.id != 0 {
			all = append(all, SessionInfo{e.id, e.epoch, e.beats, e.node, e.n})
		}
	}
	return all
}

// Claims returns what a session runs, in the order in which it was claimed.
func (s *State) Claims(id uint64) (all []Claim) {
	n := s.openOf[id]
	if n == 0 {
		return nil
	}
	for i := s.sessions.at(n).first; i != 0; i = s.rows.at(i).after {
		all = append(all, s.claimOf(i, s.rows.at(i)))
	}
	return all
}

func (s *State) claimOf(i uint32, v *row) Claim {
	l, c := s.lanes.at(v.lane), s.classes.at(v.class)
	claim := Claim{
		Spec: Spec{
			ID: v.id, Queue: s.queues.at(l.queue).name, Tenant: l.tenant, Owner: s.owners.at(v.owner).name, Ordered: l.ordered, Weight: int(l.weight),
			MaxAttempts: c.attempts, Timeout: c.timeout.span(), Deadline: c.deadline.span(), KeepResult: c.keep.span(),
		},
		Attempt: int(v.attempts), Fence: v.fence, Accepted: v.accepted, Expires: v.deadline,
	}
	if v.has(rowBlob) {
		b := s.blobs[i]
		claim.Blob, claim.BlobSize = b.request, b.requestSize
	}
	return claim
}

// span is a duration of the state's clock.
func (t Time) span() time.Duration { return time.Duration(t) * time.Millisecond }

// QueueStats are the figures of a queue.
type QueueStats struct {
	Queue   string `json:"queue"`
	Queued  int    `json:"queued"`  // ready, waiting for their turn or for another attempt
	Running int    `json:"running"` // on a worker of some node
	Done    int    `json:"done"`    // and not forgotten yet
	Failed  int    `json:"failed"`  // dead letters
	Oldest  Time   `json:"oldest,omitzero"`
	// Age is how long the oldest has waited that is ready to run, accepted at Oldest.
	Age time.Duration `json:"-"`
}

// Stats returns the figures of all queues that have jobs, by name. now is what Age is reckoned from. It looks at the first job of every lane that has
// its turn.
func (s *State) Stats(now time.Time) (all []QueueStats) {
	for n := uint32(1); n <= s.queues.n; n++ {
		q := s.queues.at(n)
		if q.refs == 0 {
			continue
		}
		st := QueueStats{Queue: q.name, Queued: q.counts[Queued], Running: q.counts[Running], Done: q.counts[Done], Failed: q.counts[Failed]}
		for i := q.turn; i != 0; {
			l := s.lanes.at(i)
			if at := s.rows.at(l.first).accepted; st.Oldest == 0 || at < st.Oldest {
				st.Oldest = at
				st.Age = max(0, now.Sub(at.Time()))
			}
			if i = l.after; i == q.turn {
				break
			}
		}
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b QueueStats) int { return cmp.Compare(a.Queue, b.Queue) })
	return all
}
