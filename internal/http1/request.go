package http1

import (
	"bytes"
	"slices"
	"strconv"
)

// Request is the head of a request. Its slices point into the connection's buffer and are valid until the exchange
// ends. Not safe for concurrent use.
type Request struct {
	Head
	Method []byte // as it came: methods are case-sensitive
	Target []byte // as it came, in origin form ("/path?query") or "*"; an absolute target is cut to its origin form
	Path   []byte // Target without its query, as it came: not decoded
	Query  []byte // behind the '?', as it came; nil without one
	Host   []byte // the Host field's value, or the authority of an absolute target, which takes precedence

	expectContinue bool
}

// Clone returns a copy that shares nothing with the connection's buffer, so that it can outlive the exchange.
func (r *Request) Clone() *Request {
	k := keeper{make([]byte, 0, len(r.Method)+len(r.Target)+len(r.Host))}
	c := *r
	c.Method, c.Target, c.Host = k.keep(r.Method), k.keep(r.Target), k.keep(r.Host)
	c.Path, c.Query = c.Target[:len(r.Path)], nil
	if r.Query != nil {
		c.Query = c.Target[len(r.Path)+1:]
	}
	c.Fields = r.CloneFields()
	return &c
}

// SplitTarget sets Path and Query, of which Target is made.
func (r *Request) SplitTarget() {
	r.Path, r.Query = r.Target, nil
	if i := bytes.IndexByte(r.Target, '?'); i >= 0 {
		r.Path, r.Query = r.Target[:i], r.Target[i+1:]
	}
}

// SetLength frames the request anew, for a body of n bytes.
func (r *Request) SetLength(n int64) {
	r.Fields = slices.DeleteFunc(r.Fields, func(f Field) bool {
		return f.Kind == ContentLength || f.Kind == TransferEncoding || f.Kind == Trailer || f.Kind == Expect
	})
	r.Length, r.Declared, r.coding, r.expectContinue = n, -1, false, false
	if n > 0 {
		r.Declared = n
		r.Fields = append(r.Fields, Field{Name: []byte("Content-Length"), Value: strconv.AppendInt(nil, n, 10), Kind: ContentLength})
	}
}

// Upgrades reports whether the client asks to change the protocol (a WebSocket, for example).
func (r *Request) Upgrades() bool { return r.upgrade }

// IsMethod compares the method, which is case-sensitive.
func (r *Request) IsMethod(m string) bool { return string(r.Method) == m }

// Idempotent reports whether RFC 9110 section 9.2.2 lets the request be repeated.
func (r *Request) Idempotent() bool {
	switch string(r.Method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// parse reads a whole request head, which ends in an empty line. maxURI bounds the target in bytes.
func (r *Request) parse(head []byte, maxURI int) *Error {
	line, rest := cutLine(head)
	if err := r.parseLine(line, maxURI); err != nil {
		return err
	}
	if err := r.parseFields(rest); err != nil {
		return err
	}
	if err := r.frame(); err != nil {
		return err
	}
	if err := r.setHost(); err != nil {
		return err
	}
	r.SplitTarget()
	return r.expect()
}

// parseLine reads the request line: exactly two spaces, RFC 9112 section 3.
func (r *Request) parseLine(line []byte, maxURI int) *Error {
	sp := bytes.IndexByte(line, ' ')
	last := bytes.LastIndexByte(line, ' ')
	if sp <= 0 || last == sp {
		return errRequestLine
	}
	var version []byte
	r.Method, r.Target, version = line[:sp], line[sp+1:last], line[last+1:]
	switch string(version) {
	case "HTTP/1.1":
		r.Minor = 1
	case "HTTP/1.0":
		r.Minor = 0
	default:
		return errVersion
	}
	switch {
	case !all(r.Method, isToken):
		return errMethod
	case len(r.Target) > maxURI:
		return errURITooLong
	case len(r.Target) == 0:
		return errRequestLine
	case !all(r.Target, isTarget):
		return errTarget
	case string(r.Method) == "CONNECT":
		return errConnectMethod
	}
	return nil
}

// setHost finds the one Host and brings the target to origin form, RFC 9112 sections 3.2 and 3.3.
func (r *Request) setHost() *Error {
	r.Host = nil
	found := false
	for i := range r.Fields {
		if r.Fields[i].Kind != Host {
			continue
		}
		if found {
			return errTwoHosts
		}
		r.Host, found = r.Fields[i].Value, true
	}
	if !found && r.Minor == 1 {
		return errNoHost
	}
	if r.Target[0] != '/' {
		if err := r.originForm(); err != nil {
			return err
		}
	}
	if !all(r.Host, isHost) {
		return errHost
	}
	return nil
}

// originForm cuts "http://authority" off an absolute target; the authority replaces the Host field.
func (r *Request) originForm() *Error {
	if string(r.Target) == "*" {
		if string(r.Method) != "OPTIONS" {
			return errTarget
		}
		return nil
	}
	var rest []byte
	switch t := r.Target; {
	case len(t) > 7 && EqualFold(t[:7], "http://"):
		rest = t[7:]
	case len(t) > 8 && EqualFold(t[:8], "https://"):
		rest = t[8:]
	default:
		return errTarget
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	r.Host = rest[:end]
	if len(r.Host) == 0 || bytes.IndexByte(r.Host, '@') >= 0 {
		return errTarget
	}
	switch target := rest[end:]; {
	case len(target) == 0 && string(r.Method) == "OPTIONS": // RFC 9112 section 3.2.4: the server as a whole
		r.Target = []byte("*")
	case len(target) == 0:
		r.Target = []byte("/")
	case target[0] == '?':
		r.Target = append([]byte("/"), target...)
	default:
		r.Target = target
	}
	return nil
}

// expect reads the Expect fields: 100-continue is the only expectation there is.
func (r *Request) expect() *Error {
	r.expectContinue = false
	for i := range r.Fields {
		if r.Fields[i].Kind != Expect {
			continue
		}
		if !EqualFold(r.Fields[i].Value, "100-continue") {
			return errExpect
		}
		r.expectContinue = r.Minor == 1 // RFC 9110 section 10.1.1: ignored in HTTP/1.0
	}
	return nil
}
