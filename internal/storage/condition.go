package storage

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// A tag is an entity tag as a client sends it, RFC 9110 section 8.8.3.
type tag struct {
	value string // with its quotes
	weak  bool
}

// tags are those of a field, or its "*".
type tags struct {
	there, any bool
	list       []tag
}

// tagsOf reads If-Match or If-None-Match, whose lines are one list.
func (r *request) tagsOf(name string) (t tags, wrong *fieldError) {
	lower := strings.ToLower(name)
	for i := range r.Fields {
		if f := &r.Fields[i]; http1.EqualFold(f.Name, lower) {
			t.there = true
			if !t.read(string(f.Value)) {
				return t, bad(name, "must be * or a list of entity tags, as \"…\"")
			}
		}
	}
	if t.any && len(t.list) > 0 {
		wrong = bad(name, "has * beside entity tags")
	}
	return t, wrong
}

// read adds the tags of a line.
func (t *tags) read(line string) bool {
	for rest := strings.Trim(line, " \t,"); rest != ""; rest = strings.TrimLeft(rest, " \t,") {
		if rest[0] == '*' {
			t.any, rest = true, rest[1:]
			continue
		}
		opaque, weak := strings.CutPrefix(rest, "W/")
		if opaque == "" || opaque[0] != '"' {
			return false
		}
		end := strings.IndexByte(opaque[1:], '"')
		if end < 0 {
			return false
		}
		t.list = append(t.list, tag{opaque[:end+2], weak})
		rest = opaque[end+2:]
	}
	return true
}

// has reports whether a tag is among them. Weak ones count only where weak is true.
func (t *tags) has(etag string, weak bool) bool {
	for _, v := range t.list {
		if v.value == etag && (weak || !v.weak) {
			return true
		}
	}
	return t.any
}

// sums are the contents that the tags stand for. A tag that is none of this server's stands for no content.
func (t *tags) sums(weak bool) (sums [][32]byte) {
	for _, v := range t.list {
		sum, err := hex.DecodeString(strings.Trim(v.value, `"`))
		if err == nil && len(sum) == 32 && (weak || !v.weak) && v.value == `"`+hex.EncodeToString(sum)+`"` {
			sums = append(sums, [32]byte(sum))
		}
	}
	return sums
}

// condition reads what a request that changes something asks of what is there.
func (r *request) condition() (c Condition, wrong *fieldError) {
	match, wrong := r.tagsOf("If-Match")
	if wrong != nil {
		return c, wrong
	}
	none, wrong := r.tagsOf("If-None-Match")
	if wrong != nil {
		return c, wrong
	}
	switch {
	case match.there && none.there:
		return c, bad("If-None-Match", "must not be there beside If-Match")
	case match.any:
		c.Kind = Exists
	case match.there:
		c = Condition{Kind: OneOf, Sums: match.sums(false)}
	case none.any:
		c.Kind = Absent
	case none.there:
		c = Condition{Kind: NoneOf, Sums: none.sums(true)}
	}
	if len(c.Sums) > MaxTags {
		wrong = bad("If-Match", "must not have more than %d entity tags", MaxTags)
	}
	return c, wrong
}

// selected decides about a read of an entry, in the order of RFC 9110 section 13.2.2: 200, 304 or 412. Fields that can't be read
// are as good as not there, but for If-Match.
func (r *request) selected(e *Entry) int {
	etag, modified := e.ETag(), modifiedOf(e)
	match, wrong := r.tagsOf("If-Match")
	switch {
	case match.there && (wrong != nil || !match.has(etag, false)):
		return 412
	case !match.there:
		if since, ok := r.date("if-unmodified-since"); ok && modified.After(since) {
			return 412
		}
	}
	none, wrong := r.tagsOf("If-None-Match")
	switch {
	case none.there && wrong == nil && none.has(etag, true):
		return 304
	case !none.there:
		if since, ok := r.date("if-modified-since"); ok && !modified.After(since) {
			return 304
		}
	}
	return 200
}

// modifiedOf is when an entry was made, in whole seconds, as a field says it.
func modifiedOf(e *Entry) time.Time { return time.Unix(int64(e.Created/1000), 0).UTC() }

func (r *request) date(name string) (time.Time, bool) {
	value, found := r.Get(name)
	if !found {
		return time.Time{}, false
	}
	t, err := time.Parse(http1.TimeFormat, string(value))
	return t, err == nil
}

// span is a part of a content.
type span struct {
	from, length int64
	part         bool
}

// span reads Range, RFC 9110 section 14.2: one range of bytes. Several, and what can't be read, are as good as not there. ok is false
// for a range that is beyond the content.
func (r *request) span(e *Entry) (s span, ok bool) {
	size := int64(e.Length)
	whole := span{0, size, false}
	value, found, wrong := r.single("Range")
	if !found || wrong != nil || !r.rangeHolds(e) {
		return whole, true
	}
	set, isBytes := strings.CutPrefix(value, "bytes=")
	first, last, isRange := strings.Cut(strings.Trim(set, " \t"), "-")
	from, hasFirst := digits(first)
	to, hasLast := digits(last)
	switch {
	case !isBytes || !isRange || first != "" && !hasFirst || last != "" && !hasLast || first == "" && last == "" || hasFirst && hasLast && to < from:
		return whole, true
	case !hasFirst: // the last so many
		n := min(to, size)
		return span{size - n, n, true}, n > 0
	case from >= size:
		return s, false
	case !hasLast:
		to = size - 1
	}
	return span{from, min(to, size-1) - from + 1, true}, true
}

// rangeHolds decides If-Range, RFC 9110 section 13.1.5.
func (r *request) rangeHolds(e *Entry) bool {
	value, found, wrong := r.single("If-Range")
	switch {
	case !found:
		return true
	case wrong != nil:
		return false
	case strings.HasPrefix(value, `"`):
		return value == e.ETag()
	}
	t, err := time.Parse(http1.TimeFormat, value)
	return err == nil && t.Equal(modifiedOf(e))
}

// digits reads a position in a content, which for one that is too long to be any is the last that there can be.
func digits(text string) (n int64, ok bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	text = strings.TrimLeft(text, "0")
	if len(text) > 18 {
		return 1<<62 - 1, true
	}
	for _, c := range []byte(text) {
		n = n*10 + int64(c-'0')
	}
	return n, true
}
