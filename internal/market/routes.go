package market

import (
	"slices"
	"strings"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/problem"
)

// A route is a path and what answers there.
type route struct {
	method string
	path   string // ending in "/" for everything below
	answer func(*Server, *http1.Exchange)
}

// routes are few, so they are searched in their order, with the busiest first.
var routes = []route{
	{"POST", "/buy", (*Server).buy},
	{"POST", "/sell", (*Server).sell},
	{"GET", "/allocation", (*Server).allocation},
	{"GET", "/balance", (*Server).balance},
	{"GET", "/bids", (*Server).bids},
	{"DELETE", "/bids/", (*Server).cancel},
	{"GET", "/book", (*Server).book},
	{"GET", "/stats", (*Server).stats},
	{"GET", "/events", (*Server).events},
	{"GET", "/allocations", (*Server).allocations},
	{"GET", "/openapi.yaml", (*Server).openapi},
}

// handle answers one request.
func (s *Server) handle(x *http1.Exchange) {
	if x.Refusal != nil {
		refuse(x, problem.Problem{Type: problem.ForRefusal(x.Refusal.Status), Detail: x.Refusal.Reason})
		return
	}
	var allow []string
	for i := range routes {
		r := &routes[i]
		if !r.matches(x.Path) {
			continue
		}
		if x.IsMethod(r.method) || r.method == "GET" && x.IsMethod("HEAD") {
			r.answer(s, x)
			return
		}
		allow = append(allow, r.method)
	}
	if allow != nil {
		refuse(x, notAllowed(allow))
		return
	}
	refuse(x, problem.Problem{Type: problem.NotFound, Detail: "there is nothing at this path; GET /openapi.yaml describes what there is"})
}

func (r *route) matches(path []byte) bool {
	if prefix := r.path; prefix[len(prefix)-1] == '/' {
		return len(path) > len(prefix) && string(path[:len(prefix)]) == prefix
	}
	return string(path) == r.path
}

func notAllowed(allow []string) problem.Problem {
	if slices.Contains(allow, "GET") {
		allow = append(allow, "HEAD")
	}
	methods := strings.Join(allow, ", ")
	return problem.Problem{Type: problem.MethodNotAllowed, Detail: "expected " + methods, Fields: field{"Allow", methods}}
}

// A field is a field of a response's head.
type field struct{ name, value string }

// AddFields implements problem.FieldAdder.
func (f field) AddFields(x *http1.Exchange) { x.AddString(f.name, f.value) }
