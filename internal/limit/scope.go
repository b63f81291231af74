package limit

import (
	"bytes"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
)

// Scope is which requests a rule is for, and what they cost. It never changes; safe for concurrent use.
type Scope struct {
	cfg       *config.Limit
	costField string // in lower case; "" if the cost is fixed
	path      []byte // what the path must be, or begin with; nil for every path
	prefix    bool
}

// NewScope reads a rule's match and cost.
func NewScope(cfg *config.Limit) Scope {
	s := Scope{cfg: cfg, costField: strings.ToLower(cfg.Cost.Header)}
	if cfg.Match != nil && cfg.Match.Path != "" {
		path, prefix := strings.CutSuffix(cfg.Match.Path, "*")
		s.path, s.prefix = []byte(path), prefix
	}
	return s
}

// Has reports whether the request is one that the rule is for. path is as routes are matched against it.
func (s *Scope) Has(r *http1.Request, path []byte) bool {
	m := s.cfg.Match
	switch {
	case m == nil:
		return true
	case len(m.Methods) > 0 && !slices.Contains(m.Methods, string(r.Method)):
		return false
	case s.path == nil:
		return true
	case s.prefix:
		return bytes.HasPrefix(path, s.path)
	}
	return bytes.Equal(path, s.path)
}

// maxCostDigits bounds what a field may say a request costs: 15 digits is what structured fields allow as well.
const maxCostDigits = 15

// Cost is what the request costs; ok is false if its field says it twice, or not with a number.
func (s *Scope) Cost(h *http1.Request) (n int64, ok bool) {
	if s.costField == "" {
		return s.cfg.Cost.Fixed, true
	}
	n, found := s.cfg.Cost.Fixed, false
	for i := range h.Fields {
		if !http1.EqualFold(h.Fields[i].Name, s.costField) {
			continue
		}
		if n, ok = parseCost(h.Fields[i].Value); !ok || found {
			return 0, false
		}
		found = true
	}
	return n, true
}

func parseCost(digits []byte) (n int64, ok bool) {
	if len(digits) == 0 || len(digits) > maxCostDigits {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
