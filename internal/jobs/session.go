package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/sluicegate/sluice/internal/journal"
)

// openSession opens a session of this node with an epoch above those that the log has of it, and ends those.
func (s *Service) openSession(ctx context.Context) error {
	epoch := uint64(TimeOf(s.now()))
	if err := s.log.Read(func(st *State) {
		for _, v := range st.Sessions() {
			if v.Node == s.node {
				epoch = max(epoch, v.Epoch+1)
			}
		}
	}); err != nil {
		return err
	}
	r, err := s.persist(ctx, func() []byte { return EncodeOpenSession(s.node, epoch, s.now()) })
	if err != nil {
		return err
	}
	if r.Outcome != OK {
		return errors.New("opening a session: " + r.Outcome.String())
	}
	s.session.Store(r.Session)
	return s.finishWork(ctx, r)
}

// finishWork sends ticks until there is nothing more of what a command began.
func (s *Service) finishWork(ctx context.Context, r Reply) (err error) {
	for r.More && err == nil {
		r, err = s.do(ctx, EncodeTick(s.now()))
	}
	return err
}

// persist repeats a command that may be repeated until it is in the log, or ctx ends, or the log has stopped.
func (s *Service) persist(ctx context.Context, cmd func() []byte) (Reply, error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		r, err := s.do(ctx, cmd())
		if err == nil || errors.Is(err, journal.ErrStopped) || errors.Is(err, journal.ErrTooLarge) {
			return r, err
		}
		select {
		case <-ctx.Done():
			return Reply{}, err
		case <-time.After(wait):
		}
	}
}

// A sighting is when and where another session was last seen to have beaten.
type sighting struct {
	beats  uint64
	since  time.Time
	rounds int // of this node's own beats since
}

// reapRounds is how many beats of its own a node must have got into the log since another's last: while the log takes nothing, nobody is dead.
const reapRounds = 3

// live beats for this session and looks after the others.
func (s *Service) live() {
	every := time.NewTicker(s.opts.BeatEvery)
	defer every.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-every.C:
		case <-s.lost:
		}
		if err := s.beat(); err != nil && s.ctx.Err() == nil {
			s.logr.Warn("jobs: the session can't be renewed now", "error", err)
		}
	}
}

func (s *Service) beat() error {
	r, err := s.do(s.ctx, EncodeBeat(s.session.Load(), s.now()))
	if err != nil {
		return err
	}
	if r.Outcome == Gone {
		s.logr.Warn("jobs: other nodes took this one for dead; it opens a new session")
		s.cancelRunning(errLost)
		return s.openSession(s.ctx)
	}
	if err := s.adopt(); err != nil {
		return err
	}
	dead, err := s.lookAround(time.Now())
	for _, v := range dead {
		s.logr.Warn("jobs: a node has died; what it ran is queued again", "session", v.ID, "jobs", v.Running)
		r, e := s.do(s.ctx, EncodeReap(v.ID, v.Beats, s.now()))
		err = errors.Join(err, e, s.finishWork(s.ctx, r))
	}
	return err
}

// lookAround returns the sessions that have not beaten for long enough.
func (s *Service) lookAround(now time.Time) (dead []SessionInfo, err error) {
	var all []SessionInfo
	if err := s.log.Read(func(st *State) { all = st.Sessions() }); err != nil {
		return nil, err
	}
	live := make(map[uint64]*sighting, len(all))
	for _, v := range all {
		if v.ID == s.session.Load() {
			continue
		}
		seen := s.watching[v.ID]
		if seen == nil || seen.beats != v.Beats {
			seen = &sighting{beats: v.Beats, since: now}
		} else {
			seen.rounds++
		}
		live[v.ID] = seen
		if seen.rounds >= reapRounds && now.Sub(seen.since) >= s.opts.ReapAfter {
			dead = append(dead, v)
		}
	}
	s.watching = live
	return dead, nil
}

func (s *Service) endSession(ctx context.Context) error {
	id := s.session.Load()
	var beats uint64
	if err := s.log.Read(func(st *State) {
		for _, v := range st.Sessions() {
			if v.ID == id {
				beats = v.Beats
			}
		}
	}); err != nil {
		return err
	}
	r, err := s.do(ctx, EncodeReap(id, beats, s.now()))
	if err != nil {
		return err
	}
	return s.finishWork(ctx, r)
}

// tickWhenDue carries the time into the log when something waits for it.
func (s *Service) tickWhenDue() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-timer.C:
			timer.Reset(s.tickIfDue())
		case <-s.hooks.sooner:
			wait := Time(s.hooks.due.Load()).Time().Sub(s.now())
			timer.Reset(max(wait, tickPause))
		}
	}
}

const (
	tickLater = time.Minute            // the longest that nobody looks whether something is due
	tickRetry = 250 * time.Millisecond // after a tick that failed
	tickPause = 50 * time.Millisecond  // after a tick, so that what is due a little later shares the next
)

// tickIfDue returns when to look again.
func (s *Service) tickIfDue() time.Duration {
	due := Time(s.hooks.due.Load())
	if due == 0 {
		return tickLater
	}
	if wait := due.Time().Sub(s.now()); wait > 0 {
		return min(wait, tickLater)
	}
	r, err := s.do(s.ctx, EncodeTick(s.now()))
	if err == nil {
		err = s.finishWork(s.ctx, r)
	}
	if err != nil {
		return tickRetry
	}
	return tickPause
}
