package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/sluicegate/sluice/internal/rate"
)

// The methods that a section may have, all on its pointer.
type (
	// defaulter sets the defaults, before the keys of the file are applied.
	defaulter interface{ defaults() }
	// validator reports what the types cannot see, after the keys are applied. A key with a mistake keeps its default.
	validator interface {
		validate(at *node, r *report)
	}
	// waiver is a section that does without a required key when another one says so.
	waiver interface {
		waives(key string, at *node) bool
	}
	// shorthand is a section that may be written as one value: it returns a pointer to what that fills.
	shorthand interface{ shorthand() any }
	// keyChecker is the type of a map's keys that says what they may be; other keys are names.
	keyChecker interface{ checkKey(key string) error }
)

// enum is a string type with a fixed set of values.
type enum interface{ values() []string }

// decoder fills typed values from nodes by the yaml tags of the types. In a tag, ",required" is a key that must be there
// and ",empty" a string that may be empty.
type decoder struct{ *report }

// value fills v, which is settable, from n.
func (d *decoder) value(n *node, v reflect.Value) {
	if n.broken {
		return
	}
	if n.kind == null {
		d.errorf(n, "no value, expected %s", describe(v.Type()))
		return
	}
	if parse := scalarParser(v.Type()); parse != nil {
		d.parsed(n, v, parse)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem())
	case reflect.Struct:
		if s, ok := v.Addr().Interface().(shorthand); ok && n.kind != mapping {
			d.short(n, s)
			return
		}
		d.section(n, v)
	case reflect.Map:
		d.named(n, v)
	case reflect.Slice:
		d.list(n, v)
	case reflect.String:
		d.str(n, v)
	case reflect.Int, reflect.Int64:
		d.integer(n, v)
	case reflect.Bool:
		d.boolean(n, v)
	default:
		panic("config: no decoding for " + v.Type().String())
	}
}

// is reports whether n has the kind that v needs, and the mistake if not.
func (d *decoder) is(n *node, want kind, v reflect.Value) bool {
	if n.kind != want {
		d.errorf(n, "expected %s, got %s", describe(v.Type()), got(n))
	}
	return n.kind == want
}

// short fills a section that is written as one value.
func (d *decoder) short(n *node, s shorthand) {
	if s, ok := s.(defaulter); ok {
		s.defaults()
	}
	mistakes := len(d.errs)
	d.value(n, reflect.ValueOf(s.shorthand()).Elem())
	if s, ok := s.(validator); ok && len(d.errs) == mistakes {
		s.validate(n, d.report)
	}
}

// field is a key of a section.
type field struct {
	key      string
	required bool
	empty    bool // may be an empty string
	index    int
}

// fieldsOf lists the keys of a section.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		tag := strings.Split(t.Field(i).Tag.Get("yaml"), ",")
		if tag[0] == "-" {
			continue
		}
		fields = append(fields, field{tag[0], slices.Contains(tag, "required"), slices.Contains(tag, "empty"), i})
	}
	return fields
}

// waived reports whether a section does without a key that it must have otherwise.
func waived(section any, key string, n *node) bool {
	w, ok := section.(waiver)
	return ok && w.waives(key, n)
}

// section fills a struct.
func (d *decoder) section(n *node, v reflect.Value) {
	if !d.is(n, mapping, v) {
		return
	}
	self := v.Addr().Interface()
	if s, ok := self.(defaulter); ok {
		s.defaults()
	}
	fields := fieldsOf(v.Type())
	d.unknown(n, fields)
	for _, f := range fields {
		value := n.find(f.key)
		switch {
		case value == nil && f.required && waived(self, f.key, n):
		case value == nil && f.required:
			d.errorf(n, "the key %q is missing", f.key)
		case value == nil || value.broken:
		case value.kind == scalar && value.text == "" && !f.empty:
			d.errorf(value, "empty, expected %s", describe(v.Field(f.index).Type()))
		default:
			d.value(value, v.Field(f.index))
		}
	}
	if s, ok := self.(validator); ok {
		s.validate(n, d.report)
	}
}

// unknown reports the keys of n that are none of fields.
func (d *decoder) unknown(n *node, fields []field) {
	var known []string
	for _, f := range fields {
		known = append(known, f.key)
	}
	for _, e := range n.entries {
		if key := e.key.text; !slices.Contains(known, key) {
			d.errorf(e.key, "unknown key %q, %s", key, suggest(key, known))
		}
	}
}

// named fills a map from names to sections.
func (d *decoder) named(n *node, v reflect.Value) {
	if !d.is(n, mapping, v) {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	check := checkName
	if c, ok := reflect.Zero(v.Type().Key()).Interface().(keyChecker); ok {
		check = c.checkKey
	}
	for _, e := range n.entries {
		if err := check(e.key.text); err != nil {
			d.errorf(e.key, "%q %v", e.key.text, err)
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(e.value, value)
		v.SetMapIndex(reflect.ValueOf(e.key.text).Convert(v.Type().Key()), value)
	}
}

// list fills a slice. An item with a mistake keeps its place, so that the indexes of nodes and items agree.
func (d *decoder) list(n *node, v reflect.Value) {
	if !d.is(n, sequence, v) {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		d.value(item, v.Index(i))
	}
}

// str fills a string or an enum.
func (d *decoder) str(n *node, v reflect.Value) {
	if n.kind == literal {
		d.errorf(n, "expected %s, got a number or truth value: quote it", describe(v.Type()))
		return
	}
	if !d.is(n, scalar, v) {
		return
	}
	if e, ok := v.Interface().(enum); ok && !slices.Contains(e.values(), n.text) {
		d.errorf(n, "unknown value %q, %s", n.text, suggest(n.text, e.values()))
		return
	}
	if i := strings.IndexFunc(n.text, unicode.IsControl); i >= 0 {
		d.errorf(n, "a control character in a string")
		return
	}
	v.SetString(n.text)
}

// unquoted reports whether n may be a number or a truth value: a scalar that is not in quotes, or that holds a variable.
func (d *decoder) unquoted(n *node, v reflect.Value) bool {
	switch {
	case n.kind != literal && n.kind != scalar:
		d.errorf(n, "expected %s, got %s", describe(v.Type()), got(n))
	case n.quoted && !n.expanded:
		d.errorf(n, "expected %s, got the string %q: remove the quotes", describe(v.Type()), n.text)
	default:
		return true
	}
	return false
}

func (d *decoder) integer(n *node, v reflect.Value) {
	if !d.unquoted(n, v) {
		return
	}
	i, err := strconv.ParseInt(n.text, 10, v.Type().Bits())
	if err != nil {
		d.errorf(n, "expected %s, got %s", describe(v.Type()), got(n))
		return
	}
	v.SetInt(i)
}

func (d *decoder) boolean(n *node, v reflect.Value) {
	switch {
	case !d.unquoted(n, v):
	case n.text == "true", n.text == "false":
		v.SetBool(n.text == "true")
	default:
		d.errorf(n, "expected %s, got %s", describe(v.Type()), got(n))
	}
}

// parsed fills a value that has a notation of its own.
func (d *decoder) parsed(n *node, v reflect.Value, parse func(string) (any, error)) {
	if n.kind != scalar && n.kind != literal {
		d.errorf(n, "expected %s, got %s", describe(v.Type()), got(n))
		return
	}
	value, err := parse(n.text)
	if err != nil {
		d.errorf(n, "%s%v", shown(n, v.Type()), err)
		return
	}
	v.Set(reflect.ValueOf(value))
}

// scalarParser returns how a type with a notation of its own is read, or nil.
func scalarParser(t reflect.Type) func(string) (any, error) {
	switch t {
	case reflect.TypeFor[Duration]():
		return func(s string) (any, error) { return parseDuration(s) }
	case reflect.TypeFor[Size]():
		return func(s string) (any, error) { return parseSize(s) }
	case reflect.TypeFor[Percent]():
		return func(s string) (any, error) { return parsePercent(s) }
	case reflect.TypeFor[*url.URL]():
		return func(s string) (any, error) { return parseTarget(s) }
	case reflect.TypeFor[*Redis]():
		return func(s string) (any, error) { return parseRedis(s) }
	case reflect.TypeFor[netip.Prefix]():
		return func(s string) (any, error) { return parseNetwork(s) }
	case reflect.TypeFor[Hash]():
		return func(s string) (any, error) { return parseHash(s) }
	case reflect.TypeFor[rate.Rate]():
		return func(s string) (any, error) { return rate.Parse(s) }
	case reflect.TypeFor[Ageing]():
		return func(s string) (any, error) { return parseAgeing(s) }
	case reflect.TypeFor[Who]():
		return func(s string) (any, error) { return parseWho(s) }
	}
	return nil
}

// describe says what a type expects, for messages.
func describe(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Duration]():
		return "a duration, as in 30s"
	case reflect.TypeFor[Size]():
		return "a size, as in 64KiB"
	case reflect.TypeFor[Percent]():
		return "a percentage, as in 10%"
	case reflect.TypeFor[*url.URL]():
		return "a URL, as in http://127.0.0.1:9090"
	case reflect.TypeFor[*Redis]():
		return "a URL, as in redis://127.0.0.1:6379/0"
	case reflect.TypeFor[netip.Prefix]():
		return "a network, as in 10.0.0.0/8"
	case reflect.TypeFor[Hash]():
		return "a SHA-256 hash of 64 hexadecimal digits"
	case reflect.TypeFor[rate.Rate]():
		return "a rate, as in 100/s"
	case reflect.TypeFor[Ageing]():
		return "a rate, as in 1/s, or 0"
	case reflect.TypeFor[Who]():
		return "the name of a client or a network, as in 10.0.0.0/8"
	case reflect.TypeFor[Cost]():
		return "a whole number or {header: NAME}"
	}
	if e, ok := reflect.Zero(t).Interface().(enum); ok {
		return "one of " + strings.Join(e.values(), ", ")
	}
	switch t.Kind() {
	case reflect.Pointer:
		return describe(t.Elem())
	case reflect.Struct, reflect.Map:
		return mapping.String()
	case reflect.Slice:
		return sequence.String()
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	}
	return scalar.String()
}

// got says what a node is, for messages. What came from a variable may be a secret in the wrong place.
func got(n *node) string {
	if (n.kind == scalar || n.kind == literal) && !n.expanded {
		return fmt.Sprintf("%q", n.text)
	}
	if n.unspaced {
		return "a mapping: quote a value that contains a colon"
	}
	return n.kind.String()
}

// shown starts a message with the value that it is about, without what may be secret: the user and password of a URL, and
// what stands in the place of a hash, which may be the key itself, or of the URL of Redis, which may be a password.
func shown(n *node, t reflect.Type) string {
	if t == reflect.TypeFor[Hash]() || t == reflect.TypeFor[*Redis]() {
		return ""
	}
	text := n.text
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		text = "..." + text[at:]
	}
	return fmt.Sprintf("%q: ", text)
}
