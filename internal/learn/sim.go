package learn

import (
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
)

// never is later than all that happens.
const never = time.Duration(1<<63 - 1)

// shortest is the least time to the next question, as in package coalesce.
const shortest = 10 * time.Microsecond

// A Sim plays one episode after the other. It is an environment of reinforcement learning: between two calls of Step it stands at a question to
// the policy. It is not safe for concurrent use; New makes one.
//
// Time goes from event to event, of which there are three kinds: a request arrives, the slot's timer rings, a call ends. Of those at the same
// time the arrival comes first. So one that comes when the hold is over is still in the slot, and one that comes when a call ends joins it.
type Sim struct {
	cfg     Config
	own     Traffic // memory that Reset draws into
	traffic Traffic
	history coalesce.History

	state    coalesce.State // of the question; Relaxed, Hold and MaxBatch never change
	now      time.Duration
	next     int           // the arrival that comes next
	nextAt   time.Duration // when; never if all have come
	first    int           // the arrival that opened the slot; what waits are those from first on, as nobody leaves
	size     int           // waiters in the slot; 0: there is none
	lateness time.Duration // sum over the waiters of their arrival since the slot was opened
	opened   time.Duration
	wake     time.Duration // when the slot's timer rings; never if there is no slot
	flight   time.Duration // until when requests join the call in flight; before 0 if there is none
	since    time.Duration // when the latest call began
	calls    callHeap      // under way
	p50, p99 time.Duration
	stale    bool // calls ended since p50 and p99 were computed
	told     time.Duration
	out      Outcome
}

// New returns a simulation of the setting. Reset begins an episode.
func New(cfg Config) *Sim {
	return &Sim{cfg: cfg}
}

// Reset begins an episode with the traffic of the seed, and returns the first question. The state is the simulation's own and changes with Step.
func (s *Sim) Reset(seed uint64) *coalesce.State {
	s.cfg.draw(&s.own, seed)
	return s.Play(s.own)
}

// Play is Reset with traffic that is there already. It is only read.
func (s *Sim) Play(t Traffic) *coalesce.State {
	s.traffic = t
	s.history, s.calls = coalesce.History{}, s.calls[:0]
	s.state = coalesce.State{Relaxed: s.cfg.Relaxed, Hold: s.cfg.Hold, MaxBatch: s.cfg.MaxBatch}
	s.now, s.next, s.size, s.wake, s.flight, s.since = 0, 0, 0, never, -1, 0
	s.p50, s.p99, s.stale, s.told = 0, 0, false, 0
	s.out = Outcome{}
	s.nextAt = never
	if len(s.traffic.Times) > 0 {
		s.nextAt = s.traffic.Times[0]
	}
	s.run()
	return &s.state
}

// Step answers the question with Serve, or with a wait until the next arrival or the time of [flush.Recheck], and goes on to the next one. The
// reward is what that cost, in units of the call cost, and negative.
//
// When every request has been answered the episode has ended and the state means nothing any more: terminated if it was a recording that came to
// its end, truncated otherwise, since such traffic would go on.
func (s *Sim) Step(serve bool) (state *coalesce.State, reward float64, terminated, truncated bool) {
	d := coalesce.Decision{Serve: serve}
	if !serve {
		d.After = flush.Recheck(&s.state, s.cfg.CallCost)
	}
	return s.Answer(d)
}

// Answer is Step with any decision.
func (s *Sim) Answer(d coalesce.Decision) (state *coalesce.State, reward float64, terminated, truncated bool) {
	s.decide(d)
	goesOn := s.run()
	cost := time.Duration(s.out.Calls)*s.cfg.CallCost + s.out.Waiting + s.waiting()
	reward = -float64(cost-s.told) / float64(s.cfg.CallCost)
	s.told = cost
	if goesOn {
		return &s.state, reward, false, false
	}
	truncated = len(s.traffic.Times) >= s.cfg.requests()
	return &s.state, reward, !truncated, truncated
}

// Asking reports whether it stands at a question. It doesn't when the episode has ended, or if there never was one because Hold is 0.
func (s *Sim) Asking() bool { return s.size > 0 }

// Config returns the setting.
func (s *Sim) Config() *Config { return &s.cfg }

// Traffic returns that of the episode. It is the simulation's own until the next Reset.
func (s *Sim) Traffic() Traffic { return s.traffic }

// Outcome returns what has happened in the episode. The cost is without that of a slot that still waits.
func (s *Sim) Outcome() Outcome {
	o := s.out
	o.Cost = float64(o.Calls) + float64(o.Waiting)/float64(s.cfg.CallCost)
	return o
}

// Run plays the setting's traffic, of its seed, with the policy.
func Run(cfg Config, p coalesce.Policy) Outcome {
	s := New(cfg)
	s.Reset(cfg.Seed)
	return s.Finish(p)
}

// Finish has the policy decide for the rest of the episode, and returns its outcome.
func (s *Sim) Finish(p coalesce.Policy) Outcome {
	if s.Asking() {
		s.decide(p.Decide(s.state))
		for s.run() {
			s.decide(p.Decide(s.state))
		}
	}
	return s.Outcome()
}

// decide does what the policy says.
func (s *Sim) decide(d coalesce.Decision) {
	switch {
	case d.Serve:
		s.serve(&s.out.ByPolicy)
		return
	case d.After < 0:
		s.out.Fallbacks++
		s.serve(&s.out.ByPolicy)
		return
	case d.After > 0:
		d.After = max(d.After, shortest)
	}
	s.wake = s.opened + s.cfg.Hold
	if d.After > 0 && d.After < s.wake-s.now {
		s.wake = s.now + d.After
	}
}

// run goes on to the next question. It reports false if there is none any more.
func (s *Sim) run() bool {
	for {
		switch ends := s.calls.next(); {
		case s.nextAt <= s.wake && s.nextAt <= ends && s.nextAt != never:
			if s.arrive() {
				return true
			}
		case s.wake <= ends && s.wake != never:
			if s.ring() {
				return true
			}
		case ends != never:
			s.history.Answered(s.calls.pop())
			s.stale = true
		default:
			return false
		}
	}
}

// arrive places a request, and makes a question if it waits.
func (s *Sim) arrive() bool {
	s.now = s.nextAt
	s.history.Arrive(s.now, &s.state)
	i := s.next
	s.next++
	s.nextAt = never
	if s.next < len(s.traffic.Times) {
		s.nextAt = s.traffic.Times[s.next]
	}
	s.out.Requests++
	if s.now <= s.flight {
		s.out.Joined++
		s.out.Waiting += s.flight - s.now
		s.out.Waits.add(0)
		return false
	}
	if s.size == 0 {
		s.first, s.opened, s.lateness = i, s.now, 0
	}
	s.size++
	s.lateness += s.now - s.opened
	if s.capped() {
		return false
	}
	s.ask(true)
	return true
}

// ring makes a question, unless the hold is over.
func (s *Sim) ring() bool {
	s.now = s.wake
	if s.capped() {
		return false
	}
	s.history.At(s.now, &s.state)
	s.ask(false)
	return true
}

// capped serves the slot if it has reached a cap.
func (s *Sim) capped() bool {
	switch {
	case s.cfg.MaxBatch > 0 && s.size >= s.cfg.MaxBatch:
		s.serve(&s.out.BySize)
	case s.cfg.Hold <= 0:
		s.serve(&s.out.ByPolicy)
	case s.now-s.opened >= s.cfg.Hold:
		s.serve(&s.out.ByHold)
	default:
		return false
	}
	return true
}

// waiting is how long the waiters of the slot have waited together.
func (s *Sim) waiting() time.Duration {
	if s.size == 0 {
		return 0
	}
	return time.Duration(s.size)*(s.now-s.opened) - s.lateness
}

// ask completes the state.
func (s *Sim) ask(arrival bool) {
	q := &s.state
	q.Now, q.Arrival, q.Size, q.Waiting, q.Age = s.now, arrival, s.size, s.waiting(), s.now-s.opened
	if s.stale {
		s.p50, s.p99 = s.history.Latency()
		s.stale = false
	}
	q.LatencyP50, q.LatencyP99 = s.p50, s.p99
	q.InFlight, q.InFlightFor = len(s.calls) > 0, 0
	if q.InFlight {
		q.InFlightFor = s.now - s.since
	}
}

// serve makes the slot a call.
func (s *Sim) serve(by *int) {
	*by++
	took := s.traffic.Calls[s.first]
	s.out.Calls++
	s.out.Waiting += s.waiting()
	if s.cfg.Relaxed {
		s.out.Waiting += time.Duration(s.size) * took
		s.flight = s.now + took
	}
	for _, at := range s.traffic.Times[s.first : s.first+s.size] {
		s.out.Waits.add(s.now - at)
	}
	s.since = s.now
	s.calls.push(callEnd{at: s.now + took, took: took})
	s.size, s.wake = 0, never
}
