package cache

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// Cache is what is known about the answers of one route: what they vary by, which are not shareable, and, with a store,
// the answers themselves. Safe for concurrent use.
type Cache struct {
	route  *Route
	seed   maphash.Seed
	fence  fence
	apart  apart
	varies varying
	store  *store // nil without
	drop   func(name []byte) bool
	shared *Shared // nil without
	name   string

	maxBytes   int64
	collecting atomic.Int64 // bytes of bodies on their way into the store
}

// Options of a [Cache]. The zero value has no store.
type Options struct {
	// MaxBytes bounds what the stored answers take in memory, and as much again may be on its way into the store. 0: none are stored.
	MaxBytes int64
	// MaxObject bounds what one of them takes. 0: an eighth of MaxBytes.
	MaxObject int64
	// Drop reports fields of responses that are not kept because they speak of one request, beside those of one hop.
	Drop func(name []byte) bool
	// Shared is the second level. nil: there is none. It is not closed with the cache.
	Shared *Shared
	// Name tells this route's answers from those of others in the second level, the same on every node. A route by other rules of
	// who may share has others, whatever its name.
	Name string
}

// New returns the cache of a route. It has a goroutine if it has a store: Close ends it.
func New(route Route, o Options) *Cache {
	c := &Cache{route: route.Normal(), seed: maphash.MakeSeed(), varies: newVarying(), drop: o.Drop, shared: o.Shared, maxBytes: o.MaxBytes}
	c.name = c.route.name(o.Name)
	if o.MaxObject == 0 {
		o.MaxObject = o.MaxBytes / 8
	}
	if o.MaxBytes > 0 {
		c.store = newStore(o.MaxBytes, o.MaxObject)
	}
	return c
}

// Close ends the store's goroutine and waits for it. The cache must not be used any more.
func (c *Cache) Close() {
	if c.store != nil {
		c.store.close()
	}
}

// Lookup finds what is stored for a request and says what it is worth. The entry is nil exactly if nothing is.
func (c *Cache) Lookup(p *Plan, now time.Time) (*Entry, State) {
	if c.store == nil || p.Pass != NoReason {
		return nil, Miss
	}
	e := c.store.get(p.hash, p.Key())
	if e == nil || e.secondary && e.generation != p.generation {
		return nil, Miss
	}
	state := e.Evaluate(p, now)
	if state == Miss {
		return nil, Miss
	}
	return e, state
}

// Current reports whether nothing was written to the plan's resource since the request was planned. The answer of a call
// must not be shared with those who came after a write; [Plan.SlotKey] sees to that where it is the key of the call.
func (c *Cache) Current(p *Plan) bool {
	return p.Pass == NoReason && c.fence.generation(p.baseHash) == p.generation
}

// MaxBody is the longest body, in bytes, that can be stored, -1 without a store. A longer one need not be collected.
func (c *Cache) MaxBody() int64 {
	if c.store == nil {
		return -1
	}
	return c.store.maxObject - overhead
}

// Collect counts n more bytes of a body that is collected to be stored; [Cache.Collected] uncounts them. It reports false, and counts
// nothing, if bodies under way took more than MaxBytes with them: then the body is not to be collected.
func (c *Cache) Collect(n int64) bool {
	if c.collecting.Add(n) > c.maxBytes {
		c.collecting.Add(-n)
		return false
	}
	return true
}

// Collected gives n bytes back that were counted.
func (c *Cache) Collected(n int64) { c.collecting.Add(-n) }

// Learn takes down what a response says about the next ones of its key: what they vary by, and whether they are
// shareable; and it drops what is stored of the key if the response takes its place without being stored. p is the plan that the verdict is about.
func (c *Cache) Learn(p *Plan, v *Verdict, now time.Time) {
	if p.Pass != NoReason {
		return
	}
	if v.replaces && !v.Store && c.store != nil {
		c.store.drop(p.hash)
	}
	if v.Unshareable {
		c.apart.remember(p.hash, now)
		return
	}
	if p.Known && v.Share {
		c.apart.forget(p.hash)
	}
	if v.plan != nil && v.plan.varies != p.varies {
		c.varies.learn(v.plan.baseHash, v.plan.varies)
	}
}

// Put stores an entry for the request that it answers, and reports whether it did: not if something was written to its
// resource after the request was planned, nor if it is too large. The second level gets it in the background.
func (c *Cache) Put(v *Verdict, e *Entry) bool {
	if e == nil || c.store == nil || !c.store.fits(e) {
		return false
	}
	stored := c.fence.unless(v.plan.baseHash, e.generation, func() { c.store.put(v.plan.hash, e) })
	if stored {
		c.share(v.plan, e)
	}
	return stored
}

// Stats are a cache's counts at one moment.
type Stats struct {
	Entries int   // stored answers
	Bytes   int64 // that they take
}

// Stats returns what is stored.
func (c *Cache) Stats() Stats {
	if c.store == nil {
		return Stats{}
	}
	c.store.cache.CleanUp()
	return Stats{Entries: c.store.cache.EstimatedSize(), Bytes: int64(c.store.cache.WeightedSize())}
}

// replan gives a plan the key that its request has if the resource's answers vary by v.
func (c *Cache) replan(p *Plan, v *varies, req *http1.Request) {
	prefix := p.prefix
	b := v.append(p.buf[:prefix:prefix], &req.Head)
	p.varies, p.secondary = v, true
	p.key, p.hash = len(b), maphash.Bytes(c.seed, b)
	p.buf = appendGeneration(b, p.generation)
}
