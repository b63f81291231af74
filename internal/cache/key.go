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
		if http1.EqualFold(h.Fields[i].Name, name) {
			n++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for i := range h.Fields {
		if n > 0 && http1.EqualFold(h.Fields[i].Name, name) {
			dst = appendPart(dst, h.Fields[i].Value)
		}
	}
	return dst
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
		dst = append(dst, 1)
		dst = binary.AppendUvarint(dst, uint64(len(f.Name)))
		dst = appendLower(dst, f.Name)
		dst = appendPart(dst, f.Value)
	}
	return append(dst, 0), any
}
