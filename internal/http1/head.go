package http1

import "bytes"

// Kind names the fields that a gateway itself must understand; every other field is Other and only passed on.
type Kind uint8

const (
	Other Kind = iota
	Host
	ContentLength
	TransferEncoding
	Connection
	KeepAlive
	ProxyConnection
	ProxyAuthenticate
	ProxyAuthorization
	TE
	Trailer
	Upgrade
	Expect
	Via
	XForwardedFor
	XForwardedProto
	XForwardedHost
	XRequestID
	Nominated // named by a Connection field, so for this hop alone
)

// Field is one line of a head. Name has the sender's spelling and Value its bytes, without the white space around
// them. Both are slices of the connection's buffer, valid until the exchange ends.
type Field struct {
	Name, Value []byte
	Kind        Kind
}

// FieldOf is a field as a head has it that says no more of it.
func FieldOf(name, value []byte) Field { return Field{Name: name, Value: value, Kind: kindOf(name)} }

// HopByHop reports whether the field concerns one connection and is never passed on: those that RFC 9110 section
// 7.6.1 lists, and those that a Connection field of the message names.
func (f *Field) HopByHop() bool {
	switch f.Kind {
	case Connection, KeepAlive, ProxyConnection, ProxyAuthenticate, ProxyAuthorization, TE, TransferEncoding, Upgrade, Nominated:
		return true
	}
	return false
}

// kindOf recognises a field name in any spelling.
func kindOf(name []byte) Kind {
	switch len(name) {
	case 2:
		return is(name, "te", TE)
	case 3:
		return is(name, "via", Via)
	case 4:
		return is(name, "host", Host)
	case 6:
		return is(name, "expect", Expect)
	case 7:
		if name[0]|0x20 == 'u' {
			return is(name, "upgrade", Upgrade)
		}
		return is(name, "trailer", Trailer)
	case 10:
		if name[0]|0x20 == 'k' {
			return is(name, "keep-alive", KeepAlive)
		}
		return is(name, "connection", Connection)
	case 12:
		return is(name, "x-request-id", XRequestID)
	case 14:
		return is(name, "content-length", ContentLength)
	case 15:
		return is(name, "x-forwarded-for", XForwardedFor)
	case 16:
		if name[0]|0x20 == 'x' {
			return is(name, "x-forwarded-host", XForwardedHost)
		}
		return is(name, "proxy-connection", ProxyConnection)
	case 17:
		if name[0]|0x20 == 'x' {
			return is(name, "x-forwarded-proto", XForwardedProto)
		}
		return is(name, "transfer-encoding", TransferEncoding)
	case 18:
		return is(name, "proxy-authenticate", ProxyAuthenticate)
	case 19:
		return is(name, "proxy-authorization", ProxyAuthorization)
	}
	return Other
}

func is(name []byte, lower string, k Kind) Kind {
	if EqualFold(name, lower) {
		return k
	}
	return Other
}

// Head is what requests and responses have in common. Not safe for concurrent use.
type Head struct {
	Minor  int     // 1 for HTTP/1.1, 0 for HTTP/1.0
	Fields []Field // as they came, in their order

	// Length is the body's length in bytes: 0 without a body, Chunked or UntilClose when it is not known in advance.
	Length int64
	// Declared is what Content-Length says, -1 without one. An answer to HEAD declares a length and has no body.
	Declared int64

	keepAlive, closing bool // what the Connection fields ask for
	upgrade            bool // Connection names Upgrade, and an Upgrade field is there that may be followed
	coding             bool // Transfer-Encoding: chunked
}

// Lengths of bodies that are not known in advance.
const (
	Chunked    = -1 // the chunks say where it ends
	UntilClose = -2 // the end of the connection ends it (responses only)
)

// CloneFields returns the fields with bytes of their own, and room for two more.
func (h *Head) CloneFields() []Field {
	size := 0
	for i := range h.Fields {
		size += len(h.Fields[i].Name) + len(h.Fields[i].Value)
	}
	k := keeper{make([]byte, 0, size)}
	fields := make([]Field, len(h.Fields), len(h.Fields)+2)
	for i := range h.Fields {
		f := &h.Fields[i]
		fields[i] = Field{Name: k.keep(f.Name), Value: k.keep(f.Value), Kind: f.Kind}
	}
	return fields
}

// keeper copies bytes into one array, which has room for them all.
type keeper struct{ buf []byte }

func (k *keeper) keep(p []byte) []byte {
	k.buf = append(k.buf, p...)
	return k.buf[len(k.buf)-len(p) : len(k.buf) : len(k.buf)]
}

// Get returns the first value of the field called name, which must be in lower case.
func (h *Head) Get(name string) ([]byte, bool) {
	for i := range h.Fields {
		if EqualFold(h.Fields[i].Name, name) {
			return h.Fields[i].Value, true
		}
	}
	return nil, false
}

// Bounds of a head.
const (
	maxFields  = 256
	maxOptions = 64 // of its Connection fields, where they name others
)

// headEnd looks for the empty line that ends a head in buf, having seen buf[:from] before. It returns the index
// behind it, 0 if it has not come yet. A bare LF is an error at once: waiting for a proper end would only time out.
func headEnd(buf []byte, from int) (end, seen int, err *Error) {
	for i := from; ; {
		n := bytes.IndexByte(buf[i:], '\n')
		if n < 0 {
			return 0, i, nil
		}
		i += n + 1
		if i < 2 || buf[i-2] != '\r' {
			return 0, i, errBareLF
		}
		if i >= 4 && buf[i-3] == '\n' {
			return i, i, nil
		}
	}
}

// cutLine cuts the first CRLF-terminated line off b, which headEnd has seen to contain one.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	return b[:i-1], b[i+1:]
}

// parseFields reads the field lines of a head up to and including the empty line.
func (h *Head) parseFields(b []byte) *Error {
	h.Fields = h.Fields[:0]
	for {
		line, rest := cutLine(b)
		if len(line) == 0 {
			return nil
		}
		if len(h.Fields) == maxFields {
			return errTooManyFields
		}
		f, err := parseField(line)
		if err != nil {
			return err
		}
		h.Fields = append(h.Fields, f)
		b = rest
	}
}

// parseField reads one field line.
func parseField(line []byte) (Field, *Error) {
	if line[0] == ' ' || line[0] == '\t' {
		return Field{}, errFold
	}
	colon := 0
	for colon < len(line) && class[line[colon]]&isToken != 0 {
		colon++
	}
	if colon == len(line) {
		return Field{}, errFieldColon
	}
	if line[colon] != ':' || colon == 0 {
		return Field{}, errFieldName
	}
	f := Field{Name: line[:colon], Value: trimOWS(line[colon+1:])}
	if !all(f.Value, isValue) {
		if bytes.IndexByte(f.Value, '\r') >= 0 {
			return Field{}, errBareCR
		}
		return Field{}, errControl
	}
	f.Kind = kindOf(f.Name)
	return f, nil
}

// frame reads what the fields say about the message's framing and its connection.
func (h *Head) frame() *Error {
	h.Length, h.Declared, h.keepAlive, h.closing, h.upgrade, h.coding = 0, -1, false, false, false, false
	names, upgrade, refused := false, false, false
	for i := range h.Fields {
		f := &h.Fields[i]
		switch f.Kind {
		case ContentLength:
			if h.Declared >= 0 {
				return errTwoLengths
			}
			n, ok := parseLength(f.Value)
			if !ok {
				return errLength
			}
			h.Length, h.Declared = n, n
		case TransferEncoding:
			if h.coding || !EqualFold(f.Value, "chunked") {
				return errCoding
			}
			h.coding = true
		case Connection:
			names = h.connection(f.Value) || names
		case Upgrade:
			upgrade, refused = true, refused || !mayUpgrade(f.Value)
		}
	}
	if h.coding {
		if h.Minor == 0 {
			return errCodingOld
		}
		if h.Declared >= 0 {
			return errBothLengths
		}
		h.Length = Chunked
	}
	h.upgrade = h.upgrade && upgrade && !refused && h.Minor == 1
	if names {
		return h.nominate()
	}
	return nil
}

// mayUpgrade reports whether a protocol may be switched to through a gateway. Another version of HTTP may not: requests
// within it would pass no stage.
func mayUpgrade(protocols []byte) bool {
	for rest := protocols; len(rest) > 0; {
		var p []byte
		p, rest = nextElement(rest)
		if len(p) >= 2 && p[0]|0x20 == 'h' && (p[1] == '2' || p[1] == '3') || len(p) >= 4 && EqualFold(p[:4], "http") || len(p) >= 3 && EqualFold(p[:3], "tls") {
			return false
		}
	}
	return len(protocols) > 0
}

// connection reads one Connection value and reports whether it names other fields.
func (h *Head) connection(value []byte) (names bool) {
	for rest := value; len(rest) > 0; {
		var option []byte
		option, rest = nextElement(rest)
		switch {
		case EqualFold(option, "keep-alive"):
			h.keepAlive = true
		case EqualFold(option, "close"):
			h.closing = true
		case EqualFold(option, "upgrade"):
			h.upgrade = true
		case len(option) > 0:
			names = true
		}
	}
	return names
}

// nominate marks the fields that Connection fields name. Those that say what the message is, or where it comes from,
// cannot be named away. Every name is held against every field, so their number is bounded.
func (h *Head) nominate() *Error {
	options := 0
	for i := range h.Fields {
		if h.Fields[i].Kind != Connection {
			continue
		}
		for rest := h.Fields[i].Value; len(rest) > 0; {
			var option []byte
			option, rest = nextElement(rest)
			if options++; options > maxOptions {
				return errTooManyOptions
			}
			h.markNominated(option)
		}
	}
	return nil
}

func (h *Head) markNominated(name []byte) {
	for i := range h.Fields {
		f := &h.Fields[i]
		switch f.Kind {
		case Host, ContentLength, Trailer, XForwardedFor, XForwardedProto, XForwardedHost:
			continue
		}
		if len(name) > 0 && bytes.EqualFold(f.Name, name) && !f.HopByHop() {
			f.Kind = Nominated
		}
	}
}

// persistent reports whether the connection can carry another message after this one.
func (h *Head) persistent() bool {
	if h.Minor == 0 {
		return h.keepAlive && !h.closing
	}
	return !h.closing
}
