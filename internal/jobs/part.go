package jobs

// A machine that a State is a part of may change something of its own together with a job. So it has to know what some commands are about, before
// or after the State applies them.

// PeekEnqueue returns the job that a command of [EncodeEnqueue] is to accept, without its key, and the command's time. What it returns points
// into cmd.
func PeekEnqueue(cmd []byte) (spec Spec, now Time, ok bool) {
	c, ok := parseCommand(cmd)
	return c.spec, c.time, ok && c.kind == enqueue
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
	if s.m.Jobs[c.id] != nil {
		return true
	}
	k, ok := s.m.Keys[c.key]
	return c.keyed && ok && k.At+Time(millis(KeyTTL)) > max(s.m.Now, c.time)
}
