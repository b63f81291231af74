package cache

import (
	"encoding/binary"
	"hash/maphash"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// Reason says why a request goes straight to the upstream.
type Reason uint8

// The reasons. NoReason is that of a request that does not.
const (
	NoReason     Reason = iota
	Method              // neither GET nor HEAD
	Upgrade             // another protocol
	Body                // a GET with a body means whatever its origin wants it to
	NoStore             // the request says so
	Precondition        // If-Match and the like, which only the origin may judge
	TooLarge            // a key too large to be remembered
)

// String names the reason in logs and metrics.
func (r Reason) String() string {
	return [...]string{"", "method", "upgrade", "body", "no-store", "precondition", "too large"}[r]
}

// Plan is what a request allows before any upstream is asked. It is filled by [Cache.Plan]; its zero value is ready for
// that, and used again it does not allocate. It does not refer to the request. Not safe for concurrent use while it is
// filled.
type Plan struct {
	// Pass says why the request goes straight to the upstream, past the store and past other requests. All below
	// means nothing then.
	Pass Reason
	// Park lets the request wait for others like it and share their answer, if that turns out to be shareable. A
	// request with Range, a condition, Authorization or Cookie does not, nor one whose key is known to be unshareable.
	Park bool
	// Validated asks for an answer that the origin has confirmed for this request: no-cache or max-age=0. If it parks,
	// it must only be answered by a call that began after it came.
	Validated bool
	// OnlyIfCached asks for 504 where the store has no answer.
	OnlyIfCached bool
	// Store lets the answer be kept, if the answer does too.
	Store bool
	// Known says that an answer of this key was not shareable lately.
	Known bool

	head       bool // HEAD
	authorized bool // Authorization, which share_by does not name
	identified bool // Cookie or another credential, which share_by does not name
	part       bool // Range
	condition  bool // If-None-Match or If-Modified-Since
	ifRange    bool
	maxAge     time.Duration
	minFresh   time.Duration
	maxStale   time.Duration
	sie        time.Duration

	buf        []byte // the key, and the generation behind it
	base       int    // length of the part of the key that names the resource
	prefix     int    // length of the part that does not depend on Vary
	key        int    // length of the key
	hash       uint64 // of the key
	baseHash   uint64 // of the resource's part
	secondary  bool   // the key has more than the resource's part
	varies     *varies
	generation uint64
	token      string // of the resource in the second level
	tokenRead  bool
}

// Key names the answers that the request may get: two requests with one key have one identity. It is valid until the
// plan is used again.
func (p *Plan) Key() []byte { return p.buf[:p.key] }

// SlotKey is Key, and the resource's generation: a request that comes after a write to the resource has another one than
// those before, so it does not share an answer that may be older than the write. It is valid until the plan is used
// again.
func (p *Plan) SlotKey() []byte { return p.buf }

// Hash is a hash of the key, the same for the life of the process.
func (p *Plan) Hash() uint64 { return p.hash }

// Clone returns a copy of the plan that may be kept.
func (p *Plan) Clone() *Plan {
	c := *p
	c.buf = append([]byte(nil), p.buf...)
	return &c
}

// Whole turns the plan into that of a GET for the same, whole and without conditions.
func (p *Plan) Whole() {
	p.head, p.part, p.condition, p.ifRange = false, false, false, false
	p.Store = true
}

// AsksAfter reports whether a field of a request says what the client has already, wants a part of, or wants from a cache: a
// request for the whole, on behalf of the next clients, goes without it.
func AsksAfter(f *http1.Field) bool {
	switch fieldOf(f) {
	case rangeField, ifRange, ifNoneMatch, ifModifiedSince, cacheControl, pragma:
		return true
	}
	return false
}

// Plan reads what req allows. trusted says that the request comes from a proxy whose X-Forwarded-Proto and -Host are
// believed, and so passed on.
func (c *Cache) Plan(p *Plan, req *http1.Request, trusted bool, now time.Time) {
	*p = Plan{buf: p.buf[:0]}
	if p.Pass = p.read(req, c.route); p.Pass != NoReason {
		return
	}
	c.writeKey(p, req, trusted)
	if p.key > maxKey {
		p.Pass = TooLarge
		return
	}
	p.Known = c.apart.known(p.hash, now)
	p.Park = !p.head && !p.part && !p.condition && !p.authorized && !p.identified && !p.Known
	p.Store = !p.head && !p.part && !p.condition
}

// maxKey bounds a key in bytes, so that a client cannot fill the memory with keys.
const maxKey = 32 << 10

// read gathers what the request's head says.
func (p *Plan) read(req *http1.Request, route *Route) Reason {
	p.head = req.IsMethod("HEAD")
	switch {
	case !p.head && !req.IsMethod("GET"):
		return Method
	case req.Upgrades():
		return Upgrade
	case req.Length != 0:
		return Body
	}
	var d directives
	d.reset()
	reason, old := NoReason, false
	for i := range req.Fields {
		f := &req.Fields[i]
		switch kind := fieldOf(f); kind {
		case authorization, cookie, plain:
			p.credential(f, kind, route)
		case cacheControl:
			d.add(f.Value)
		case pragma:
			old = old || hasElement(f.Value, "no-cache")
		case rangeField, ifRange, ifNoneMatch, ifModifiedSince:
			p.note(kind)
		case ifMatch:
			reason = Precondition
		}
	}
	if d.noStore {
		return NoStore
	}
	p.wishes(&d, old)
	return reason
}

// note takes down a field of a conditional or partial request.
func (p *Plan) note(kind field) {
	switch kind {
	case rangeField:
		p.part = true
	case ifRange:
		p.part, p.ifRange = true, true
	default:
		p.condition = true
	}
}

// credential takes down who asks, unless share_by has it in the key, or share_across says that it doesn't matter.
func (p *Plan) credential(f *http1.Field, kind field, route *Route) {
	if kind == plain && !named(route.Credentials, f.Name) || named(route.ShareBy, f.Name) || named(route.ShareAcross, f.Name) {
		return
	}
	if kind == authorization {
		p.authorized = true
	} else {
		p.identified = true
	}
}

func named(names []string, name []byte) bool {
	for _, n := range names {
		if http1.EqualFold(name, n) {
			return true
		}
	}
	return false
}

// wishes takes over the directives of the request, RFC 9111 section 5.2.1. Pragma: no-cache is what clients of HTTP/1.0
// say; it is heard also beside Cache-Control, which is the stricter reading of section 5.4.
func (p *Plan) wishes(d *directives, old bool) {
	p.maxAge, p.minFresh, p.maxStale, p.sie = d.maxAge, d.minFresh, d.maxStale, d.staleIfError
	p.Validated = d.noCache || len(d.hidden) > 0 || old || d.maxAge == 0
	p.OnlyIfCached = d.onlyIfCached
}

// writeKey writes the request's key: its resource (scheme, host, method, path and query), then what else it may depend on:
// the fields of share_by, the steering fields, and those that the resource's answers are known to vary by. Every part is
// preceded by its length, so that no two requests that differ in a part have one key.
func (c *Cache) writeKey(p *Plan, req *http1.Request, trusted bool) {
	b := appendResource(p.buf[:0], req.Host, req.Target)
	p.base = len(b)
	p.baseHash = maphash.Bytes(c.seed, b)
	for _, name := range c.route.ShareBy {
		b = appendValues(b, &req.Head, name)
	}
	b, steered := appendSteering(b, &req.Head, trusted)
	p.prefix = len(b)
	p.varies = c.varies.known(p.baseHash, b[:p.base])
	b = p.varies.append(b, &req.Head)
	p.secondary = steered || len(c.route.ShareBy) > 0 || p.varies != nil
	p.key, p.hash = len(b), p.baseHash // a write knows the resource's hash, and so finds what depends on nothing else
	if p.secondary {
		p.hash = maphash.Bytes(c.seed, b)
	}
	p.generation = c.fence.generation(p.baseHash)
	p.buf = appendGeneration(b, p.generation)
}

func appendGeneration(dst []byte, n uint64) []byte { return binary.LittleEndian.AppendUint64(dst, n) }
