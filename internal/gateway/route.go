package gateway

import (
	"bytes"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/limit"
)

// route is one entry of the configuration's routes.
type route struct {
	path       []byte // what the path must be, or begin with
	prefix     bool
	methods    []string // empty: all
	pool       *backend
	maxBody    int64
	metrics    *routeMetrics
	limits     *limit.Set
	capacities []capacity
	sharing    *sharing // nil if no answer is shared
	merging    *merging // nil if every request is sent by itself
	async      *async   // nil if clients wait for the answer
	name       string   // what limits per route count it by
}

func newRoute(cfg *config.Route, pool *backend, limits *limit.Set, m *metrics) *route {
	path, prefix := strings.CutSuffix(cfg.Path, "*")
	return &route{
		path:    []byte(path),
		prefix:  prefix,
		methods: cfg.Methods,
		pool:    pool,
		maxBody: int64(cfg.MaxBody),
		metrics: m.route(cfg.Path),
		limits:  limits,
		async:   newAsync(cfg),
		name:    strings.TrimLeft(strings.Join(cfg.Methods, ",")+" "+cfg.Path, " "),
	}
}

func (r *route) matches(method, path []byte) bool {
	if r.prefix && !bytes.HasPrefix(path, r.path) || !r.prefix && !bytes.Equal(path, r.path) {
		return false
	}
	return len(r.methods) == 0 || slices.Contains(r.methods, string(method))
}

// match finds the first route for the request, nil if there is none, and the path that was matched, nil if the request's
// path is ambiguous. "*", the target of OPTIONS, matches a route for every path.
func (s *settings) match(r *http1.Request) (found *route, path []byte) {
	path, ok := cleanPath(r.Path)
	if !ok {
		return nil, nil
	}
	if s.jobs != nil && asksForJob(path) {
		return s.jobs, path
	}
	for _, candidate := range s.routes {
		if candidate.matches(r.Method, path) {
			return candidate, path
		}
	}
	return nil, path
}

// cleanPath is the path as upstreams will understand it: escapes decoded, slashes not repeated. Routes are matched
// against it so that no spelling of a path gets around a route; what is forwarded is the path as it came. It reports
// false for a path that upstreams may understand in different ways: one with dot segments, in any spelling (clients
// resolve them before they send a path), or with broken escapes.
func cleanPath(path []byte) ([]byte, bool) {
	if len(path) == 1 && path[0] == '*' {
		return []byte("/"), true
	}
	if !needsCleaning(path) {
		return path, true
	}
	decoded, ok := unescape(path)
	if !ok {
		return nil, false
	}
	clean := make([]byte, 0, len(decoded))
	for part := range bytes.SplitSeq(decoded[1:], []byte{'/'}) {
		if string(part) == "." || string(part) == ".." {
			return nil, false
		}
		if len(part) > 0 {
			clean = append(append(clean, '/'), part...)
		}
	}
	if decoded[len(decoded)-1] == '/' {
		clean = append(clean, '/')
	}
	return clean, true
}

func needsCleaning(path []byte) bool {
	for i, c := range path {
		if c == '%' || c == '/' && i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.') {
			return true
		}
	}
	return false
}

// unescape decodes %XX.
func unescape(path []byte) ([]byte, bool) {
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			out = append(out, path[i])
			continue
		}
		if i+2 >= len(path) {
			return nil, false
		}
		hi, lo := http1.HexDigit(path[i+1]), http1.HexDigit(path[i+2])
		if hi < 0 || lo < 0 {
			return nil, false
		}
		out = append(out, byte(hi<<4|lo))
		i += 2
	}
	return out, true
}
