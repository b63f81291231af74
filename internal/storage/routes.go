package storage

import (
	"bytes"
	"net/url"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/problem"
	"github.com/sluicegate/sluice/internal/quota"
)

// A request is an exchange on its way to an answer. It is made for one after the other.
type request struct {
	*http1.Exchange
	server *Server
	query  query
	user   string
	bucket string
	object string
	job    string
	grant  limit.Grant
	asked  bool // grant is about this request
}

// A method is what answers a method of a place.
type method struct {
	name   string
	answer func(*request)
}

// A place is a kind of path, and what answers there.
type place struct {
	methods []method
	limited bool // requests count for the limit of their user
}

// The places that there are.
var (
	atRoot   = place{limited: true, methods: []method{{"POST", (*request).order}, {"GET", (*request).buckets}}}
	atBucket = place{limited: true, methods: []method{{"GET", (*request).list}}}
	atObject = place{limited: true, methods: []method{
		{"PUT", (*request).put}, {"GET", (*request).content}, {"DELETE", (*request).remove},
	}}
	atQuota = place{methods: []method{{"GET", (*request).quota}}}
	atJob   = place{methods: []method{{"GET", (*request).jobView}}}
)

const rootPath = "/object-storage"

// handle answers one request.
func (v *Server) handle(x *http1.Exchange) {
	r := v.requests.Get().(*request)
	r.Exchange, r.server = x, v
	r.serve()
	r.Exchange, r.query, r.user, r.bucket, r.object, r.job, r.asked = nil, query{}, "", "", "", "", false
	v.requests.Put(r)
}

func (r *request) serve() {
	if r.Refusal != nil {
		r.refuse(problem.Problem{Type: problem.ForRefusal(r.Refusal.Status), Detail: r.Refusal.Reason})
		return
	}
	p, wrong := r.place()
	if wrong != nil {
		r.refuseField(problem.InvalidParameter, wrong)
		return
	}
	if p == nil {
		r.refuse(problem.Problem{Type: problem.NotFound, Detail: "there is nothing at this path: expected /object-storage, /jobs/ID or /quota"})
		return
	}
	answer := p.find(r.Exchange)
	if answer == nil {
		r.refuse(notAllowed(p))
		return
	}
	if !r.identify() || p.limited && !r.pass() {
		return
	}
	answer(r)
}

func (p *place) find(x *http1.Exchange) func(*request) {
	for _, m := range p.methods {
		if x.IsMethod(m.name) || m.name == "GET" && x.IsMethod("HEAD") {
			return m.answer
		}
	}
	return nil
}

// place finds out what the path means; nil: nothing.
func (r *request) place() (*place, *fieldError) {
	rest, below := bytes.CutPrefix(r.Path, []byte(rootPath))
	switch {
	case below && len(rest) == 0:
		return &atRoot, nil
	case below && rest[0] == '/':
		return r.objectPlace(rest[1:])
	case string(r.Path) == "/quota":
		return &atQuota, nil
	}
	if id, job := bytes.CutPrefix(r.Path, []byte("/jobs/")); job && len(id) > 0 {
		r.job = string(id)
		return &atJob, nil
	}
	return nil, nil
}

// objectPlace reads the name of a bucket and, behind a slash, that of an object, slashes and all.
func (r *request) objectPlace(path []byte) (*place, *fieldError) {
	bucket, object, within := bytes.Cut(path, []byte("/"))
	var wrong *fieldError
	if r.bucket, wrong = pathPart("bucket", bucket, CheckBucket); wrong != nil || !within {
		return &atBucket, wrong
	}
	r.object, wrong = pathPart("object", object, CheckObject)
	return &atObject, wrong
}

func pathPart(field string, raw []byte, check func(string) error) (string, *fieldError) {
	name, err := url.PathUnescape(string(raw))
	if err != nil {
		return "", bad(field, "has a %% that doesn't begin an escape")
	}
	if err := check(name); err != nil {
		return "", bad(field, "%v", err)
	}
	return name, nil
}

func notAllowed(p *place) problem.Problem {
	var allow []string
	for _, m := range p.methods {
		allow = append(allow, m.name)
	}
	if slices.Contains(allow, "GET") {
		allow = append(allow, "HEAD")
	}
	methods := strings.Join(allow, ", ")
	return problem.Problem{Type: problem.MethodNotAllowed, Detail: "expected " + methods, Fields: field{"Allow", methods}}
}

// identify reads the query, and who asks, or answers what is wrong.
func (r *request) identify() bool {
	values, err := url.ParseQuery(string(r.Query))
	r.query = query{values}
	var wrong *fieldError
	if err != nil {
		wrong = bad("query", "can't be read: %v", err)
	} else {
		r.user, wrong = r.query.user()
	}
	if wrong != nil {
		r.refuseField(problem.InvalidParameter, wrong)
	}
	return wrong == nil
}

// pass lets a request pass the limit of its user, or answers it.
func (r *request) pass() bool {
	q := limit.Request{Client: []byte(r.user), Addr: r.Remote.Addr(), Route: rootPath, Path: r.Path, HTTP: &r.Request, Time: r.Start}
	r.asked = true
	switch r.server.limits.Decide(&r.grant, &q) {
	case limit.Passed:
		return true
	case limit.Refused:
		r.refuse(problem.Problem{
			Type: problem.QuotaExceeded, Detail: "too many requests of this user; try again later", RetryAfter: r.grant.RetryAfter(),
			Members: []problem.Member{{Name: "violated-policies", Value: r.grant.Violated()}},
		})
	default:
		r.refuse(problem.Problem{Type: problem.LimitUnavailable, Detail: "the limit of requests cannot be decided now; try again later"})
	}
	return false
}

// A query is the parameters of a request. Those that an endpoint does not know do no harm.
type query struct{ url.Values }

// one returns a parameter that may be there once, "" if it isn't.
func (q query) one(name string) (string, *fieldError) {
	switch values := q.Values[name]; len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	default:
		return "", bad(name, "is there more than once")
	}
}

func (q query) user() (string, *fieldError) {
	name, wrong := q.one("userId")
	if wrong != nil {
		return "", wrong
	}
	if !q.Has("userId") {
		return "", bad("userId", "is missing")
	}
	if err := quota.CheckUser(name); err != nil {
		return "", bad("userId", "%v", err)
	}
	return name, nil
}
