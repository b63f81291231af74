package meter

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A Scope says whose counts are meant.
type Scope string

// The scopes.
const (
	NodeScope    Scope = "node"    // of this process
	ClusterScope Scope = "cluster" // of all nodes that share a Redis
)

// A Sort says what meters are ordered by.
type Sort string

// The orders of meters.
const (
	SortCount Sort = "count"
	SortName  Sort = "name"
)

// rateSorts are the orders by the rates of spans.
var rateSorts = [...]Sort{"rate_1s", "rate_10s", "rate_60s"}

// Bounds of Query.Limit.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// Query says which meters to list. ParseQuery makes one.
type Query struct {
	Scope      Scope
	Kind       Kind // "" is every kind
	Sort       Sort
	Descending bool
	Limit      int // 1 to MaxLimit
	Offset     int // how many to leave out at the beginning
}

// QueryError is a mistake in a parameter.
type QueryError struct {
	Param  string
	Reason string
}

func (e *QueryError) Error() string { return "the parameter " + e.Param + ": " + e.Reason }

// ParseQuery reads the parameters scope, kind, sort, order, limit and offset, each of which may be missing: the default is
// all meters of this node, the one with the most requests first. Names are sorted from a to z unless order says otherwise.
// The error is a *QueryError.
func ParseQuery(v url.Values) (Query, error) {
	for _, name := range slices.Sorted(maps.Keys(v)) {
		switch {
		case !slices.Contains(params, name):
			return Query{}, &QueryError{strconv.Quote(name), "unknown, expected " + strings.Join(params, ", ")}
		case len(v[name]) > 1:
			return Query{}, &QueryError{name, "given more than once"}
		}
	}
	p := parser{values: v}
	q := Query{
		Scope:  Scope(p.oneOf("scope", string(NodeScope), string(ClusterScope))),
		Kind:   Kind(p.oneOf("kind", "", string(Client), string(Refused), string(Route))),
		Sort:   Sort(p.oneOf("sort", string(SortCount), "rate_1s", "rate_10s", "rate_60s", string(SortName))),
		Limit:  p.number("limit", DefaultLimit, 1, MaxLimit),
		Offset: p.number("offset", 0, 0, math.MaxInt32),
	}
	order := p.oneOf("order", "", "asc", "desc")
	q.Descending = order == "desc" || order == "" && q.Sort != SortName
	if p.err != nil {
		return Query{}, p.err
	}
	return q, nil
}

// params are the parameters of a query.
var params = []string{"scope", "kind", "sort", "order", "limit", "offset"}

// parser reads parameters and keeps the first mistake.
type parser struct {
	values url.Values
	err    error
}

func (p *parser) fail(name, format string, args ...any) {
	if p.err == nil {
		p.err = &QueryError{name, fmt.Sprintf(format, args...)}
	}
}

// oneOf returns the value of a parameter, which is the first of the given ones if the parameter is missing.
func (p *parser) oneOf(name string, allowed ...string) string {
	if !p.values.Has(name) {
		return allowed[0]
	}
	value := p.values.Get(name)
	if value == "" || !slices.Contains(allowed, value) {
		p.fail(name, "%q, expected one of %s", value, strings.TrimPrefix(strings.Join(allowed, ", "), ", "))
	}
	return value
}

// number returns the value of a parameter, which is otherwise if the parameter is missing.
func (p *parser) number(name string, otherwise, low, high int) int {
	if !p.values.Has(name) {
		return otherwise
	}
	value := p.values.Get(name)
	n, err := strconv.Atoi(value)
	if err != nil || n < low || n > high {
		p.fail(name, "%q, expected a number from %d to %d", value, low, high)
	}
	return n
}
