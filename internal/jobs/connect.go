package jobs

// connect makes of what a snapshot has all that follows from it: indexes, counts, and the ways back in lists. It reports false if that doesn't come out.
func (s *State) connect(rings [][]uint32) bool {
	return s.connectNames() && s.connectRows() && s.connectLists() && s.connectRings(rings)
}

func (s *State) connectNames() bool {
	for n := uint32(1); n <= s.queues.n; n++ {
		if q := s.queues.at(n); q.name != "" {
			s.queueOf[q.name] = n
		}
	}
	for n := uint32(1); n <= s.lanes.n; n++ {
		l := s.lanes.at(n)
		if l.queue == 0 { // its number is free
			continue
		}
		if l.queue > s.queues.n || s.queues.at(l.queue).name == "" {
			return false
		}
		s.laneOf[laneKey{l.queue, l.tenant, l.ordered}] = n
		s.queues.at(l.queue).refs++
	}
	for n := uint32(1); n <= s.classes.n; n++ {
		if c := s.classes.at(n); c.attempts != 0 {
			s.classOf[c.classKey] = n
		}
	}
	for n := uint32(1); n <= s.sessions.n; n++ {
		if e := s.sessions.at(n); e.id != 0 {
			s.openOf[e.id] = n
			s.sums += e.digest()
		}
	}
	return len(s.queueOf) == s.queues.live && len(s.laneOf) == s.lanes.live && len(s.classOf) == s.classes.live && len(s.openOf) == s.sessions.live
}

func (s *State) connectRows() bool {
	for i := uint32(1); i <= s.rows.n; i++ {
		v := s.rows.at(i)
		if v.phase == 0 {
			continue
		}
		if !s.refers(v) || v.has(rowDelayed) && v.phase != Queued || s.find(&v.id) != 0 {
			return false
		}
		s.ids.put(v.id.hash(), i)
		s.lanes.at(v.lane).refs++
		s.owners.at(v.owner).refs++
		s.classes.at(v.class).refs++
		s.count(v, 1)
		s.sums += v.digest()
		if v.has(rowDelayed) {
			s.pushDelayed(i)
		}
		if l := s.lanes.at(v.lane); l.ordered && (v.phase == Running || v.has(rowDelayed)) {
			if l.blocked != 0 {
				return false
			}
			l.blocked = i
		}
	}
	for n := uint32(1); n <= s.lanes.n; n++ {
		if l := s.lanes.at(n); l.queue != 0 && l.refs == 0 {
			return false
		}
	}
	for n := uint32(1); n <= s.queues.n; n++ {
		if q := s.queues.at(n); q.name != "" && q.refs == 0 {
			return false
		}
	}
	return s.connectOwners()
}

// refers reports whether what a job belongs to is there.
func (s *State) refers(v *row) bool {
	return v.owner != 0 && v.owner <= s.owners.n &&
		v.lane != 0 && v.lane <= s.lanes.n && s.lanes.at(v.lane).queue != 0 &&
		v.class != 0 && v.class <= s.classes.n && s.classes.at(v.class).attempts != 0 &&
		(v.phase != Running || v.session != 0 && v.session <= s.sessions.n && s.sessions.at(v.session).id != 0)
}

func (s *State) connectOwners() bool {
	for n := uint32(1); n <= s.owners.n; n++ {
		if o := s.owners.at(n); o.refs > 0 {
			s.ownerOf[o.name] = n
		}
	}
	return len(s.ownerOf) == s.owners.live
}

// A walk goes through lists in which every job must be once.
type walk struct {
	s    *State
	seen []uint64
	n    int
}

// list goes through a list of jobs that belong there, and returns the last.
func (w *walk) list(first uint32, belongs func(v *row) bool) (last uint32, n int, ok bool) {
	for i := first; i != 0; n++ {
		if i > w.s.rows.n || w.seen[i/64]&(1<<(i%64)) != 0 {
			return 0, 0, false
		}
		w.seen[i/64] |= 1 << (i % 64)
		w.n++
		v := w.s.rows.at(i)
		if !belongs(v) {
			return 0, 0, false
		}
		v.before, last = last, i
		i = v.after
	}
	return last, n, true
}

func (s *State) connectLists() (ok bool) {
	w := &walk{s: s, seen: make([]uint64, s.rows.n/64+1)}
	for n := uint32(1); n <= s.lanes.n; n++ {
		l := s.lanes.at(n)
		if l.last, _, ok = w.list(l.first, func(v *row) bool { return v.phase == Queued && v.lane == n && !v.has(rowDelayed) }); !ok {
			return false
		}
	}
	for n := uint32(1); n <= s.sessions.n; n++ {
		e := s.sessions.at(n)
		if e.last, e.n, ok = w.list(e.first, func(v *row) bool { return v.phase == Running && v.session == n }); !ok || e.dead && e.n == 0 {
			return false
		}
	}
	for n := uint32(1); n <= s.queues.n; n++ {
		q := s.queues.at(n)
		if q.last, _, ok = w.list(q.first, func(v *row) bool { return v.phase == Failed && s.lanes.at(v.lane).queue == n }); !ok {
			return false
		}
	}
	for n := uint32(1); n <= s.classes.n; n++ {
		c := s.classes.at(n)
		if c.keptLast, _, ok = w.list(c.keptFirst, func(v *row) bool { return v.phase == Done && v.class == n }); !ok {
			return false
		}
	}
	return w.n+len(s.delayed) == s.rows.live && s.connectLate()
}

func (s *State) connectLate() bool {
	listed := 0
	for n := uint32(1); n <= s.classes.n; n++ {
		c := s.classes.at(n)
		for i := c.lateFirst; i != 0; i = s.rows.at(i).lateAfter {
			if listed++; i > s.rows.n || listed > s.rows.live {
				return false
			}
			v := s.rows.at(i)
			if !v.has(rowLate) || v.class != n || v.phase != Queued && v.phase != Running {
				return false
			}
			v.lateBefore, c.lateLast = c.lateLast, i
		}
	}
	for i := uint32(1); i <= s.rows.n; i++ {
		if s.rows.at(i).has(rowLate) {
			listed--
		}
	}
	return listed == 0
}

func (s *State) connectRings(rings [][]uint32) bool {
	for n := uint32(1); n <= s.queues.n; n++ {
		for _, i := range rings[n-1] {
			if i == 0 || i > s.lanes.n {
				return false
			}
			l := s.lanes.at(i)
			if l.queue != n || !l.active() || l.after != 0 {
				return false
			}
			deficit := l.deficit
			s.place(i, l)
			l.deficit = deficit
		}
	}
	for n := uint32(1); n <= s.lanes.n; n++ {
		if l := s.lanes.at(n); l.active() != (l.after != 0) {
			return false
		}
	}
	return true
}
