package limit

import (
	"slices"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/http1"
)

// The fields that tell clients about limits are those of draft-ietf-httpapi-ratelimit-headers-11, lists of structured fields (RFC 9651).
// The draft still moves; everything that depends on it is in this file.
//
//	RateLimit-Policy: "client";q=51;w=1        at most q at once, which come back within w seconds
//	RateLimit: "client";r=50;t=1               r are left now, and all of them are back in t seconds

// maxInteger is the greatest integer of a structured field.
const maxInteger = 999_999_999_999_999

// AddFields adds what was decided to the head of a response: a member for each rule that was decided, but for those that only
// report.
func (g *Grant) AddFields(x *http1.Exchange) {
	if g.decided == 0 {
		return
	}
	var space [512]byte
	if g.headers.standard {
		x.Add(policyName, appendPolicy(space[:0], g.calls[:g.decided]))
		x.Add(stateName, appendState(space[:0], g.calls[:g.decided]))
	}
	if g.headers.legacy {
		d := &tightest(g.calls[:g.decided]).decision
		x.Add(legacyLimit, strconv.AppendInt(space[:0], d.Limit, 10))
		x.Add(legacyRemaining, strconv.AppendInt(space[:0], d.Remaining, 10))
		x.Add(legacyReset, strconv.AppendInt(space[:0], seconds(d.ResetAfter), 10))
	}
}

// Field is a field of a response.
type Field struct{ Name, Value string }

// fields lists what AddFields adds. Limits that came with a question are left out: clients do not know them.
func (g *Grant) fields() []Field {
	calls := slices.DeleteFunc(slices.Clone(g.calls[:g.decided]), func(c call) bool { return c.rule.name == adHocName })
	if len(calls) == 0 {
		return nil
	}
	var fields []Field
	add := func(name, value []byte) { fields = append(fields, Field{string(name), string(value)}) }
	if g.headers.standard {
		add(policyName, appendPolicy(nil, calls))
		add(stateName, appendState(nil, calls))
	}
	if g.headers.legacy {
		d := &tightest(calls).decision
		add(legacyLimit, strconv.AppendInt(nil, d.Limit, 10))
		add(legacyRemaining, strconv.AppendInt(nil, d.Remaining, 10))
		add(legacyReset, strconv.AppendInt(nil, seconds(d.ResetAfter), 10))
	}
	return fields
}

var (
	policyName      = []byte("RateLimit-Policy")
	stateName       = []byte("RateLimit")
	legacyLimit     = []byte("X-RateLimit-Limit")
	legacyRemaining = []byte("X-RateLimit-Remaining")
	legacyReset     = []byte("X-RateLimit-Reset")
)

// Replaces reports whether a field of an upstream's response must go because AddFields adds one that there can only be one of.
// RateLimit and RateLimit-Policy are lists: there, ours follow those of the upstream.
func (g *Grant) Replaces(name []byte) bool {
	if !g.headers.legacy || g.decided == 0 || len(name) < len("x-ratelimit-limit") {
		return false
	}
	return http1.EqualFold(name, "x-ratelimit-limit") || http1.EqualFold(name, "x-ratelimit-remaining") || http1.EqualFold(name, "x-ratelimit-reset")
}

// policyMember is the member of RateLimit-Policy for a limit.
func policyMember(name string, limit gcra.Limit) string {
	b := appendQuoted(nil, name)
	b = append(b, ";q="...)
	b = strconv.AppendInt(b, min(limit.Burst()+1, maxInteger), 10)
	b = append(b, ";w="...)
	return string(strconv.AppendInt(b, seconds(limit.Window()), 10))
}

func appendPolicy(dst []byte, calls []call) []byte {
	for i := range calls {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, calls[i].terms.policy...)
	}
	return dst
}

func appendState(dst []byte, calls []call) []byte {
	for i := range calls {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		c := &calls[i]
		dst = appendQuoted(dst, c.rule.name)
		dst = append(dst, ";r="...)
		dst = strconv.AppendInt(dst, min(c.decision.Remaining, maxInteger), 10)
		dst = append(dst, ";t="...)
		dst = strconv.AppendInt(dst, seconds(c.decision.ResetAfter), 10)
	}
	return dst
}

// appendQuoted appends a string of a structured field, RFC 9651 section 4.1.6. name must be printable ASCII.
func appendQuoted(dst []byte, name string) []byte {
	dst = append(dst, '"')
	for i := range len(name) {
		if name[i] == '"' || name[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, name[i])
	}
	return append(dst, '"')
}

// seconds rounds up: who waits that long has waited long enough.
func seconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d-1)/time.Second) + 1
}

// tightest is the call that a client should mind most: one that was refused, for the longest, or else the one with the least left.
func tightest(calls []call) *call {
	best := &calls[0]
	for i := range calls[1:] {
		c := &calls[i+1]
		a, b := &c.decision, &best.decision
		if a.RetryAfter > b.RetryAfter || a.RetryAfter == b.RetryAfter && a.Remaining < b.Remaining {
			best = c
		}
	}
	return best
}
