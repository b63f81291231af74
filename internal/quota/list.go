package quota

// touch brings what is counted of a user to the current month, and the user to the end of the list that is in the order of months.
func (s *State) touch(u *user) *user {
	if u.month == s.month {
		return u
	}
	s.sums -= u.digest()
	u.month, u.used, u.reserved = s.month, 0, 0
	s.sums += u.digest()
	s.unlink(u)
	s.link(u)
	return u
}

// settle forgets a user of whom nothing needs to be known.
func (s *State) settle(u *user) {
	if u.used != 0 || u.holds != 0 || u.hasBytes || u.hasRate {
		return
	}
	s.sums -= u.digest()
	s.unlink(u)
	s.users.Delete(u.name)
}

func (s *State) link(u *user) {
	u.prev, u.next = s.newest, nil
	if s.newest == nil {
		s.oldest = u
	} else {
		s.newest.next = u
	}
	s.newest = u
}

func (s *State) unlink(u *user) {
	if u.prev == nil {
		s.oldest = u.next
	} else {
		u.prev.next = u.next
	}
	if u.next == nil {
		s.newest = u.prev
	} else {
		u.next.prev = u.prev
	}
}

// hold adds a reservation, behind all others, and to its session.
func (s *State) hold(h *hold) {
	s.holds[h.id] = h
	s.sums += h.digest()
	h.prev = s.last
	if s.last == nil {
		s.first = h
	} else {
		s.last.next = h
	}
	s.last = h
	if h.session == 0 {
		return
	}
	if h.older = s.sessions[h.session]; h.older != nil {
		h.older.newer = h
	}
	s.sessions[h.session] = h
}

// letGo takes a reservation out of where hold put it.
func (s *State) letGo(h *hold) {
	delete(s.holds, h.id)
	s.sums -= h.digest()
	if h.prev == nil {
		s.first = h.next
	} else {
		h.prev.next = h.next
	}
	if h.next == nil {
		s.last = h.prev
	} else {
		h.next.prev = h.prev
	}
	if h.session != 0 {
		s.leave(h)
	}
}

// leave takes a reservation out of its session.
func (s *State) leave(h *hold) {
	if h.older != nil {
		h.older.newer = h.newer
	}
	switch {
	case h.newer != nil:
		h.newer.older = h.older
	case h.older != nil:
		s.sessions[h.session] = h.older
	default:
		delete(s.sessions, h.session)
	}
}
