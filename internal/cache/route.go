package cache

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// Route is what the configuration says about the answers of one route. The zero value keeps nothing and lets those
// requests share an answer that the RFCs let share it. It must not change once it is used.
type Route struct {
	// MaxTTL bounds how long a response is fresh from when it came. 0: none is ever fresh, so none is kept.
	MaxTTL time.Duration
	// MinTTL is how long a response that states its freshness is fresh at least, whatever it states; not one that says
	// no-cache, no-store, private, must-revalidate or proxy-revalidate. More than 0 overrides RFC 9111.
	MinTTL time.Duration
	// DefaultTTL is how long a response is fresh that says nothing about it, neither in Cache-Control nor in Expires.
	DefaultTTL time.Duration
	// Heuristic lets a response be fresh that does not say for how long, by its Last-Modified: RFC 9111 section 4.2.2.
	Heuristic bool
	// ShareBy names fields of requests whose values are part of who asks: requests that agree in them may share an
	// answer, even where the field (Authorization, Cookie) would forbid it otherwise.
	ShareBy []string
	// ShareAcross names fields that say who asks, and that answers do not depend on: requests that differ in them may share.
	ShareAcross []string
	// Credentials names further fields by which clients say who they are. They count as Cookie does.
	Credentials []string
}

// Normal returns r with its names in lower case, in order and each once, as the rules want them.
func (r Route) Normal() *Route {
	r.ShareBy, r.ShareAcross, r.Credentials = normalNames(r.ShareBy), normalNames(r.ShareAcross), normalNames(r.Credentials)
	return &r
}

// name is a name for the route that tells its rules of who may share from others, too.
func (r *Route) name(name string) string {
	b := appendPart(nil, []byte(name))
	for _, names := range [...][]string{r.ShareBy, r.ShareAcross, r.Credentials} {
		b = binary.AppendUvarint(b, uint64(len(names)))
		for _, n := range names {
			b = appendPart(b, []byte(n))
		}
	}
	return string(b)
}

func normalNames(names []string) []string {
	lower := make([]string, 0, len(names))
	for _, n := range names {
		lower = append(lower, strings.ToLower(n))
	}
	slices.Sort(lower)
	return slices.Compact(lower)
}
