package cache

import (
	"bytes"
	"math"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// absent is the value of a directive that is not there.
const absent time.Duration = -1

// forever is how a number that is too large is read: RFC 9111 section 1.2.2.
const forever = math.MaxInt32 * time.Second

// directives is what the Cache-Control fields of a message say, RFC 9111 section 5.2 and RFC 5861. Of two readings the
// restrictive one is taken: the smaller of two ages, nothing for a number that is none. The same type serves requests
// and responses; each has directives that mean nothing in the other.
type directives struct {
	present         bool // there was a Cache-Control field, whatever it said
	noStore         bool
	noCache         bool // without field names, or with names that are malformed
	private         bool // with or without field names: the whole response is taken as private
	public          bool
	mustRevalidate  bool
	proxyRevalidate bool // to a shared cache the same as must-revalidate, but for requests with Authorization
	revalidates     bool // must-revalidate without any doubt, which is what permits something: RFC 9111 section 3.5
	onlyIfCached    bool
	hidden          [][]byte // the names in no-cache="name, ...": RFC 9111 section 5.2.2.4

	maxAge               time.Duration // absent, or 0 and more; so are all below
	sMaxAge              time.Duration
	minFresh             time.Duration
	maxStale             time.Duration
	staleWhileRevalidate time.Duration
	staleIfError         time.Duration
}

func (d *directives) reset() {
	*d = directives{
		hidden: d.hidden[:0], maxAge: absent, sMaxAge: absent, minFresh: absent, maxStale: absent,
		staleWhileRevalidate: absent, staleIfError: absent,
	}
}

// add reads the value of one Cache-Control field.
func (d *directives) add(value []byte) {
	d.present = true
	d.restrict(value)
	for rest := value; len(rest) > 0; {
		var element []byte
		var closed bool
		element, rest, closed = nextDirective(rest)
		if !closed { // a quote without its end: what follows may be quoted or not, so it permits nothing
			d.void(element)
			return
		}
		name, argument, form := splitDirective(element)
		d.permit(name, argument, form)
	}
}

// restrict looks for the directives that forbid. They count wherever they stand between commas, even within what may
// be meant as a quoted string: a sender that quotes badly must not lose them.
func (d *directives) restrict(value []byte) {
	for rest := value; len(rest) > 0; {
		var part []byte
		part, rest, _ = bytes.Cut(rest, comma)
		name, argument, _ := bytes.Cut(part, equals)
		d.forbid(name)
		if argument = trim(argument); len(argument) > 0 && argument[0] == '"' {
			d.forbid(argument)
		}
	}
}

// forbid takes one word, with what a bad separator or bad quotes leave around it.
func (d *directives) forbid(name []byte) {
	name = bytes.Trim(name, " \t\"\\;")
	if i := bytes.IndexAny(name, "; \t"); i >= 0 {
		name = name[:i]
	}
	switch {
	case http1.EqualFold(name, "no-store"):
		d.noStore = true
	case http1.EqualFold(name, "private"):
		d.private = true
	case http1.EqualFold(name, "must-revalidate"):
		d.mustRevalidate = true
	case http1.EqualFold(name, "proxy-revalidate"):
		d.proxyRevalidate = true
	case http1.EqualFold(name, "only-if-cached"):
		d.onlyIfCached = true
	}
}

var comma, equals = []byte{','}, []byte{'='}

// nextDirective cuts the first element off a list in which quoted strings may hold commas. closed is false if a quoted
// string does not end.
func nextDirective(list []byte) (element, rest []byte, closed bool) {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return trim(list[:i]), list[i+1:], true
		}
	}
	return trim(list), nil, !quoted
}

func trim(b []byte) []byte { return bytes.Trim(b, " \t") }

// form is how a directive's argument was written.
type form uint8

const (
	bare      form = iota // no argument
	token                 // name=argument or name="argument"
	malformed             // white space around the sign, or a quoted string that is none
)

// splitDirective splits name=argument and takes the quotes off.
func splitDirective(element []byte) (name, argument []byte, f form) {
	name, argument, found := bytes.Cut(element, equals)
	if !found {
		return name, nil, bare
	}
	f = token
	if len(trim(name)) != len(name) || len(trim(argument)) != len(argument) {
		f = malformed
	}
	name, argument = trim(name), trim(argument)
	if len(argument) > 0 && argument[0] == '"' {
		inner := argument[1 : len(argument)-min(1, len(argument)-1)]
		if len(argument) < 2 || argument[len(argument)-1] != '"' || bytes.ContainsAny(inner, "\"\\") {
			return name, bytes.Trim(argument, "\""), malformed
		}
		argument = inner
	}
	return name, argument, f
}

// permit reads the directives that permit something, or say for how long.
func (d *directives) permit(name, argument []byte, f form) {
	switch {
	case http1.EqualFold(name, "no-cache"):
		d.addNoCache(argument, f)
	case http1.EqualFold(name, "public"):
		d.public = d.public || f == bare
	case http1.EqualFold(name, "must-revalidate"):
		d.revalidates = d.revalidates || f == bare
	case http1.EqualFold(name, "max-age"):
		d.maxAge = shorter(d.maxAge, seconds(argument, f))
	case http1.EqualFold(name, "s-maxage"):
		d.sMaxAge = shorter(d.sMaxAge, seconds(argument, f))
	case http1.EqualFold(name, "stale-while-revalidate"):
		d.staleWhileRevalidate = shorter(d.staleWhileRevalidate, seconds(argument, f))
	case http1.EqualFold(name, "stale-if-error"):
		d.staleIfError = shorter(d.staleIfError, seconds(argument, f))
	case http1.EqualFold(name, "max-stale"):
		if f == bare { // any staleness
			argument, f = []byte("2147483647"), token
		}
		d.maxStale = shorter(d.maxStale, seconds(argument, f))
	case http1.EqualFold(name, "min-fresh"):
		if n, ok := parseSeconds(argument); ok && f == token {
			d.minFresh = max(d.minFresh, n)
		} else {
			d.minFresh = forever
		}
	}
}

// addNoCache reads no-cache, with names only if every one of them is a field name.
func (d *directives) addNoCache(argument []byte, f form) {
	if f != token || len(argument) == 0 {
		d.noCache = true
		return
	}
	for rest := argument; len(rest) > 0; {
		var name []byte
		name, rest, _ = bytes.Cut(rest, comma)
		name = trim(name)
		if !isName(name) {
			d.noCache = true
			return
		}
		d.hidden = append(d.hidden, name)
	}
}

// void reads an element in which a quoted string does not end, and all that it may hide, as restrictively as can be.
func (d *directives) void(element []byte) {
	for rest := element; len(rest) > 0; {
		var part []byte
		part, rest, _ = bytes.Cut(rest, comma)
		name, _, _ := bytes.Cut(part, equals)
		name = bytes.Trim(name, " \t\"")
		if http1.EqualFold(name, "no-cache") {
			d.noCache = true
		}
		d.permit(name, nil, malformed)
	}
	d.public, d.revalidates = false, false
}

// seconds reads a number of seconds, 0 for what is no number: RFC 9111 section 4.2.1 takes it for stale.
func seconds(argument []byte, f form) time.Duration {
	n, ok := parseSeconds(argument)
	if !ok || f != token {
		return 0
	}
	return n
}

// parseSeconds reads delta-seconds, RFC 9111 section 1.2.2: digits, and a number too large is the largest.
func parseSeconds(b []byte) (time.Duration, bool) {
	if len(b) == 0 {
		return 0, false
	}
	n := time.Duration(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+time.Duration(c-'0'), math.MaxInt32)
	}
	return n * time.Second, true
}

// shorter is the smaller of what two directives of one name say, either of which may be absent.
func shorter(a, b time.Duration) time.Duration {
	if a == absent {
		return b
	}
	return min(a, b)
}

// isName reports whether b can be a field name: a token, RFC 9110 section 5.6.2.
func isName(b []byte) bool {
	for _, c := range b {
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alnum && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) < 0 {
			return false
		}
	}
	return len(b) > 0
}
