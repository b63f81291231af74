package gateway

import (
	"bytes"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/upstream"
)

// route is one entry of the configuration's routes.
type route struct {
	path    []byte // what the path must be, or begin with
	prefix  bool
	methods []string // empty: all
	pool    *upstream.Pool
	maxBody int64
	metrics *routeMetrics
	limits  *limit.Set
	name    string // what limits per route count it by
}

func newRoute(cfg *config.Route, pool *upstream.Pool, limits *limit.Set, m *metrics) *route {
	path, prefix := strings.CutSuffix(cfg.Path, "*")
	return &route{
		path:    []byte(path),
		prefix:  prefix,
		methods: cfg.Methods,
		pool:    pool,
		maxBody: int64(cfg.MaxBody),
		metrics: m.route(cfg.Path),
		limits:  limits,
		name:    strings.TrimLeft(strings.Join(cfg.Methods, ",")+" "+cfg.Path, " "),
	}
}

func (r *route) matches(method, path []byte) bool {
	if r.prefix && !bytes.HasPrefix(path, r.path) || !r.prefix && !bytes.Equal(path, r.path) {
		return false
	}
	return len(r.methods) == 0 || slices.Contains(r.methods, string(method))
}

// match finds the first route for the request, nil if there is none, and the path that was matched. "*", the target of
// OPTIONS, matches a route for every path.
func (s *settings) match(r *http1.Request) (found *route, path []byte) {
	path, ok := cleanPath(r.Path)
	if !ok {
		return nil, nil
	}
	for _, candidate := range s.routes {
		if candidate.matches(r.Method, path) {
			return candidate, path
		}
	}
	return nil, path
}

// cleanPath is the path as upstreams will understand it: escapes decoded, dot segments resolved, slashes not repeated.
// Routes are matched against it so that no spelling of a path gets around a route; what is forwarded is the path as it
// came. It reports false for a path that leaves the root or is wrongly escaped.
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
	var segments [][]byte
	parts := bytes.Split(decoded[1:], []byte{'/'})
	for i, part := range parts {
		switch string(part) {
		case "..":
			if len(segments) == 0 {
				return nil, false
			}
			segments = segments[:len(segments)-1]
		case ".", "":
		default:
			segments = append(segments, part)
			continue
		}
		if i == len(parts)-1 { // it stands for a directory
			segments = append(segments, nil)
		}
	}
	return append([]byte{'/'}, bytes.Join(segments, []byte{'/'})...), true
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
