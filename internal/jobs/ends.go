package jobs

import "encoding/binary"

// end carries out what says how an attempt ended.
func (s *State) end(c *command, r *Reply) {
	i := s.find(&c.id)
	if i == 0 {
		r.Outcome = NotFound
		s.endBlob(c.id, c.result.Blob, r)
		return
	}
	v := s.rows.at(i)
	if v.phase != Running || v.fence != c.fence {
		r.Outcome, r.Job = Stale, s.view(i)
		s.endBlob(c.id, c.result.Blob, r)
		return
	}
	switch c.kind {
	case finish:
		s.finish(i, v, c, r)
	case fail:
		s.setOutcome(i, v, &c.result, r)
		s.die(i, v, 0, r)
	case retryLater:
		s.setOutcome(i, v, &c.result, r)
		s.later(i, v, s.now+max(c.at, c.time)-c.time, r)
	case release:
		s.sums -= v.digest()
		v.attempts--
		s.sums += v.digest()
		s.requeue(i, v, r)
	}
	r.Job = s.view(i)
}

func (s *State) finish(i uint32, v *row, c *command, r *Reply) {
	s.setOutcome(i, v, &c.result, r)
	s.sums -= v.digest()
	s.detach(i, v)
	s.popLate(i, v)
	s.payloads.drop(v.payload)
	v.payload = ref{}
	if v.has(rowBlob) {
		b := s.blobs[i]
		s.setBlobs(i, v, blobs{result: b.result, resultSize: b.resultSize})
		s.endBlob(v.id, b.request, r)
	}
	s.enter(v, Done)
	v.at = s.now
	l := s.classes.at(v.class)
	s.link(i, v, &l.keptFirst, &l.keptLast)
	s.sums += v.digest()
	s.note(expiry(s.now + l.keep))
}

// enter brings a job into another phase.
func (s *State) enter(v *row, p Phase) {
	s.count(v, -1)
	v.phase = p
	s.count(v, 1)
}

// detach takes a job that isn't finished out of the list that it is in, and leaves what it was doing.
func (s *State) detach(i uint32, v *row) {
	switch {
	case v.phase == Running:
		o := s.outcome(v)
		o.started = v.at
		n := v.session
		v.session, v.at = 0, 0
		e := s.sessions.at(n)
		s.unlink(v, &e.first, &e.last)
		e.n--
		if e.dead && e.n == 0 {
			s.closeSession(n)
		}
		s.unblock(i, v)
	case v.has(rowDelayed):
		s.popDelayed(v)
		v.flags &^= rowDelayed
		v.at = 0
		s.unblock(i, v)
	default:
		s.popReady(i, v)
	}
}

// outcome returns the job's, made if there is none.
func (s *State) outcome(v *row) *outcome {
	if v.result == 0 {
		v.result = s.outcomes.add()
	}
	return s.outcomes.at(v.result)
}

// setOutcome keeps the result of an attempt instead of that of the one before.
func (s *State) setOutcome(i uint32, v *row, result *Stored, r *Reply) {
	o := s.outcome(v)
	s.payloads.drop(o.record)
	o.record = ref{}
	if n := len(result.Error) + len(result.Head) + len(result.Body); n > 0 {
		var head [8]byte
		binary.LittleEndian.PutUint16(head[:], uint16(len(result.Error)))
		binary.LittleEndian.PutUint32(head[4:], uint32(len(result.Head)))
		o.record = s.payloads.put(i<<1|1, head[:], []byte(result.Error), result.Head, result.Body)
	}
	o.body, o.status = uint32(len(result.Body)), uint16(result.Status)
	b := s.blobs[i]
	if old := b.result; old != result.Blob {
		s.sums -= v.digest()
		b.result, b.resultSize = result.Blob, result.BlobSize
		s.setBlobs(i, v, b)
		s.sums += v.digest()
		s.endBlob(v.id, old, r)
	}
}

// parseOutcome takes a record of setOutcome apart.
func parseOutcome(p []byte) (message string, head, body []byte) {
	if len(p) < 8 {
		return "", nil, nil
	}
	n, h := int(binary.LittleEndian.Uint16(p)), int(binary.LittleEndian.Uint32(p[4:]))
	p = p[8:]
	if n+h > len(p) {
		return "", nil, nil
	}
	return string(p[:n]), p[n : n+h : n+h], p[n+h:]
}

// die makes a job a dead letter. why is a flag of the row, 0 if the result says it.
func (s *State) die(i uint32, v *row, why byte, r *Reply) {
	s.sums -= v.digest()
	s.detach(i, v)
	s.popLate(i, v)
	s.enter(v, Failed)
	v.flags |= why
	v.at = s.now
	q := s.queueOfRow(v)
	s.link(i, v, &q.first, &q.last)
	s.sums += v.digest()
	s.note(expiry(s.now + keepDead))
	r.Died = append(r.Died, v.id)
}

// later lets a job that runs wait until it is tried again.
func (s *State) later(i uint32, v *row, at Time, r *Reply) {
	switch {
	case v.attempts >= s.classes.at(v.class).attempts:
		s.die(i, v, 0, r)
	case v.late(at):
		s.die(i, v, rowDiedLate, r)
	case at <= s.now:
		s.requeue(i, v, r)
	default:
		s.sums -= v.digest()
		s.detach(i, v)
		s.enter(v, Queued)
		v.flags |= rowDelayed
		v.at = at
		s.pushDelayed(i)
		s.block(i, v)
		s.sums += v.digest()
		s.note(at)
	}
}

// requeue lets a job that runs or is delayed wait in front of the others of its lane, unless it is too late.
func (s *State) requeue(i uint32, v *row, r *Reply) {
	if v.late(s.now) {
		s.die(i, v, rowDiedLate, r)
		return
	}
	s.sums -= v.digest()
	s.detach(i, v)
	s.enter(v, Queued)
	s.pushReady(i, v, true)
	s.sums += v.digest()
}
