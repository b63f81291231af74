package gateway

import "strings"

// Readiness says whether the gateway should get traffic.
type Readiness struct {
	Ready     bool                `json:"ready"`
	Draining  bool                `json:"draining"`
	Upstreams []UpstreamReadiness `json:"upstreams"`
}

// UpstreamReadiness is one upstream's part of it. An upstream is available if any of its targets is neither unhealthy nor ejected; without
// health checks a target is taken for healthy, so that only ejections count against it, and never for one that is the only one.
type UpstreamReadiness struct {
	Name         string `json:"name"`
	Available    bool   `json:"available"`
	HealthChecks bool   `json:"health_checks"`
}

// Ready reports the readiness as it is now, the upstreams in the order of the configuration. The gateway is ready if it is not draining
// and one of its upstreams is available: to take it out of traffic for the sake of one would take the others' routes away, too.
func (g *Gateway) Ready() Readiness {
	s := g.settings.Load()
	r := Readiness{Draining: g.server.Draining()}
	for _, name := range s.cfg.UpstreamNames {
		u := UpstreamReadiness{Name: name, Available: s.pools[name].Available(), HealthChecks: s.cfg.Upstreams[name].Health != nil}
		r.Upstreams = append(r.Upstreams, u)
		r.Ready = r.Ready || u.Available && !r.Draining
	}
	return r
}

// String says it in one line, with the upstreams that are not available.
func (r Readiness) String() string {
	var down []string
	for _, u := range r.Upstreams {
		if !u.Available {
			down = append(down, u.Name)
		}
	}
	text := ""
	switch {
	case r.Draining:
		text = "draining"
	case r.Ready:
		text = "ready"
	}
	if len(down) == 0 {
		return text
	}
	if text != "" {
		text += "; "
	}
	return text + "no healthy target: " + strings.Join(down, ", ")
}
