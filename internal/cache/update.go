package cache

import (
	"bytes"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/internal/http1"
)

// Refresh makes a new entry of e and of the 304 that confirmed it: RFC 9111 sections 3.2 and 4.3.4. It has e's body, and the
// fields of the 304 in place of its own. It answers the request that was sent with e's validators, p being that request's
// plan; the verdict says whether it may go to others and be put into the store too. The entry is nil if the 304 is not
// about e: then the request must be sent again without validators.
func (c *Cache) Refresh(e *Entry, resp *http1.Response, p *Plan, t Times) (*Entry, Verdict) {
	var v Verdict
	var s facts
	s.read(resp, t.Response)
	if !e.confirmedBy(&s) {
		return nil, v
	}
	age := s.age
	merged := e.merge(&resp.Head)
	s.read(merged, t.Response)
	s.age = age
	names, all := varyOf(&merged.Head)
	s.varyAll = s.varyAll || all || !p.varies.covers(names)
	v.Share = s.shareable() && s.permits(p)
	v.Unshareable = !s.shareable() && s.permits(p)
	v.FreshFor = s.freshFor(c.route, t)
	v.Store = s.storable(c.route) && s.permits(p)
	v.plan = p.Clone()
	next := *e
	next.generation = p.generation
	next.block = make([]byte, 0, len(e.block))
	for i := range merged.Fields {
		if f := &merged.Fields[i]; !s.hides(f.Name) && (c.drop == nil || !c.drop(f.Name)) {
			next.block = http1.AppendField(next.block, f.Name, f.Value)
		}
	}
	next.adopt(&s, t, v.FreshFor)
	return &next, v
}

// covers reports whether every one of the names is known already.
func (v *varies) covers(names []string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return v == nil || !slices.Contains(v.names, n) })
}

// confirmedBy reports whether a 304 is about e: the validators that it has are e's.
func (e *Entry) confirmedBy(s *facts) bool {
	switch {
	case s.etag != nil && !isWeak(s.etag):
		return bytes.Equal(s.etag, e.etag)
	case s.etag != nil && e.etag != nil:
		return matchesTag(s.etag, e.etag)
	case s.etag == nil && s.lastModified != nil && e.lastModified != nil:
		return bytes.Equal(s.lastModified, e.lastModified)
	}
	return true
}

// merge returns e's head with the fields of the 304 in place of its own of the same name.
func (e *Entry) merge(resp *http1.Head) *http1.Response {
	merged := &http1.Response{Status: e.status, Reason: e.reason}
	for name, line := range lines(e.block) {
		if _, replaced := resp.Get(strings.ToLower(string(name))); !replaced || !updates(name) {
			value := line[len(name)+len(": ") : len(line)-len("\r\n")]
			merged.Fields = append(merged.Fields, http1.Field{Name: name, Value: value})
		}
	}
	for i := range resp.Fields {
		if f := &resp.Fields[i]; kept(f) && updates(f.Name) {
			merged.Fields = append(merged.Fields, *f)
		}
	}
	return merged
}

// updates reports whether a 304 may change the field: not what describes the content that is stored, nor who passed that on.
func updates(name []byte) bool {
	for _, n := range [...]string{"content-encoding", "content-type", "content-range", "content-length", "etag", "via"} {
		if http1.EqualFold(name, n) {
			return false
		}
	}
	return true
}
