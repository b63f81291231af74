package config

import (
	"net/url"
	"strings"
	"time"
)

// Upstream is one service: a pool of targets that can each answer its requests.
type Upstream struct {
	// Name is its key in the file.
	Name string `yaml:"-"`
	// Targets are the servers: http or https, a host and maybe a port, no path. At least one, none twice. Required.
	Targets []*url.URL `yaml:"targets,required"`
	// Balance is how a target is picked. Default least_loaded.
	Balance Balance `yaml:"balance"`
	// Host is what the Host field of a forwarded request says. Default preserve.
	Host HostMode `yaml:"host"`
	// Health is the active check of each target. Default nil: none.
	Health *Health `yaml:"health"`
	// Eject takes a target out after failures of real requests.
	Eject Eject `yaml:"eject"`
	// Timeouts bound how long a target may take.
	Timeouts UpstreamTimeouts `yaml:"timeouts"`
	// Retries bound the second tries of idempotent requests on another target.
	Retries Retries `yaml:"retries"`
	// KeepAlive bounds the idle connections to each target.
	KeepAlive KeepAlive `yaml:"keep_alive"`
	// MaxInFlight is how many calls there may be at once, on all targets together; more wait in Queue. 0 to 1000000, default 0: no bound.
	MaxInFlight int `yaml:"max_in_flight"`
	// Queue says who waits for a call, and how. Only with MaxInFlight.
	Queue Queue `yaml:"queue"`
}

// Balance is how an upstream picks a target.
type Balance string

// The ways to pick a target.
const (
	LeastLoaded Balance = "least_loaded" // the one with the fewest requests in flight
	RoundRobin  Balance = "round_robin"  // each in turn
)

func (Balance) values() []string { return []string{"least_loaded", "round_robin"} }

// HostMode is what the Host field of a forwarded request says.
type HostMode string

// The choices of a Host field.
const (
	HostPreserve HostMode = "preserve" // what the client sent
	HostTarget   HostMode = "target"   // the target's own host and port
)

func (HostMode) values() []string { return []string{"preserve", "target"} }

// Health is an active check: GET Path on every target, and any 2xx or 3xx within Timeout is a success.
type Health struct {
	// Path that is asked for. Required.
	Path string `yaml:"path,required"`
	// Interval between two checks of a target, more than 0. Default 5s.
	Interval Duration `yaml:"interval"`
	// Timeout of one check, more than 0. Default 2s.
	Timeout Duration `yaml:"timeout"`
	// UnhealthyAfter is how many failures in a row take a target out. 1 to 1000, default 3.
	UnhealthyAfter int `yaml:"unhealthy_after"`
	// HealthyAfter is how many successes in a row bring it back. 1 to 1000, default 2.
	HealthyAfter int `yaml:"healthy_after"`
}

// Eject takes a target out of the pool when real requests fail on it.
type Eject struct {
	// Failures in a row that eject a target; 0 never does. 0 to 1000, default 5.
	Failures int `yaml:"failures"`
	// For is how long it stays out, more than 0. Default 10s.
	For Duration `yaml:"for"`
}

// UpstreamTimeouts bound how long a target may take.
type UpstreamTimeouts struct {
	// Connect is the time to open a connection, TLS included, more than 0. Default 1s.
	Connect Duration `yaml:"connect"`
	// Header is the time from the end of the request to the head of the answer, more than 0. Default 10s.
	Header Duration `yaml:"header"`
	// Idle is the longest pause within a body, more than 0. Default 5m.
	Idle Duration `yaml:"idle"`
	// Total is the time for the whole exchange, retries included; 0 is no limit. Default 0.
	Total Duration `yaml:"total"`
}

// Retries bound the second tries of idempotent requests on another target.
type Retries struct {
	// Max is how often one request is tried again, 0 to 10. Default 1.
	Max int `yaml:"max"`
	// Budget is how many retries there may be for every hundred requests of the upstream, 0% to 100%. Default 10%.
	Budget Percent `yaml:"budget"`
}

// KeepAlive bounds the idle connections to each target.
type KeepAlive struct {
	// MaxIdle is how many are kept for each target, 0 to 1000000. Default 1024: closing them and connecting anew is what a burst of calls costs most.
	MaxIdle int `yaml:"max_idle"`
	// Idle is how long one is kept, more than 0. Default 60s.
	Idle Duration `yaml:"idle"`
}

func (u *Upstream) defaults() {
	*u = Upstream{Balance: LeastLoaded, Host: HostPreserve}
	u.Eject.defaults()
	u.Timeouts.defaults()
	u.Retries.defaults()
	u.KeepAlive.defaults()
	u.Queue.defaults()
}

func (h *Health) defaults() {
	*h = Health{Interval: 5 * time.Second, Timeout: 2 * time.Second, UnhealthyAfter: 3, HealthyAfter: 2}
}

func (e *Eject) defaults() { *e = Eject{Failures: 5, For: 10 * time.Second} }

func (t *UpstreamTimeouts) defaults() {
	*t = UpstreamTimeouts{Connect: time.Second, Header: 10 * time.Second, Idle: 5 * time.Minute}
}

func (x *Retries) defaults() { *x = Retries{Max: 1, Budget: 10} }

func (k *KeepAlive) defaults() { *k = KeepAlive{MaxIdle: 1024, Idle: 60 * time.Second} }

func (u *Upstream) validate(at *node, r *report) {
	targets := at.get("targets")
	if targets.kind == sequence && len(targets.items) == 0 {
		r.errorf(targets, "empty, expected at least one target")
	}
	first := make(map[string]*node)
	for i, t := range u.Targets {
		if t == nil { // has a mistake
			continue
		}
		if seen := first[t.String()]; seen != nil {
			r.errorf(targets.item(i), "duplicate target %s, expected it once; it is in line %d already", t, seen.line)
			continue
		}
		first[t.String()] = targets.item(i)
	}
	u.validateQueue(at, r)
}

func (h *Health) validate(at *node, r *report) {
	if h.Path != "" && (h.Path[0] != '/' || strings.ContainsFunc(h.Path, notInTarget)) {
		r.errorf(at.get("path"), "%q: expected a path that starts with /, as in /healthz", h.Path)
	}
	r.positive(at.get("interval"), h.Interval)
	r.positive(at.get("timeout"), h.Timeout)
	r.between(at.get("unhealthy_after"), h.UnhealthyAfter, 1, 1000)
	r.between(at.get("healthy_after"), h.HealthyAfter, 1, 1000)
}

func (e *Eject) validate(at *node, r *report) {
	r.between(at.get("failures"), e.Failures, 0, 1000)
	r.positive(at.get("for"), e.For)
}

func (t *UpstreamTimeouts) validate(at *node, r *report) {
	r.positive(at.get("connect"), t.Connect)
	r.positive(at.get("header"), t.Header)
	r.positive(at.get("idle"), t.Idle)
}

func (x *Retries) validate(at *node, r *report) {
	r.between(at.get("max"), x.Max, 0, 10)
}

func (k *KeepAlive) validate(at *node, r *report) {
	r.between(at.get("max_idle"), k.MaxIdle, 0, 1_000_000)
	r.positive(at.get("idle"), k.Idle)
}
