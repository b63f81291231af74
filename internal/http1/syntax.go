package http1

import "bytes"

// Error is a message that must not be passed on, or an end that cannot go on. Status is what a server answers;
// Reason says what is wrong in words a client can act on.
type Error struct {
	Status int
	Reason string
}

func (e *Error) Error() string { return e.Reason }

func bad(reason string) *Error { return &Error{Status: 400, Reason: reason} }

// What a message can be refused for. They are values so that refusing costs nothing.
var (
	errFull           = bad("internal: the buffer is full")
	errBareLF         = bad("a line ends in a bare LF: it must end in CRLF")
	errBareCR         = bad("a bare CR in the head")
	errControl        = bad("a control character in the head")
	errRequestLine    = bad("malformed request line: it must be METHOD SP TARGET SP HTTP/1.1")
	errMethod         = bad("the method is not a token")
	errTarget         = bad("the request target contains a character that is not allowed there")
	errVersion        = bad("the HTTP version is not 1.0 or 1.1")
	errFold           = bad("a folded field line")
	errFieldName      = bad("malformed field name: it must be a token, with no space before the colon")
	errFieldColon     = bad("a field line without a colon")
	errNoHost         = bad("no Host field")
	errTwoHosts       = bad("more than one Host field")
	errHost           = bad("malformed Host field")
	errBothLengths    = bad("both Content-Length and Transfer-Encoding")
	errTwoLengths     = bad("more than one Content-Length field")
	errLength         = bad("malformed Content-Length: it must be digits")
	errCoding         = bad("Transfer-Encoding must be chunked, once")
	errCodingOld      = bad("Transfer-Encoding in an HTTP/1.0 message")
	errChunkSize      = bad("malformed chunk size")
	errChunkEnd       = bad("a chunk does not end in CRLF")
	errTrailer        = bad("malformed trailer section")
	errExpect         = &Error{Status: 417, Reason: "the only expectation understood is 100-continue"}
	errConnectMethod  = &Error{Status: 501, Reason: "CONNECT is not served here: this is a gateway, not a forward proxy"}
	errURITooLong     = &Error{Status: 414, Reason: "the request target is too long"}
	errHeaderTooLarge = &Error{Status: 431, Reason: "the request head is too large"}
	errTooManyFields  = &Error{Status: 431, Reason: "too many header fields"}
	errTooManyOptions = &Error{Status: 431, Reason: "too many options in Connection"}
	errStatusLine     = bad("malformed status line")
)

// Classes of bytes, RFC 9110 section 5.6.2 and RFC 9112 sections 3 and 5.
const (
	isToken  = 1 << iota // a character of a token
	isValue              // allowed in a field value: visible, obs-text, space, tab
	isTarget             // allowed in a request target: visible and not '#', or above ASCII
	isHost               // allowed in a Host value
)

var class = func() (t [256]byte) {
	for c := range 256 {
		visible := c > 0x20 && c != 0x7f
		if visible || c == ' ' || c == '\t' {
			t[c] |= isValue
		}
		if visible && c != '#' {
			t[c] |= isTarget
		}
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if alnum || c < 0x80 && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), byte(c)) >= 0 {
			t[c] |= isToken
		}
		if alnum || c < 0x80 && bytes.IndexByte([]byte("-._~%!$&'()*+,;=:[]"), byte(c)) >= 0 {
			t[c] |= isHost
		}
	}
	return t
}()

// all reports whether every byte of b is of the class c.
func all(b []byte, c byte) bool {
	for _, x := range b {
		if class[x]&c == 0 {
			return false
		}
	}
	return true
}

// IsFieldValue reports whether b can stand as a field value: no control character but the tab.
func IsFieldValue(b []byte) bool { return all(b, isValue) }

// IsVisible reports whether b is visible ASCII, without spaces.
func IsVisible(b []byte) bool {
	for _, c := range b {
		if c <= 0x20 || c >= 0x7f {
			return false
		}
	}
	return true
}

// EqualFold reports whether a and b are equal, ASCII letters without regard to case. lower must be in lower case.
func EqualFold(a []byte, lower string) bool {
	if len(a) != len(lower) {
		return false
	}
	for i, c := range a {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// trimOWS drops spaces and tabs around b.
func trimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// nextElement cuts the first element off a comma-separated list.
func nextElement(list []byte) (element, rest []byte) {
	element, rest, _ = bytes.Cut(list, []byte{','})
	return trimOWS(element), rest
}

// parseLength reads a Content-Length: digits only, and below 10^18 so that no sum of lengths overflows.
func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// TimeFormat is how HTTP writes a time, RFC 9110 section 5.6.7. The time must be in UTC.
const TimeFormat = "Mon, 02 Jan 2006 15:04:05 GMT"
