package learn

import (
	"sort"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
)

// A Plan is the best schedule for a piece of traffic: what somebody would do who knew all arrivals in advance, and how long each call takes. No
// policy can cost less. It is a [coalesce.Policy] for this traffic.
type Plan struct {
	Cost    float64         // in units of the call cost
	Serves  []time.Duration // when the slots are served, ascending
	cfg     Config
	traffic Traffic
	rest    []time.Duration // the least cost of the arrivals from i on, if there is no slot or call that i could join
}

// A question is where a slot stands.
type question struct {
	first, size, next int // the arrival that opened it, its waiters, the arrival that comes next
	now               time.Duration
}

// A choice is a way to go on: what it costs from now on, when the slot is served, and which arrival opens the next one.
type choice struct {
	cost, at time.Duration
	then     int
}

// Optimum returns the best schedule for the traffic. It is found from the end to the beginning: what is best for the arrivals from i on
// follows from what is best for those from any j > i on (dynamic programming, as in Dooly, Goldman, Scott). It takes time O(mB) for m arrivals of
// which B can share a call.
func Optimum(cfg Config, t Traffic) *Plan { return OptimumFrom(cfg, t, 0) }

// OptimumFrom is Optimum for the arrivals from that index on, as if there were none before. It says nothing of those.
func OptimumFrom(cfg Config, t Traffic, from int) *Plan {
	m := len(t.Times)
	p := &Plan{cfg: cfg, traffic: t, rest: make([]time.Duration, m+1)}
	best := make([]choice, m)
	for i := m - 1; i >= from; i-- {
		best[i] = p.best(question{first: i, size: 1, next: i + 1, now: t.Times[i]})
		p.rest[i] = best[i].cost
	}
	for i := from; i < m; i = best[i].then {
		p.Serves = append(p.Serves, best[i].at)
	}
	p.Cost = float64(p.rest[min(from, m)]) / float64(cfg.CallCost)
	return p
}

func (p *Plan) best(q question) choice {
	now := p.serve(q)
	if p.cfg.Hold <= 0 {
		return now
	}
	if later := p.wait(q, now.cost); later.cost < now.cost {
		return later
	}
	return now
}

// serve is to serve now.
func (p *Plan) serve(q question) choice {
	if !p.cfg.Relaxed {
		return choice{cost: p.cfg.CallCost + p.rest[q.next], at: q.now, then: q.next}
	}
	waited, then := p.joined(q)
	return choice{cost: p.cfg.CallCost + waited + p.rest[then], at: q.now, then: then}
}

// joined returns what the waiters of a slot served now, and those that join its call, wait from now to its end; and who comes after.
func (p *Plan) joined(q question) (waited time.Duration, then int) {
	took := p.traffic.Calls[q.first]
	end := q.now + took
	waited = time.Duration(q.size) * took
	for then = q.next; then < len(p.traffic.Times) && p.traffic.Times[then] <= end; then++ {
		waited += end - p.traffic.Times[then]
	}
	return waited, then
}

// wait is the best of all ways to serve later that cost less than least. Later than now the best time is always one at which one more request
// can be had: when it arrives, or, if it can join, when its arrival is the end of the call. To serve between these times would only be
// later.
func (p *Plan) wait(q question, least time.Duration) choice {
	best := choice{cost: least}
	times := p.traffic.Times
	lead, waited, then := time.Duration(0), time.Duration(0), q.next // how long before its arrival the last request can be had
	if p.cfg.Relaxed {
		lead = p.traffic.Calls[q.first]
		waited, then = p.joined(q)
	}
	latest := p.latest(q)
	at := q.now
	for n := q.size + then - q.next; then < len(times); n++ {
		next := times[then] - lead
		waited += time.Duration(n) * (next - at)
		if at = next; at > latest || !p.cfg.Relaxed && time.Duration(q.size)*(at-q.now) >= p.cfg.CallCost {
			break // in the second case it is as good to serve those that wait now, and to gather the others without them
		}
		then++
		if cost := p.cfg.CallCost + waited + p.rest[then]; cost < best.cost {
			best = choice{cost: cost, at: at, then: then}
		}
	}
	return best
}

// latest returns when the slot is served at the latest.
func (p *Plan) latest(q question) time.Duration {
	times := p.traffic.Times
	latest := times[q.first] + p.cfg.Hold
	if last := q.first + p.cfg.MaxBatch - 1; p.cfg.MaxBatch > 0 && last < len(times) {
		latest = min(latest, times[last])
	}
	return latest
}

// Judge returns what the two answers to the simulation's present question cost from now on, in units of the call cost, if everything after is done
// in the best way: to serve; and to wait until the next arrival or the time of [flush.Recheck]. The simulation must play the plan's traffic.
// The lesser of both is what a policy should have done that knew the future: a teacher for one that doesn't.
func (p *Plan) Judge(s *Sim) (serve, wait float64) {
	q := question{first: s.first, size: s.size, next: s.next, now: s.now}
	now := p.serve(q).cost
	again := min(s.now+flush.Recheck(&s.state, p.cfg.CallCost), s.opened+p.cfg.Hold)
	q.now = min(again, s.nextAt)
	between := time.Duration(s.size) * (q.now - s.now)
	if s.nextAt <= again {
		q.size, q.next = q.size+1, q.next+1
	}
	cost := float64(p.cfg.CallCost)
	return float64(now) / cost, float64(between+p.best(q).cost) / cost
}

// Decide implements [coalesce.Policy], for the plan's traffic.
func (p *Plan) Decide(s coalesce.State) coalesce.Decision {
	i := sort.Search(len(p.Serves), func(i int) bool { return p.Serves[i] >= s.Now-s.Age })
	if i == len(p.Serves) || p.Serves[i] <= s.Now {
		return coalesce.Decision{Serve: true}
	}
	return coalesce.Decision{After: p.Serves[i] - s.Now}
}
