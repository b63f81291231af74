package cache

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/internal/http1"
)

// maxVaries bounds by how many fields answers of one resource may vary; past it they are treated as with Vary: *.
const maxVaries = 16

// varies is by which fields of requests the answers of a resource vary. It is immutable; nil is by none.
type varies struct {
	base  []byte   // the resource's part of the key
	names []string // in lower case, sorted, each once; at least one
}

// append appends the request's values of the fields, with their names. For a nil v it appends that there are none.
func (v *varies) append(dst []byte, req *http1.Head) []byte {
	if v == nil {
		return append(dst, 0)
	}
	return appendVaried(dst, v.names, req)
}

func appendVaried(dst []byte, names []string, req *http1.Head) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	for _, name := range names {
		dst = binary.AppendUvarint(dst, uint64(len(name)))
		dst = append(dst, name...)
		dst = appendNormal(dst, req, name)
	}
	return dst
}

// with returns the names of v and those of more, as one sorted list.
func (v *varies) with(more []string) []string {
	if v != nil {
		more = append(slices.Clone(v.names), more...)
	}
	return normalNames(more)
}

// varyOf lists the fields that a response varies by, in lower case. all means that no other request can be known to get
// the same answer: Vary: *, a malformed Vary, or a field that the gateway itself writes anew for each client.
//
// Two things that many origins forget are added: a response with Content-Encoding varies by Accept-Encoding, and one
// that lets a certain origin read it (Access-Control-Allow-Origin) varies by Origin.
func varyOf(resp *http1.Head) (names []string, all bool) {
	for i := range resp.Fields {
		f := &resp.Fields[i]
		switch {
		case http1.EqualFold(f.Name, "vary"):
			for rest := f.Value; len(rest) > 0; {
				var name []byte
				name, rest, _ = bytes.Cut(rest, comma)
				if name = trim(name); len(name) == 0 {
					continue
				}
				if !isName(name) || string(name) == "*" || perClient(name) {
					return nil, true
				}
				names = append(names, strings.ToLower(string(name)))
			}
		case http1.EqualFold(f.Name, "content-encoding") && !http1.EqualFold(f.Value, "identity"):
			names = append(names, "accept-encoding")
		case http1.EqualFold(f.Name, "access-control-allow-origin") && string(f.Value) != "*":
			names = append(names, "origin")
		}
	}
	names = normalNames(names)
	return names, len(names) > maxVaries
}

// perClient reports whether the upstream sees another value of the field than the client sent, one of its own for each
// client.
func perClient(name []byte) bool {
	return http1.EqualFold(name, "x-forwarded-for") || http1.EqualFold(name, "x-request-id")
}

// appendNormal appends the request's values of a field so that values that mean the same are equal: RFC 9111 section
// 4.1. Only fields whose syntax is known to be a list are touched; of all others every byte counts.
func appendNormal(dst []byte, req *http1.Head, name string) []byte {
	switch name {
	case "accept-encoding":
		return appendList(dst, req, name, true)
	case "accept-language", "accept-charset":
		return appendList(dst, req, name, false)
	}
	return appendValues(dst, req, name)
}

// maxElements bounds the elements of a list that is normalised. A longer one is taken as it is.
const maxElements = 32

// appendList appends a list field in its normal form: the elements of all its lines, in lower case and without the white
// space around them. Where sorted, the order means nothing by RFC 9110 section 12.5.3, and repetition neither. An absent
// field and an empty one differ.
func appendList(dst []byte, req *http1.Head, name string, sorted bool) []byte {
	var elements [maxElements][]byte
	n, found := 0, false
	for i := range req.Fields {
		if !tells(&req.Fields[i], name) {
			continue
		}
		found = true
		for rest := req.Fields[i].Value; len(rest) > 0; {
			var e []byte
			e, rest, _ = bytes.Cut(rest, comma)
			if e = trim(e); len(e) == 0 {
				continue
			}
			if n == maxElements {
				return appendValues(append(dst, asItCame), req, name)
			}
			elements[n] = e
			n++
		}
	}
	if !found {
		return append(dst, noList)
	}
	list := elements[:n]
	if sorted {
		list = sortElements(list)
	}
	dst = binary.AppendUvarint(append(dst, normalList), uint64(len(list)))
	for _, e := range list {
		dst = binary.AppendUvarint(dst, uint64(len(e)))
		dst = appendLower(dst, e)
	}
	return dst
}

// What stands before a list in a key.
const (
	noList = iota
	normalList
	asItCame
)

// sortElements sorts without regard to case and drops repetitions.
func sortElements(list [][]byte) [][]byte {
	slices.SortFunc(list, compareFold)
	return slices.CompactFunc(list, func(a, b []byte) bool { return compareFold(a, b) == 0 })
}

// compareFold compares ASCII letters without regard to case.
func compareFold(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if x, y := lower(a[i]), lower(b[i]); x != y {
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
