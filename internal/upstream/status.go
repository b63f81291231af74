package upstream

import "time"

// Status is a pool as operators see it.
type Status struct {
	Name    string         `json:"name"`
	Retries int64          `json:"retries"`
	Targets []TargetStatus `json:"targets"`
}

// TargetStatus is one target as operators see it. Counts are since the start.
type TargetStatus struct {
	Address   string           `json:"address"`
	Healthy   bool             `json:"healthy"` // by the active checks, and not ejected
	Ejected   bool             `json:"ejected"`
	InFlight  int64            `json:"in_flight"`
	Idle      int              `json:"idle_connections"`
	Calls     int64            `json:"calls"`
	Ejections int64            `json:"ejections"`
	Failures  map[string]int64 `json:"failures"` // by kind, those that happened
}

// Status reports the pool as it is now.
func (p *Pool) Status() Status {
	s := Status{Name: p.cfg.Name, Retries: p.retries.Load()}
	now := time.Now()
	for _, t := range p.targets {
		ejected := t.ejected(now)
		ts := TargetStatus{
			Address:   t.addr,
			Healthy:   t.healthy.Load() && !ejected,
			Ejected:   ejected,
			InFlight:  t.inFlight.Load(),
			Idle:      t.idleCount(),
			Calls:     t.calls.Load(),
			Ejections: t.ejections.Load(),
			Failures:  map[string]int64{},
		}
		for k := range t.outcomes {
			if n := t.outcomes[k].Load(); n > 0 {
				ts.Failures[Kind(k).Label()] = n
			}
		}
		s.Targets = append(s.Targets, ts)
	}
	return s
}

// Label is the kind as a metric's label.
func (k Kind) Label() string { return kindLabels[k] }

var kindLabels = [...]string{
	"no_target", "connect", "lost", "bad_response", "header_timeout", "total_timeout", "client_body", "body_too_large", "client_gone",
}

// Available reports whether any target is healthy and not ejected.
func (p *Pool) Available() bool {
	now := time.Now()
	for _, t := range p.targets {
		if t.healthy.Load() && !t.ejected(now) {
			return true
		}
	}
	return false
}
