package cache

import (
	"bytes"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// Reply is how a stored response answers a request: whole, as a part, or with the word that the client has it already.
// The zero value is the whole response.
type Reply struct {
	status     int // 0 is the entry's own
	start, end int // of a part
}

// Reply chooses how e answers the request: RFC 9110 sections 13.2.2 and 14.2. Only a 200 can be had in part or not at all.
func (e *Entry) Reply(req *http1.Request, p *Plan) Reply {
	if e.status != 200 || !p.condition && !p.part {
		return Reply{}
	}
	if p.condition && e.unmodified(&req.Head) {
		return Reply{status: 304}
	}
	if p.part && !p.head {
		return e.part(&req.Head)
	}
	return Reply{}
}

// part reads Range and If-Range. A range that is malformed, of another unit, or one of several is ignored, as RFC 9110
// section 14.2 allows.
func (e *Entry) part(req *http1.Head) Reply {
	var ranges []byte
	n := 0
	for i := range req.Fields {
		switch f := &req.Fields[i]; fieldOf(f) {
		case rangeField:
			ranges = f.Value
			n++
		case ifRange:
			if !e.rangeHolds(f.Value) {
				return Reply{}
			}
		}
	}
	if n != 1 {
		return Reply{}
	}
	start, end, ok := parseRange(ranges, len(e.body))
	switch {
	case !ok:
		return Reply{}
	case start >= end:
		return Reply{status: 416}
	}
	return Reply{status: 206, start: start, end: end}
}

// parseRange reads a single range of bytes, RFC 9110 section 14.1.2. An empty part is one that cannot be satisfied.
func parseRange(value []byte, size int) (start, end int, ok bool) {
	const unit = "bytes="
	if len(value) < len(unit) || !http1.EqualFold(value[:len(unit)], unit) {
		return 0, 0, false
	}
	first, last, found := bytes.Cut(trim(value[len(unit):]), []byte{'-'})
	if !found || len(first) == 0 && len(last) == 0 {
		return 0, 0, false
	}
	from, okFrom := parseIndex(first)
	to, okTo := parseIndex(last)
	switch {
	case len(first) > 0 && !okFrom, len(last) > 0 && !okTo:
		return 0, 0, false
	case len(first) == 0:
		return max(size-to, 0), size, true
	case len(last) == 0:
		return from, size, true
	case to < from:
		return 0, 0, false
	}
	return from, min(to, size-1) + 1, true
}

// parseIndex reads digits; a number too large is as good as the largest.
func parseIndex(b []byte) (int, bool) {
	const most = 1 << 40
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int(c-'0'), most)
	}
	return n, len(b) > 0
}

// Begin writes the head of the answer but for what [Entry.End] completes; the caller may add fields in between.
func (e *Entry) Begin(x *http1.Exchange, r Reply, now time.Time) {
	switch r.status {
	case 0:
		x.Begin(e.status, e.reason)
		x.AddLines(e.block)
	case 304:
		x.Begin(304, nil)
		e.addUnmodified(x)
	case 206:
		x.Begin(206, nil)
		x.AddLines(e.block)
		e.addRange(x, r)
	case 416:
		x.Begin(416, nil)
		x.AddDate()
		e.addRange(x, r)
		return
	}
	x.AddSeconds("Age", e.Age(now))
}

// End completes the head and sends the answer.
func (e *Entry) End(x *http1.Exchange, r Reply) error {
	switch r.status {
	case 304:
		x.EndHead(-1)
		return x.Finish(nil)
	case 206:
		return x.Respond(e.body[r.start:r.end])
	case 416:
		return x.Respond(nil)
	}
	return x.Respond(e.body)
}

// addUnmodified adds the fields of a 304: RFC 9110 section 15.4.5 wants no description of the content in it.
func (e *Entry) addUnmodified(x *http1.Exchange) {
	for name, line := range lines(e.block) {
		if !describesContent(name) {
			x.AddLines(line)
		}
	}
}

func describesContent(name []byte) bool {
	for _, n := range [...]string{"content-type", "content-encoding", "content-language", "content-md5", "content-digest", "repr-digest", "digest"} {
		if http1.EqualFold(name, n) {
			return true
		}
	}
	return false
}

// addRange adds Content-Range, RFC 9110 section 14.4.
func (e *Entry) addRange(x *http1.Exchange, r Reply) {
	var buf [80]byte
	out := append(buf[:0], "Content-Range: bytes "...)
	if r.status == 416 {
		out = append(out, '*')
	} else {
		out = strconv.AppendInt(out, int64(r.start), 10)
		out = append(out, '-')
		out = strconv.AppendInt(out, int64(r.end-1), 10)
	}
	out = append(out, '/')
	out = strconv.AppendInt(out, int64(len(e.body)), 10)
	x.AddLines(append(out, "\r\n"...))
}

// lines goes through a block of field lines: the name of each, and the line whole.
func lines(block []byte) func(yield func(name, line []byte) bool) {
	return func(yield func(name, line []byte) bool) {
		for len(block) > 0 {
			end := bytes.IndexByte(block, '\n') + 1
			colon := bytes.IndexByte(block, ':')
			if !yield(block[:colon], block[:end]) {
				return
			}
			block = block[end:]
		}
	}
}
