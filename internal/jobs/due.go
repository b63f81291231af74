package jobs

// tick does what is due, as far as the budget goes.
func (s *State) tick(r *Reply) {
	left := s.bounds.budget
	for i := uint32(1); i <= s.sessions.n && left > 0; i++ {
		if s.sessions.at(i).dead {
			s.drain(i, r, &left)
		}
	}
	for ; left > 0 && len(s.delayed) > 0 && s.rows.at(s.delayed[0]).at <= s.now; left-- {
		i := s.delayed[0]
		s.requeue(i, s.rows.at(i), r)
	}
	for n := uint32(1); n <= s.classes.n; n++ {
		s.tickClass(s.classes.at(n), &left, r)
	}
	for n := uint32(1); n <= s.queues.n; n++ {
		for q := s.queues.at(n); left > 0 && q.first != 0 && s.rows.at(q.first).at+keepDead <= s.now; left-- {
			s.bury(q, r)
		}
	}
	for ; left > 0 && s.firstKey != 0 && s.keys.at(s.firstKey).at+keyTTL <= s.now; left-- {
		s.forgetKey()
	}
	s.due = s.nextDue()
	r.More = left == 0 && s.due != 0 && s.due <= expiry(s.now)
}

func (s *State) tickClass(c *class, left *int, r *Reply) {
	for ; *left > 0 && c.lateFirst != 0 && s.rows.at(c.lateFirst).deadline <= s.now; *left-- {
		i := c.lateFirst
		v := s.rows.at(i)
		if v.phase == Queued {
			s.die(i, v, rowDiedLate, r)
			continue
		}
		s.sums -= v.digest() // it runs: it is too late when it comes back
		s.popLate(i, v)
		s.sums += v.digest()
	}
	for ; *left > 0 && c.keptFirst != 0 && s.rows.at(c.keptFirst).at+c.keep <= s.now; *left-- {
		i := c.keptFirst
		s.unlink(s.rows.at(i), &c.keptFirst, &c.keptLast)
		s.forget(i, r)
	}
}

// bury forgets the oldest dead letter of a queue.
func (s *State) bury(q *queue, r *Reply) {
	i := q.first
	s.unlink(s.rows.at(i), &q.first, &q.last)
	s.forget(i, r)
}

// nextDue returns when the next thing is due, 0 never.
func (s *State) nextDue() (due Time) {
	at := func(t Time) {
		if due == 0 || t < due {
			due = max(t, 1)
		}
	}
	for i := uint32(1); i <= s.sessions.n; i++ {
		if s.sessions.at(i).dead {
			at(s.now)
		}
	}
	if len(s.delayed) > 0 {
		at(s.rows.at(s.delayed[0]).at)
	}
	for n := uint32(1); n <= s.classes.n; n++ {
		c := s.classes.at(n)
		if c.lateFirst != 0 {
			at(s.rows.at(c.lateFirst).deadline)
		}
		if c.keptFirst != 0 {
			at(expiry(s.rows.at(c.keptFirst).at + c.keep))
		}
	}
	for n := uint32(1); n <= s.queues.n; n++ {
		if q := s.queues.at(n); q.first != 0 {
			at(expiry(s.rows.at(q.first).at + keepDead))
		}
	}
	if s.firstKey != 0 {
		at(expiry(s.keys.at(s.firstKey).at + keyTTL))
	}
	return due
}

// retry queues a failed job again, as if it were new, or one at once that is delayed.
func (s *State) retry(c *command, r *Reply) {
	i := s.find(&c.id)
	if i == 0 {
		r.Outcome = NotFound
		return
	}
	v := s.rows.at(i)
	switch {
	case v.phase == Queued && v.has(rowDelayed):
		s.requeue(i, v, r)
	case v.phase != Failed:
		r.Outcome = Refused
	case s.counts[Queued] >= s.bounds.queued:
		r.Outcome = Full
	default:
		s.revive(i, v, r)
	}
	r.Job = s.view(i)
}

func (s *State) revive(i uint32, v *row, r *Reply) {
	s.sums -= v.digest()
	q := s.queueOfRow(v)
	s.unlink(v, &q.first, &q.last)
	s.enter(v, Queued)
	v.flags &^= rowDied
	v.attempts, v.at = 0, 0
	s.dropOutcome(v)
	if b := s.blobs[i]; b.result != "" {
		s.setBlobs(i, v, blobs{request: b.request, requestSize: b.requestSize})
		s.endBlob(v.id, b.result, r)
	}
	s.limit(i, v)
	s.pushReady(i, v, false)
	s.sums += v.digest()
}

// purge forgets jobs that are finished: those with the ids, or dead letters from before a time.
func (s *State) purge(c *command, r *Reply) {
	for k := 0; k < len(c.ids); k += 16 {
		if i := s.find((*ID)(c.ids[k : k+16])); i != 0 {
			s.purgeOne(i, r)
		}
	}
	if len(c.ids) > 0 {
		return
	}
	left := s.bounds.budget
	for n := uint32(1); n <= s.queues.n; n++ {
		q := s.queues.at(n)
		if len(c.queue) > 0 && q.name != string(c.queue) {
			continue
		}
		for q.first != 0 && s.rows.at(q.first).at < c.at {
			if left == 0 {
				r.More = true
				return
			}
			left--
			s.bury(q, r)
			r.Count++
		}
	}
}

func (s *State) purgeOne(i uint32, r *Reply) {
	v := s.rows.at(i)
	switch v.phase {
	case Done:
		c := s.classes.at(v.class)
		s.unlink(v, &c.keptFirst, &c.keptLast)
	case Failed:
		q := s.queueOfRow(v)
		s.unlink(v, &q.first, &q.last)
	default:
		return
	}
	s.forget(i, r)
	r.Count++
}
