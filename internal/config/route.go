package config

import (
	"slices"
	"strings"
)

// Route sends the requests that match it to an upstream.
type Route struct {
	// Path that it matches: "/exact", or "/prefix/*" for everything below "/prefix/" ("/prefix" itself is not), or "/*" for
	// every path. Required.
	Path string `yaml:"path,required"`
	// Methods that it matches, in upper case. Default: every method.
	Methods []string `yaml:"methods"`
	// Upstream that answers, a key of Config.Upstreams. Required.
	Upstream string `yaml:"upstream,required"`
	// MaxBody bounds a request's body; a longer one is answered with 413. Default 0: no limit.
	MaxBody Size `yaml:"max_body"`
	// Limits that apply to it, keys of Config.Limits, at most 8. A request has to pass all of them. Default none.
	Limits []string `yaml:"limits"`
	// Cache keeps answers. Default nil: none are kept.
	Cache *Cache `yaml:"cache"`
	// Coalesce lets requests for the same share one call. Default nil: each has its own.
	Coalesce *Coalesce `yaml:"coalesce"`
	// Merge sends requests that differ as one. Default nil: each is sent alone.
	Merge *Merge `yaml:"merge"`
	// Async accepts requests now and sends them later, as jobs. Default nil: clients wait for the answer.
	Async *Async `yaml:"async"`
}

func (t *Route) validate(at *node, r *report) {
	if t.Path != "" {
		r.path(at.get("path"), t.Path)
	}
	r.methods(at.get("methods"), t.Methods)
}

// methods reports what are no methods to match.
func (r *report) methods(list *node, methods []string) {
	for i, m := range methods {
		switch at := list.item(i); {
		case at.kind == scalar && (!isToken(m) || strings.ToUpper(m) != m):
			r.errorf(at, "%q is not a method, expected upper case as in GET", m)
		case m != "" && slices.Contains(methods[:i], m):
			r.errorf(at, "duplicate method %s, expected it once", m)
		}
	}
	if list.kind == sequence && len(list.items) == 0 {
		r.errorf(list, "empty, expected at least one method; without the key every method matches")
	}
}

// path reports what is no path to match.
func (r *report) path(at *node, path string) {
	prefix, isPrefix := strings.CutSuffix(path, "*")
	switch {
	case path[0] != '/', isPrefix && !strings.HasSuffix(prefix, "/"), strings.Contains(prefix, "*"):
		r.errorf(at, "%q: expected a path as in /exact, /prefix/* or /*", path)
	case strings.ContainsAny(path, "?#"), strings.ContainsFunc(path, notInTarget):
		r.errorf(at, "%q: expected a path without a query, a fragment, spaces or control characters", path)
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			r.errorf(at, "%q: expected a path without . and .. segments", path)
			return
		}
	}
}

// covers reports whether every request that matches o matches t.
func (t *Route) covers(o *Route) bool {
	if len(t.Methods) > 0 {
		if len(o.Methods) == 0 || slices.ContainsFunc(o.Methods, func(m string) bool { return !slices.Contains(t.Methods, m) }) {
			return false
		}
	}
	if prefix, ok := strings.CutSuffix(t.Path, "*"); ok {
		return strings.HasPrefix(o.Path, prefix)
	}
	return t.Path == o.Path
}

// validateRoutes checks the routes against the upstreams and against each other.
func (c *Config) validateRoutes(at *node, r *report) {
	if at.kind == sequence && len(at.items) == 0 {
		r.errorf(at, "empty, expected at least one route")
	}
	for i, t := range c.Routes {
		if t == nil {
			continue
		}
		item := at.item(i)
		if _, exists := c.Upstreams[t.Upstream]; !exists && t.Upstream != "" && len(c.Upstreams) > 0 {
			r.errorf(item.get("upstream"), "no upstream %q is defined, %s", t.Upstream, suggest(t.Upstream, c.UpstreamNames))
		}
		earlier := slices.IndexFunc(c.Routes[:i], func(e *Route) bool { return e != nil && e.Path != "" && e.covers(t) })
		if earlier >= 0 && t.Path != "" {
			r.errorf(item.get("path"), "never reached: the route in line %d matches every request of this one", at.item(earlier).line)
		}
	}
}
