package cache

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/sluicegate/sluice/internal/http1"
)

// ErrUnavailable says that Redis gave no answer in time.
var ErrUnavailable = errors.New("cache: redis is not available")

const (
	readTimeout  = 5 * time.Millisecond   // what a request waits for Redis at most
	patience     = 100 * time.Millisecond // of a write in the background
	maxWrites    = 1024                   // that wait; a further one is dropped
	maxWaiting   = 32 << 20               // bytes of what waits
	tokenExpires = longest + time.Hour    // a token outlives all that was stored before it
)

// Shared is a second level of caches, in Redis, for all nodes: what one node has stored, another finds. It is bounded by
// Redis's own memory and policy (allkeys-lru suits it). Reads take 5 ms at most; writes happen in the background, and are
// dropped when too many wait; while Redis is away nothing is asked of it. Safe for concurrent use.
//
// # Writes
//
// Each resource has a token, a random word that [Shared.Invalidate] changes. A record carries the token that its node read
// before it asked the upstream, and counts only while the resource still has it. So a call that began before a write,
// on any node, is not found after it. Not covered: what other nodes have in their own memory, which stays until it is
// stale; a write while Redis is away; and a Redis that evicts the token, of which volatile-ttl evicts last.
type Shared struct {
	client  redis.UniversalClient
	prefix  string
	breaker breaker
	writes  chan sharedWrite
	waiting atomic.Int64 // bytes of what is in writes
	stop    context.CancelFunc
	owned   sync.WaitGroup

	hits, misses, failures, dropped, damaged atomic.Uint64
}

type sharedWrite struct {
	resource, key string // in Redis
	varies        string
	record        []byte
	keep          time.Duration
}

// SharedConfig says how to reach Redis.
type SharedConfig struct {
	// Options address a server, a cluster or sentinels, as in redis.NewUniversalClient. Timeouts and retries in it are replaced.
	Options redis.UniversalOptions
	// Prefix begins every key. Default "sluice:cache:".
	Prefix string
}

// OpenShared returns a second level and starts its goroutine; it does not wait for Redis to be there. Close ends it.
func OpenShared(c SharedConfig) *Shared {
	o := c.Options
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = patience, patience, patience
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if c.Prefix == "" {
		c.Prefix = "sluice:cache:"
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Shared{client: redis.NewUniversalClient(&o), prefix: c.Prefix, writes: make(chan sharedWrite, maxWrites), stop: stop}
	s.breaker.wake = make(chan struct{}, 1)
	s.owned.Go(func() { s.write(ctx) })
	return s
}

// Close ends the goroutine, waits for it, and closes the connections. What waits to be written is dropped.
func (s *Shared) Close() error {
	s.stop()
	s.owned.Wait()
	return s.client.Close()
}

// Available reports whether Redis answered lately.
func (s *Shared) Available() bool { return !s.breaker.open() }

// SharedStats are the counts of a second level since it was opened.
type SharedStats struct {
	Hits, Misses uint64 // of lookups that Redis answered
	Failures     uint64 // calls that it did not answer, or not in time
	Dropped      uint64 // writes that were not tried: too many waited, or Redis was away
	Damaged      uint64 // records that could not be read
}

// Stats returns the counts.
func (s *Shared) Stats() SharedStats {
	return SharedStats{s.hits.Load(), s.misses.Load(), s.failures.Load(), s.dropped.Load(), s.damaged.Load()}
}

// resourceKey begins the keys of a resource in Redis; its hash tag keeps them together in a cluster.
func (s *Shared) resourceKey(resource []byte) string {
	sum := sha256.Sum256(resource)
	return s.prefix + "{" + hex.EncodeToString(sum[:16]) + "}"
}

func entryKey(resource, route string, key []byte) string {
	h := sha256.New()
	h.Write(appendPart(nil, []byte(route)))
	h.Write(key)
	return resource + "e" + hex.EncodeToString(h.Sum(nil)[:16])
}

// sharedFound is what Redis knows about a request.
type sharedFound struct {
	token, varies string
	record        string
}

// read asks for a resource's token, what it varies by, and one record.
func (s *Shared) read(ctx context.Context, resource, key string) (f sharedFound, err error) {
	if s.breaker.open() {
		return f, ErrUnavailable
	}
	values, err := s.client.MGet(ctx, resource+"t", resource+"v", key).Result()
	s.note(err)
	if err != nil {
		return f, errors.Join(ErrUnavailable, err)
	}
	for i, to := range []*string{&f.token, &f.varies, &f.record} {
		*to, _ = values[i].(string)
	}
	return f, nil
}

func (s *Shared) note(err error) {
	s.breaker.note(err)
	if err != nil {
		s.failures.Add(1)
	}
}

// Invalidate drops what is stored about the resources of a write, for all routes and nodes. It takes 5 ms at most; on an
// error the old answers may still be found.
func (s *Shared) Invalidate(ctx context.Context, w *Write) error {
	if s.breaker.open() {
		s.dropped.Add(1)
		return ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	for _, resource := range w.resources[:w.n] {
		err := s.client.Set(ctx, s.resourceKey(resource)+"t", rand.Text(), tokenExpires).Err()
		s.note(err)
		if err != nil {
			return errors.Join(ErrUnavailable, err)
		}
	}
	return nil
}

// put queues a write, or drops it.
func (s *Shared) put(w sharedWrite) {
	size := int64(len(w.record))
	if s.breaker.open() || s.waiting.Add(size) > maxWaiting {
		s.waiting.Add(-size)
		s.dropped.Add(1)
		return
	}
	select {
	case s.writes <- w:
	default:
		s.waiting.Add(-size)
		s.dropped.Add(1)
	}
}

// write carries out the writes, and looks after the breaker.
func (s *Shared) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.breaker.wake:
			s.probe(ctx)
		case w := <-s.writes:
			s.waiting.Add(-int64(len(w.record)))
			if s.breaker.open() {
				s.dropped.Add(1)
				continue
			}
			s.store(ctx, w)
		}
	}
}

func (s *Shared) store(ctx context.Context, w sharedWrite) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		if w.varies != "" {
			p.Set(ctx, w.resource+"v", w.varies, longest)
		}
		p.Set(ctx, w.key, w.record, w.keep)
		return nil
	})
	s.note(err)
}

// LookupShared is Lookup in the second level: it asks Redis, for 5 ms at most, what is stored for a request that [Cache.Lookup]
// found nothing for, and stores it here too. It may change the plan's key, by what other nodes know about the resource. A
// request that it was not called for, or not with success, leaves its answer in this node alone.
func (c *Cache) LookupShared(ctx context.Context, p *Plan, req *http1.Request, now time.Time) (*Entry, State) {
	s := c.shared
	if s == nil || p.Pass != NoReason {
		return nil, Miss
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	resource := s.resourceKey(p.buf[:p.base])
	f, err := s.read(ctx, resource, entryKey(resource, c.name, p.Key()))
	if err == nil && c.learnShared(p, f.varies, req) {
		f, err = s.read(ctx, resource, entryKey(resource, c.name, p.Key()))
	}
	if err != nil {
		return nil, Miss
	}
	p.token, p.tokenRead = f.token, true
	e := s.open(p, &f)
	if e == nil {
		s.misses.Add(1)
		return nil, Miss
	}
	s.hits.Add(1)
	e.generation, e.secondary = p.generation, p.secondary
	if c.store != nil && c.store.fits(e) {
		c.fence.unless(p.baseHash, p.generation, func() { c.store.put(p.hash, e) })
	}
	state := e.Evaluate(p, now)
	if state == Miss {
		return nil, Miss
	}
	return e, state
}

// open reads a record, nil if it is none for this request.
func (s *Shared) open(p *Plan, f *sharedFound) *Entry {
	if f.record == "" {
		return nil
	}
	e, token, err := decode([]byte(f.record))
	if err != nil {
		s.damaged.Add(1)
		return nil
	}
	if token != f.token || string(e.key) != string(p.Key()) {
		return nil
	}
	return e
}

// learnShared takes over what other nodes know a resource to vary by, and reports whether that changed the plan's key.
func (c *Cache) learnShared(p *Plan, list string, req *http1.Request) bool {
	if list == "" {
		return false
	}
	names := strings.Split(list, ",")
	if p.varies.covers(names) || len(names) > maxVaries {
		return false
	}
	names = p.varies.with(names)
	if len(names) > maxVaries {
		return false
	}
	v := &varies{base: append([]byte(nil), p.buf[:p.base]...), names: names}
	c.varies.learn(p.baseHash, v)
	c.replan(p, v, req)
	return true
}

// share queues an entry for the other nodes.
func (c *Cache) share(p *Plan, e *Entry) {
	if c.shared == nil || !p.tokenRead {
		return
	}
	resource := c.shared.resourceKey(p.buf[:p.base])
	w := sharedWrite{resource: resource, key: entryKey(resource, c.name, e.key), record: e.encode(p.token), keep: e.keep()}
	if p.varies != nil {
		w.varies = strings.Join(p.varies.names, ",")
	}
	c.shared.put(w)
}
