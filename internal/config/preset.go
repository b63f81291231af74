package config

import "reflect"

// Single returns a configuration without a file: one upstream with one target, named "default", and one route to it for
// everything. An empty listen or admin is its default. The error is an [Errors] that names the flags of `sluice serve`.
func Single(upstream, listen, admin string) (*Config, error) {
	return single(upstream, listen, admin).decode()
}

// Preset is what the flags of `sluice proxy` say, as they were written. A field that is empty has its default.
type Preset struct {
	Upstream, Listen, Admin, MaxConnections     string
	Hold, MaxBatch, Policy, CallCost, Freshness string
	PolicyFile                                  string // none: the policy in the program
	Agent, AgentTimeout                         string // none of them: nobody else decides
	TTL                                         string // 0 keeps no answers
}

// Proxy returns the configuration of `sluice proxy`: that of [Single], with answers that are shared. The error is an [Errors] that names
// the flags.
func Proxy(p *Preset) (*Config, error) {
	s := single(p.Upstream, p.Listen, p.Admin)
	s.set(s.root, "max_connections", "max-connections", p.MaxConnections)
	coalesce := mappingOf()
	s.set(coalesce, "hold", "batch-timeout", p.Hold)
	s.set(coalesce, "max_batch", "max-batch-size", p.MaxBatch)
	s.set(coalesce, "policy", "policy", p.Policy)
	s.set(coalesce, "call_cost", "call-cost", p.CallCost)
	s.set(coalesce, "freshness", "freshness", p.Freshness)
	s.set(coalesce, "policy_file", "policy-file", p.PolicyFile)
	s.set(coalesce, "agent", "agent", p.Agent)
	s.set(coalesce, "agent_timeout", "agent-timeout", p.AgentTimeout)
	s.route.add("coalesce", coalesce)
	if p.TTL != "" && p.TTL != "0" && p.TTL != "0s" {
		cache := mappingOf()
		s.set(cache, "max_ttl", "cache-ttl", p.TTL)
		s.route.add("cache", cache)
	}
	return s.decode()
}

// preset is a file that flags make.
type preset struct{ root, route *node }

func single(upstream, listen, admin string) *preset {
	s := &preset{root: mappingOf("upstreams", mappingOf("default", mappingOf("targets",
		&node{kind: sequence, items: []*node{flag("upstream", upstream)}})))}
	s.route = mappingOf("path", &node{text: "/*"}, "upstream", &node{text: "default"})
	s.root.add("routes", &node{kind: sequence, items: []*node{s.route}})
	s.set(s.root, "listen", "listen", listen)
	if admin != "" {
		s.root.add("admin", mappingOf("listen", flag("admin", admin)))
	}
	return s
}

// flag is the value of a flag, which errors name as its place.
func flag(name, value string) *node { return &node{path: "--" + name, text: value} }

// set adds a key that a flag is for, unless the flag is empty.
func (s *preset) set(to *node, key, name, value string) {
	if value == "" {
		return
	}
	n := flag(name, value)
	if key == "max_connections" || key == "max_batch" {
		n.kind = literal
	}
	to.add(key, n)
}

func (s *preset) decode() (*Config, error) {
	r, c := new(report), new(Config)
	(&decoder{r}).value(s.root, reflect.ValueOf(c).Elem())
	policies := policyFiles{dir: ".", read: readFile, report: r}
	policies.load(c.Routes, s.root.get("routes"))
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	return c, nil
}
