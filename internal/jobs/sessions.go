package jobs

func (s *State) openSession(c *command, r *Reply) {
	left := s.bounds.budget
	for i := uint32(1); i <= s.sessions.n; i++ {
		e := s.sessions.at(i)
		if e.id == 0 || e.node != c.node {
			continue
		}
		if e.epoch == c.number && !e.dead {
			r.Session = e.id
			return
		}
		if e.epoch >= c.number {
			r.Outcome = Stale
			return
		}
	}
	if s.sessions.live >= maxSessions {
		r.Outcome = Full
		return
	}
	for i := uint32(1); i <= s.sessions.n; i++ {
		if e := s.sessions.at(i); e.id != 0 && e.node == c.node {
			s.drain(i, r, &left)
		}
	}
	s.lastSession++
	i := s.sessions.add()
	*s.sessions.at(i) = session{id: s.lastSession, epoch: c.number, node: c.node}
	s.openOf[s.lastSession] = i
	s.sums += s.sessions.at(i).digest()
	r.Session = s.lastSession
}

func (e *session) digest() uint64 {
	hi, lo := words(&e.node)
	dead := uint64(0)
	if e.dead {
		dead = 1
	}
	return chain(4, e.id, e.epoch, e.beats, hi, lo, dead)
}

// open returns a session that lives.
func (s *State) open(id uint64) (i uint32, e *session) {
	i = s.openOf[id]
	if i == 0 || s.sessions.at(i).dead {
		return 0, nil
	}
	return i, s.sessions.at(i)
}

func (s *State) beat(c *command, r *Reply) {
	_, e := s.open(c.session)
	if e == nil {
		r.Outcome = Gone
		return
	}
	s.sums -= e.digest()
	e.beats++
	s.sums += e.digest()
}

func (s *State) reap(c *command, r *Reply) {
	i := s.openOf[c.session]
	if i == 0 {
		r.Outcome = NotFound
		return
	}
	if e := s.sessions.at(i); !e.dead && e.beats != c.number {
		r.Outcome = Stale
		return
	}
	left := s.bounds.budget
	s.drain(i, r, &left)
}

// drain ends a session and takes from it what it ran, as far as the budget goes: the last claim first, so that in front of the others the first is the
// first again.
func (s *State) drain(i uint32, r *Reply, left *int) {
	e := s.sessions.at(i)
	if !e.dead {
		s.sums -= e.digest()
		e.dead = true
		s.sums += e.digest()
		if e.n == 0 {
			s.closeSession(i)
			return
		}
	}
	for n := e.n; n > 0; n-- {
		if *left == 0 {
			r.More = true
			s.note(s.now)
			return
		}
		*left--
		job := e.last
		v := s.rows.at(job)
		if v.attempts >= s.classes.at(v.class).attempts {
			s.die(job, v, rowDiedWithNode, r)
		} else {
			s.requeue(job, v, r)
		}
	}
}

func (s *State) closeSession(i uint32) {
	e := s.sessions.at(i)
	s.sums -= e.digest()
	delete(s.openOf, e.id)
	s.sessions.remove(i)
}

// claim gives a session jobs, from the lanes in turn.
func (s *State) claim(c *command, r *Reply) {
	n, e := s.open(c.session)
	if e == nil {
		r.Outcome = Gone
		return
	}
	qi := s.queueOf[string(c.queue)]
	if qi == 0 {
		return
	}
	q := s.queues.at(qi)
	want := int(min(c.number, MaxClaim))
	if some := min(want, q.counts[Queued]); some > 0 && q.turn != 0 {
		r.Claimed = make([]Claim, 0, some)
	}
	for q.turn != 0 && len(r.Claimed) < want {
		if len(r.Died) == s.bounds.budget {
			r.More = true
			return
		}
		turn := q.turn
		l := s.lanes.at(turn)
		if l.deficit == 0 {
			l.deficit = l.weight
		}
		i := l.first
		v := s.rows.at(i)
		if v.late(s.now) {
			s.die(i, v, rowDiedLate, r)
			continue
		}
		l.deficit--
		exhausted := l.deficit == 0
		s.start(i, v, n, e)
		r.Claimed = append(r.Claimed, s.claimOf(i, v))
		if exhausted && q.turn == turn {
			q.turn = l.after
		}
	}
}

func (s *State) start(i uint32, v *row, n uint32, e *session) {
	s.sums -= v.digest()
	s.popReady(i, v)
	s.enter(v, Running)
	v.session, v.at = n, s.now
	v.attempts++
	v.fence++
	s.link(i, v, &e.first, &e.last)
	e.n++
	s.block(i, v)
	d := v.digest()
	s.sums += d
	s.claims = chain(s.claims, d)
}
