package gateway

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/upstream"
)

// A kept request is what a job's payload says of it:
//
//	version  byte 1
//	flags    byte     1: of a trusted proxy, 2: HTTP/1.0
//	price    uvarint  what it bids for a slot of the upstream
//	peer     bytes    the address that sent it, as netip.Addr.MarshalBinary has it
//	id       bytes    its X-Request-Id
//	method, target, host bytes
//	count    uvarint  of fields
//	fields   name, value bytes, each
//	body     the rest, unless the job has a blob, which is the body then
//
// where bytes are a uvarint, their number, and themselves. The fields are those that the upstream gets: none of one hop, none that frame the body.
type keptRequest struct {
	head  http1.Request
	hop   upstream.Hop
	price int64
	body  []byte
}

const keptVersion = 1

const (
	keptTrusted = 1 << iota
	keptMinor0
)

// appendKept appends what is to be kept of a request but for its body, which is appended to that.
func appendKept(dst []byte, r *request) []byte {
	var flags byte
	if r.client.Trusted {
		flags |= keptTrusted
	}
	if r.Minor == 0 {
		flags |= keptMinor0
	}
	dst = binary.AppendUvarint(append(dst, keptVersion, flags), uint64(r.price()))
	peer, _ := r.Remote.Addr().MarshalBinary() // never fails
	for _, p := range [][]byte{peer, r.hop.RequestID, r.Method, r.Target, r.Host} {
		dst = appendBytes(dst, p)
	}
	count := 0
	for i := range r.Fields {
		if isKept(&r.Fields[i]) {
			count++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(count))
	for i := range r.Fields {
		if f := &r.Fields[i]; isKept(f) {
			dst = appendBytes(appendBytes(dst, f.Name), f.Value)
		}
	}
	return dst
}

// attemptName is the field that tells an upstream which attempt of a job a request is. Only the gateway says that.
const attemptName = "Sluice-Attempt"

func isKept(f *http1.Field) bool {
	switch f.Kind {
	case http1.Other:
		return !http1.EqualFold(f.Name, "sluice-attempt")
	case http1.Host, http1.Via, http1.XForwardedFor, http1.XForwardedProto, http1.XForwardedHost:
		return true
	}
	return false
}

func appendBytes(dst, p []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(p))), p...)
}

var errKept = errors.New("the payload of the job isn't a request that this version can read")

// parseKept reads a payload. What it returns points into it.
func parseKept(p []byte) (*keptRequest, error) {
	k := new(keptRequest)
	rd := keptReader{rest: p}
	version, flags := rd.byte(), rd.byte()
	k.price = int64(rd.number())
	peer := rd.bytes()
	k.hop.RequestID = rd.bytes()
	r := &k.head
	r.Method, r.Target, r.Host = rd.bytes(), rd.bytes(), rd.bytes()
	for range rd.count() {
		name := rd.bytes()
		r.Fields = append(r.Fields, http1.FieldOf(name, rd.bytes()))
	}
	if version != keptVersion || rd.bad || len(r.Target) == 0 || len(r.Method) == 0 {
		return nil, errKept
	}
	r.Minor = 1
	if flags&keptMinor0 != 0 {
		r.Minor = 0
	}
	r.SplitTarget()
	k.hop.Trusted = flags&keptTrusted != 0
	var addr netip.Addr
	if err := addr.UnmarshalBinary(peer); err != nil {
		return nil, errKept
	}
	k.hop.Peer = addr
	k.body = rd.rest
	return k, nil
}

// keptReader takes a payload apart. After the first byte that isn't as it should be, bad is set and what it returns means nothing.
type keptReader struct {
	rest []byte
	bad  bool
}

func (r *keptReader) byte() byte {
	if len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *keptReader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count is a number of things that take two bytes each at least.
func (r *keptReader) count() int {
	n := r.number()
	if n > uint64(len(r.rest)/2) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *keptReader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	p := r.rest[:n:n]
	r.rest = r.rest[n:]
	return p
}
