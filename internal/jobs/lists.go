package jobs

// pushReady lets a job wait for its turn: behind the others of its lane, or in front of them.
func (s *State) pushReady(i uint32, r *row, front bool) {
	l := s.lanes.at(r.lane)
	switch {
	case l.first == 0:
		r.before, r.after = 0, 0
		l.first, l.last = i, i
	case front:
		r.before, r.after = 0, l.first
		s.rows.at(l.first).before = i
		l.first = i
	default:
		r.before, r.after = l.last, 0
		s.rows.at(l.last).after = i
		l.last = i
	}
	s.place(r.lane, l)
	if l.blocked == 0 {
		s.hooks.wake(s.queues.at(l.queue).name)
	}
}

func (s *State) popReady(i uint32, r *row) {
	l := s.lanes.at(r.lane)
	s.unlink(r, &l.first, &l.last)
	s.place(r.lane, l)
}

// unlink takes a job out of a list by phase.
func (s *State) unlink(r *row, first, last *uint32) {
	if r.before != 0 {
		s.rows.at(r.before).after = r.after
	} else {
		*first = r.after
	}
	if r.after != 0 {
		s.rows.at(r.after).before = r.before
	} else {
		*last = r.before
	}
	r.before, r.after = 0, 0
}

// link puts a job at the end of a list by phase.
func (s *State) link(i uint32, r *row, first, last *uint32) {
	r.before, r.after = *last, 0
	if *last != 0 {
		s.rows.at(*last).after = i
	} else {
		*first = i
	}
	*last = i
}

// place puts a lane into the ring of its queue, as the one whose turn is last, or takes it out.
func (s *State) place(i uint32, l *lane) {
	in := l.after != 0
	if l.active() == in {
		return
	}
	q := s.queues.at(l.queue)
	switch {
	case in:
		if q.turn == i {
			q.turn = l.after
		}
		if q.turn == i { // it was alone
			q.turn = 0
		}
		s.lanes.at(l.before).after, s.lanes.at(l.after).before = l.after, l.before
		l.before, l.after, l.deficit = 0, 0, 0
		return
	case q.turn == 0:
		q.turn, l.before, l.after = i, i, i
	default:
		next := s.lanes.at(q.turn)
		l.before, l.after = next.before, q.turn
		s.lanes.at(next.before).after = i
		next.before = i
	}
	s.hooks.wake(q.name)
}

// block keeps the other jobs of an ordered lane waiting for this one.
func (s *State) block(i uint32, r *row) {
	if l := s.lanes.at(r.lane); l.ordered {
		l.blocked = i
		s.place(r.lane, l)
	}
}

func (s *State) unblock(i uint32, r *row) {
	if l := s.lanes.at(r.lane); l.blocked == i {
		l.blocked = 0
		s.place(r.lane, l)
	}
}

// pushLate puts a job at the end of the list by deadline of its class.
func (s *State) pushLate(i uint32, r *row) {
	c := s.classes.at(r.class)
	r.flags |= rowLate
	r.lateBefore, r.lateAfter = c.lateLast, 0
	if c.lateLast != 0 {
		s.rows.at(c.lateLast).lateAfter = i
	} else {
		c.lateFirst = i
	}
	c.lateLast = i
}

// popLate takes a job out of the list by deadline if it is there. It doesn't keep sums right: rowLate is part of the digest.
func (s *State) popLate(i uint32, r *row) {
	if !r.has(rowLate) {
		return
	}
	c := s.classes.at(r.class)
	if r.lateBefore != 0 {
		s.rows.at(r.lateBefore).lateAfter = r.lateAfter
	} else {
		c.lateFirst = r.lateAfter
	}
	if r.lateAfter != 0 {
		s.rows.at(r.lateAfter).lateBefore = r.lateBefore
	} else {
		c.lateLast = r.lateBefore
	}
	r.flags &^= rowLate
	r.lateBefore, r.lateAfter = 0, 0
}

// sooner is the order of the heap: by time, then by number, so that it doesn't depend on how the heap came about.
func (s *State) sooner(a, b uint32) bool {
	x, y := s.rows.at(a).at, s.rows.at(b).at
	return x < y || x == y && a < b
}

func (s *State) pushDelayed(i uint32) {
	s.delayed = append(s.delayed, i)
	s.up(len(s.delayed) - 1)
}

func (s *State) popDelayed(r *row) {
	k := int(r.before)
	n := len(s.delayed) - 1
	last := s.delayed[n]
	s.delayed = s.delayed[:n]
	r.before = 0
	if k < n {
		s.delayed[k] = last
		s.rows.at(last).before = uint32(k)
		s.up(s.down(k))
	}
}

// up moves what is at k to where it belongs, and so does down.
func (s *State) up(k int) {
	i := s.delayed[k]
	for k > 0 {
		parent := (k - 1) / 2
		if !s.sooner(i, s.delayed[parent]) {
			break
		}
		s.delayed[k] = s.delayed[parent]
		s.rows.at(s.delayed[k]).before = uint32(k)
		k = parent
	}
	s.delayed[k] = i
	s.rows.at(i).before = uint32(k)
}

func (s *State) down(k int) int {
	i := s.delayed[k]
	for {
		child := 2*k + 1
		if child >= len(s.delayed) {
			break
		}
		if child+1 < len(s.delayed) && s.sooner(s.delayed[child+1], s.delayed[child]) {
			child++
		}
		if !s.sooner(s.delayed[child], i) {
			break
		}
		s.delayed[k] = s.delayed[child]
		s.rows.at(s.delayed[k]).before = uint32(k)
		k = child
	}
	s.delayed[k] = i
	s.rows.at(i).before = uint32(k)
	return k
}
