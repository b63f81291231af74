package quota

// Bound lowers the bounds of a state.
func (s *State) Bound(users, reservations int) { s.maxUsers, s.maxHolds = users, reservations }
