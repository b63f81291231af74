package market

import (
	"bytes"
	"fmt"
	"math"
	"unicode/utf16"
	"unicode/utf8"
)

// A fieldError says which field of a request is wrong, and how.
type fieldError struct {
	field  string // of the JSON, a field of the head, a parameter, or "body"
	reason string
}

func (e *fieldError) Error() string { return e.field + " " + e.reason }

func bad(field, format string, args ...any) *fieldError {
	return &fieldError{field, fmt.Sprintf(format, args...)}
}

// A posted is the body of an order.
type posted struct {
	username      string
	volume, price uint64
}

// A schema lists the fields of an object, all of which must be there.
type schema []string

var (
	buySchema  = schema{"username", "volume", "price"}
	sellSchema = schema{"volume"}
)

// decode reads a JSON object with the schema's fields and no others, each once. It is stricter than encoding/json, which lets names differ in
// case, takes the last of two values, and replaces what is not UTF-8.
func (p *posted) decode(body []byte, s schema) *fieldError {
	d := decoder{rest: body}
	var seen uint
	if !d.eat('{') {
		return bad("body", "must be a JSON object")
	}
	for more := !d.eat('}'); more; {
		name, err := d.str()
		if err != "" {
			return bad("body", "must be a JSON object: the name of a field %s", err)
		}
		i := s.index(name)
		if i < 0 {
			return bad(clip(name), "is not a field of this request, which has %s", s)
		}
		if seen&(1<<i) != 0 {
			return bad(s[i], "is there twice")
		}
		seen |= 1 << i
		if !d.eat(':') {
			return bad("body", "is not valid JSON: there is no colon after %q", s[i])
		}
		if err := p.value(&d, s[i]); err != nil {
			return err
		}
		if more = d.eat(','); !more && !d.eat('}') {
			return bad("body", "is not valid JSON after the field %q", s[i])
		}
	}
	if d.space(); len(d.rest) > 0 {
		return bad("body", "has something after the JSON object")
	}
	for i, name := range s {
		if seen&(1<<i) == 0 {
			return bad(name, "is missing")
		}
	}
	return nil
}

func (p *posted) value(d *decoder, field string) *fieldError {
	var reason string
	switch field {
	case "username":
		var name []byte
		if name, reason = d.str(); reason == "" {
			p.username = string(name)
			if err := CheckName(p.username); err != nil {
				reason = err.Error()
			}
		}
	case "volume":
		p.volume, reason = d.number()
	case "price":
		p.price, reason = d.number()
	}
	if reason != "" {
		return bad(field, "%s", reason)
	}
	return nil
}

func (s schema) index(name []byte) int {
	for i, known := range s {
		if string(name) == known {
			return i
		}
	}
	return -1
}

// String lists the fields.
func (s schema) String() string {
	var text []byte
	for i, name := range s {
		if i > 0 {
			text = append(text, ", "...)
		}
		text = append(text, name...)
	}
	return string(text)
}

// clip makes a client's own word fit for an answer.
func clip(name []byte) string {
	const most = 64
	if len(name) == 0 {
		return `""`
	}
	if len(name) > most {
		name = append(bytes.Clone(name[:most]), "…"...)
	}
	return string(bytes.ToValidUTF8(name, []byte("\uFFFD")))
}

// A decoder reads JSON, RFC 8259.
type decoder struct{ rest []byte }

func (d *decoder) space() {
	for len(d.rest) > 0 && (d.rest[0] == ' ' || d.rest[0] == '\t' || d.rest[0] == '\n' || d.rest[0] == '\r') {
		d.rest = d.rest[1:]
	}
}

// eat skips white space, and then c if it comes next.
func (d *decoder) eat(c byte) bool {
	d.space()
	if len(d.rest) == 0 || d.rest[0] != c {
		return false
	}
	d.rest = d.rest[1:]
	return true
}

// number reads an integer of 0 or more, or says what is wrong.
func (d *decoder) number() (n uint64, reason string) {
	d.space()
	end := bytes.IndexAny(d.rest, " \t\r\n,}]")
	if end < 0 {
		end = len(d.rest)
	}
	text := d.rest[:end]
	d.rest = d.rest[end:]
	if len(text) == 0 || !allDigits(text) || text[0] == '0' && len(text) > 1 {
		return 0, notInteger(text)
	}
	for _, c := range text {
		digit := uint64(c - '0')
		if n > math.MaxUint64/10 || n == math.MaxUint64/10 && digit > math.MaxUint64%10 {
			return 0, "must be at most 18446744073709551615"
		}
		n = n*10 + digit
	}
	return n, ""
}

func allDigits(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// notInteger says what a text is that is no integer of 0 or more.
func notInteger(text []byte) string {
	switch {
	case len(text) == 0:
		return "has no value"
	case text[0] == '-' && len(text) > 1 && text[1] >= '0' && text[1] <= '9':
		return "must not be negative"
	case text[0] >= '0' && text[0] <= '9' && bytes.ContainsAny(text, ".eE"):
		return "must be an integer, without a fraction or an exponent"
	}
	return "must be a number: an integer of 0 or more"
}

// str reads a string, or says what is wrong. The result may point into the input.
func (d *decoder) str() (text []byte, reason string) {
	if !d.eat('"') {
		return nil, "must be a string"
	}
	for i, c := range d.rest {
		switch {
		case c == '"':
			text, d.rest = d.rest[:i], d.rest[i+1:]
			if !utf8.Valid(text) {
				return nil, "is not valid UTF-8"
			}
			return text, ""
		case c == '\\':
			return d.escaped(i)
		case c < 0x20:
			return nil, "has a control character"
		}
	}
	return nil, "has no end"
}

// escaped reads a string whose first n bytes have no escapes.
func (d *decoder) escaped(n int) (text []byte, reason string) {
	text = append(text, d.rest[:n]...)
	for rest := d.rest[n:]; len(rest) > 0; {
		switch c := rest[0]; {
		case c == '"':
			d.rest = rest[1:]
			if !utf8.Valid(text) {
				return nil, "is not valid UTF-8"
			}
			return text, ""
		case c == '\\':
			if text, rest = unescape(text, rest); rest == nil {
				return nil, "has an escape that means no character"
			}
		case c < 0x20:
			return nil, "has a control character"
		default:
			text, rest = append(text, c), rest[1:]
		}
	}
	return nil, "has no end"
}

// unescape appends what the escape at the beginning of in means, and returns what follows it; nil if it means nothing.
func unescape(text, in []byte) (out, rest []byte) {
	if len(in) < 2 {
		return text, nil
	}
	if i := bytes.IndexByte([]byte(`"\/bfnrt`), in[1]); i >= 0 {
		return append(text, "\"\\/\b\f\n\r\t"[i]), in[2:]
	}
	r := unicodeEscape(in)
	if r < 0 {
		return text, nil
	}
	in = in[6:]
	if utf16.IsSurrogate(r) {
		r = utf16.DecodeRune(r, unicodeEscape(in))
		if r == utf8.RuneError {
			return text, nil
		}
		in = in[6:]
	}
	return utf8.AppendRune(text, r), in
}

// unicodeEscape reads \uXXXX, and returns -1 for anything else.
func unicodeEscape(in []byte) rune {
	if len(in) < 6 || in[0] != '\\' || in[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range in[2:6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}
