package cache

import (
	"bytes"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// tagOf returns value if it is an entity tag, RFC 9110 section 8.8.3, and nil otherwise.
func tagOf(value []byte) []byte {
	if tag, rest := cutTag(value); len(rest) == 0 {
		return tag
	}
	return nil
}

// cutTag cuts an entity tag, with its W/ and its quotes, off b. It returns nil if b does not begin with one.
func cutTag(b []byte) (tag, rest []byte) {
	opaque := bytes.TrimPrefix(b, weak)
	if len(opaque) == 0 || opaque[0] != '"' {
		return nil, b
	}
	end := bytes.IndexByte(opaque[1:], '"')
	if end < 0 {
		return nil, b
	}
	n := len(b) - len(opaque) + end + 2
	return b[:n], b[n:]
}

var weak = []byte("W/")

func isWeak(tag []byte) bool { return bytes.HasPrefix(tag, weak) }

// matchesTag compares weakly, RFC 9110 section 8.8.3.2.
func matchesTag(a, b []byte) bool {
	return a != nil && b != nil && bytes.Equal(bytes.TrimPrefix(a, weak), bytes.TrimPrefix(b, weak))
}

// anyTag reports whether a list of an If-None-Match field has the tag, or is "*". What is malformed ends it.
func anyTag(list, tag []byte) bool {
	if string(trim(list)) == "*" {
		return true
	}
	for {
		list = bytes.TrimLeft(list, " \t,")
		var candidate []byte
		if candidate, list = cutTag(list); candidate == nil {
			return false
		}
		if matchesTag(candidate, tag) {
			return true
		}
	}
}

// unmodified reports whether the request's conditions say that the client has the response already, so that 304 is its
// answer: RFC 9110 section 13.2.2, RFC 9111 section 4.3.2. If-Modified-Since counts only where there is no If-None-Match.
func (e *Entry) unmodified(req *http1.Head) bool {
	tags, match := false, false
	var since []byte
	times := 0
	for i := range req.Fields {
		switch f := &req.Fields[i]; fieldOf(f) {
		case ifNoneMatch:
			tags = true
			match = match || anyTag(f.Value, e.etag)
		case ifModifiedSince:
			since = f.Value
			times++
		}
	}
	if tags || times != 1 {
		return match
	}
	t, ok := parseDate(since)
	return ok && !e.changed().After(t)
}

// changed is when the response changed last, as far as is known: a Date stands in for a missing Last-Modified.
func (e *Entry) changed() time.Time {
	if e.modified.IsZero() {
		return e.date
	}
	return e.modified
}

// rangeHolds reports whether an If-Range lets a part be sent: RFC 9110 section 13.1.5. It compares strongly, and a date
// only with a Last-Modified that a second later could not have meant anything else.
func (e *Entry) rangeHolds(value []byte) bool {
	if tag := tagOf(value); tag != nil {
		return !isWeak(tag) && bytes.Equal(tag, e.etag)
	}
	return e.lastModified != nil && bytes.Equal(value, e.lastModified) && e.date.Sub(e.modified) >= time.Second
}
