package market

// What a user was allocated may be spent. A node that lets a user spend takes some units of the user's balance as a lease, in the log, and
// counts in memory what is spent of it; when it's done it says, in the log, what is left. So a crash never lets a user spend more than was
// allocated, and loses what was left of the leases that were out. The id of a lease is its node's to draw, at random: a command whose
// outcome is unknown can be repeated.
//
// A lease that is not returned within [LeaseTime] counts as spent.

// lease takes up to c.volume units of a user's balance.
func (s *State) lease(c *command) Reply {
	n, ok := s.byName[c.name]
	if !ok {
		return Reply{Outcome: NotFound}
	}
	u := s.users.at(n)
	if l, ok := s.leases.get(c.key, s.now); ok {
		if l.user != n {
			return Reply{Outcome: KeyReused}
		}
		return Reply{Allocated: l.units, Rest: u.balance()}
	}
	units := min(c.volume, u.balance())
	switch {
	case units == 0:
		return Reply{Rest: u.balance()}
	case s.leases.len() >= s.bounds.leases:
		return Reply{Outcome: Full, Bound: LeaseBound}
	}
	if s.leases.has(c.key) { // its time has passed
		s.endLease(c.key, 0)
	}
	l := leased{user: n, units: units}
	s.leases.put(c.key, s.now, l)
	s.sums += l.digest(c.key, s.now) - u.digest(n)
	u.leased += units
	s.sums += u.digest(n)
	return Reply{Allocated: units, Rest: u.balance()}
}

// giveBack ends a lease of which c.volume units are left.
func (s *State) giveBack(c *command) Reply {
	l, ok := s.leases.get(c.key, s.now)
	switch {
	case !ok:
		return Reply{Outcome: NotFound}
	case c.volume > l.units:
		return Reply{Outcome: Invalid}
	}
	u := s.users.at(l.user)
	s.endLease(c.key, c.volume)
	return Reply{Allocated: c.volume, Rest: u.balance()}
}

// endLease ends a lease that is there.
func (s *State) endLease(id ID, left uint64) {
	gone := s.leases.remove(id)
	l := &gone.value
	u := s.users.at(l.user)
	s.sums -= l.digest(id, gone.at) + u.digest(l.user)
	u.leased -= l.units
	u.spent += l.units - left
	s.sums += u.digest(l.user)
}

// balance is what may still be spent. Spent and leased never exceed allocated.
func (u *user) balance() uint64 { return u.allocated - u.spent - u.leased }
