package jobs

// A machine that a State is a part of may change something of its own together with a job. So it has to know what some commands are about, before
// or after the State applies them.

// PeekEnqueue returns the job that a command of [EncodeEnqueue] is to accept, without its key, and the command's time. What it returns points
// into cmd.
func PeekEnqueue(cmd []byte) (spec Spec, now Time, ok bool) {
	c, ok := parseCommand(cmd)
	if !ok || c.kind != enqueue {
		return Spec{}, 0, false
	}
	spec = c.spec
	spec.Queue, spec.Tenant, spec.Owner = string(c.queue), string(c.tenant), string(c.owner)
	return spec, c.time, true
}

// PeekFinish returns the job that a command of [EncodeFinish] is to end, and its result. What it returns points into cmd.
func PeekFinish(cmd []byte) (id ID, result Stored, ok bool) {
	c, ok := parseCommand(cmd)
	return c.id, c.result, ok && c.kind == finish
}

// PeekRetry returns the job that a command of [EncodeRetry] is to queue again, and the command's time.
func PeekRetry(cmd []byte) (id ID, now Time, ok bool) {
	c, ok := parseCommand(cmd)
	return c.id, c.time, ok && c.kind == retry
}

// EndsSessions reports whether a command may end sessions: one of [EncodeOpenSession] or [EncodeReap].
func EndsSessions(cmd []byte) bool {
	return len(cmd) > 1 && (kind(cmd[1]) == openSession || kind(cmd[1]) == reap)
}

// Session returns the node's session, which lives until the Service is closed, or another node takes this one for dead; then there is another one
// soon.
func (s *Service) Session() uint64 { return s.session.Load() }

// Knows reports whether a command of [EncodeEnqueue] would be answered with a job that is there already, and change nothing.
func (s *State) Knows(cmd []byte) bool {
	c, ok := parseCommand(cmd)
	if !ok || c.kind != enqueue {
		return false
	}
	if s.find(&c.id) != 0 {
		return true
	}
	i := s.key(&c.key)
	return c.keyed && i != 0 && s.keys.at(i).at+keyTTL > max(s.now, c.time)
}

// Alive reports whether a session lives.
func (s *State) Alive(session uint64) bool {
	_, e := s.open(session)
	return e != nil
}
