package jobs

// Shrink makes segments smaller, and what is written to them at once.
func (p *Payloads) Shrink(segment uint32, tail int) { p.sizes = sizes{segment, tail} }

// Bound lowers the bounds of a state.
func (s *State) Bound(queued, jobs, keys int) {
	s.bounds.queued, s.bounds.jobs, s.bounds.keys = queued, jobs, keys
}

// Clean is one round of the janitor.
var Clean = (*Service).cleanOnce

// LookAround is one look at the other sessions.
var LookAround = (*Service).lookAround
