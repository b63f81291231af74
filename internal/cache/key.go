package cache

import (
	"bytes"
	"encoding/binary"

	"github.com/sluicegate/sluice/internal/http1"
)

// appendPart appends bytes that cannot run into the next part.
func appendPart(dst, part []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(part)))
	return append(dst, part...)
}

// appendResource names what a request is about. HEAD asks for the same as GET and no other method has a key.
func appendResource(dst, host, target []byte) []byte {
	dst = append(dst, "GET http "...)
	host = bytes.TrimSuffix(host, defaultPort)
	dst = binary.AppendUvarint(dst, uint64(len(host)))
	dst = appendLower(dst, host)
	return appendPart(dst, target)
}

var defaultPort = []byte(":80")

func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, lower(c))
	}
	return dst
}

// appendValues appends the values of the field called name, in lower case, and how many there are.
func appendValues(dst []byte, h *http1.Head, name string) []byte {
	n := 0
	for i := range h.Fields {
		if tells(&h.Fields[i], name) {
			n++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for i := range h.Fields {
		if n > 0 && tells(&h.Fields[i], name) {
			dst = appendPart(dst, h.Fields[i].Value)
		}
	}
	return dst
}

// tells reports whether a field of a request is the one called name, and gets to the upstream. One that the request's Connection field names
// does not: its value in the key would let a client have the answer to a request without it kept for those who send it.
func tells(f *http1.Field, name string) bool {
	return f.Kind != http1.Nominated && http1.EqualFold(f.Name, name)
}

// appendSteering appends the steering fields, and those that only a trusted proxy can send, with their names.
func appendSteering(dst []byte, h *http1.Head, trusted bool) (_ []byte, any bool) {
	for i := range h.Fields {
		f := &h.Fields[i]
		switch {
		case f.Kind == http1.XForwardedProto || f.Kind == http1.XForwardedHost:
			if !trusted { // the gateway writes them itself
				continue
			}
		case f.Kind != http1.Other || !steers(f.Name):
			continue
		}
		any = true
		if trusted && http1.EqualFold(f.Name, "forwarded") {
			dst = appendForwarded(append(dst, byTrustedProxy), f.Value)
			continue
		}
		dst = append(dst, byClient)
		dst = binary.AppendUvarint(dst, uint64(len(f.Name)))
		dst = appendLower(dst, f.Name)
		dst = appendPart(dst, f.Value)
	}
	return append(dst, endOfFields), any
}

// What stands before a steering field in a key.
const (
	endOfFields = iota
	byClient
	byTrustedProxy
)

// appendForwarded appends a Forwarded field (RFC 7239) of a trusted proxy without its for= and by=, which say who asks and
// differ for every client.
func appendForwarded(dst, value []byte) []byte {
	for len(value) > 0 {
		var parameter []byte
		if i := bytes.IndexAny(value, ",;"); i >= 0 {
			parameter, value = value[:i], value[i+1:]
		} else {
			parameter, value = value, nil
		}
		name, _, _ := bytes.Cut(trim(parameter), equals)
		if len(parameter) > 0 && !http1.EqualFold(name, "for") && !http1.EqualFold(name, "by") {
			dst = appendPart(dst, parameter)
		}
	}
	return append(dst, 0)
}
