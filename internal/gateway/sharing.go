package gateway

import (
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/internal/cache"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/spool"
	"github.com/sluicegate/sluice/internal/upstream"
)

// sharing is how the answers of a route are shared: kept for a while, or had by one call for all who ask meanwhile. It lives as long as
// its route stays as it is, over changes of the rest of the configuration.
type sharing struct {
	cfg    *config.Route
	key    []byte // begins the keys of its calls, so that those of two routes never meet
	cache  *cache.Cache
	group  *answers
	waits  coalesce.Options[*ask, *answer]
	strict coalesce.Options[*ask, *answer] // for requests that ask for an answer of their own time
	pool   *backend
	spool  spool.Options
}

// answers are the calls under way, of all routes, and those who wait for them.
type answers = coalesce.Group[*ask, *answer]

// ask is a request that waits for an answer: what is needed to make the call for it, and for all who wait with it. It shares nothing with the
// request's connection, since the client may leave while the call goes on.
type ask struct {
	head  *http1.Request
	hop   upstream.Hop
	plan  *cache.Plan
	stale *cache.Entry // what the upstream may confirm; nil if nothing is stored
	price int64        // what it bids for a slot of the upstream
	fresh bool         // nothing stale will do, although it may be used
}

// answer is what a call has brought. It is the same for all who wait, and they only read it.
type answer struct {
	target  string
	queued  time.Duration // of the call, for a slot
	resp    *http1.Response
	verdict cache.Verdict
	short   []byte        // the body, if it is short and its length was declared: then it is here before the answer is passed on
	body    *spool.Body   // the body otherwise, nil if it is short
	trailer []http1.Field // once the body has ended

	entry *cache.Entry // a stored answer that the upstream has confirmed, instead of all the above but target and verdict
}

var sharings atomic.Uint64 // numbers them

// newSharing returns how the answers of a route are shared in the next settings, nil if they are not.
func (g *Gateway) newSharing(r *config.Route, next *settings) *sharing {
	if r.Cache == nil && r.Coalesce == nil {
		return nil
	}
	s := &sharing{
		cfg:   r,
		key:   binary.LittleEndian.AppendUint64(nil, sharings.Add(1)),
		cache: newCache(r, &next.cfg.Identify, g.kept),
		group: g.answers,
		pool:  next.pools[r.Upstream],
		spool: spool.Options{Window: spoolWindow, Dir: g.spoolDir},
	}
	s.waits = next.agents.waiting(r.Coalesce)
	s.waits.Tag, s.waits.Fetch = r.Path, s.fetch
	s.strict = s.waits
	s.strict.Relaxed = false
	return s
}

// waiting are the options of a route that coalesces. One that only keeps answers has those who ask meanwhile wait for the call
// that brings one, too, as caches do.
func (list agents) waiting(c *config.Coalesce) coalesce.Options[*ask, *answer] {
	if c == nil {
		return coalesce.Options[*ask, *answer]{Relaxed: true}
	}
	return coalesce.Options[*ask, *answer]{
		Policy:   list.policy(termsOf(c)),
		Hold:     c.Hold,
		MaxBatch: c.MaxBatch,
		Relaxed:  c.Freshness == config.Relaxed,
	}
}

func newCache(r *config.Route, identify *config.Identify, kept *cache.Shared) *cache.Cache {
	var rules cache.Route
	var options cache.Options
	if c := r.Coalesce; c != nil {
		rules.ShareBy, rules.ShareAcross = c.ShareBy, c.ShareAcross
	}
	rules.Credentials = namingFields(identify)
	if c := r.Cache; c != nil {
		rules.MaxTTL, rules.MinTTL, rules.DefaultTTL, rules.Heuristic = c.MaxTTL, c.MinTTL, c.DefaultTTL, c.Heuristic
		options = cache.Options{MaxBytes: int64(c.MaxBytes), MaxObject: int64(c.MaxObject), Drop: ofOneRequest, Name: r.Path + " " + r.Upstream}
		if c.Shared {
			options.Shared = kept
		}
	}
	return cache.New(rules, options)
}

// namingFields are the fields by which clients say who they are.
func namingFields(c *config.Identify) (names []string) {
	for _, source := range c.Sources {
		name := source.Header
		if source.APIKey != nil {
			name = source.APIKey.Header
		}
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// same reports whether it can go on for a route of a new configuration.
func (s *sharing) same(r *config.Route, identify *config.Identify, old *config.Identify, pool *backend) bool {
	return s.pool == pool && reflect.DeepEqual(s.cfg, r) && reflect.DeepEqual(namingFields(identify), namingFields(old))
}

// slot is the key of the calls that a request may share.
func (s *sharing) slot(p *cache.Plan) string { return callKey(s.key, p.SlotKey()) }

// maxCallKey is the length from which on a hash stands for what a request asks for. Keys are remembered when their calls are over, and clients
// choose how long they are.
const maxCallKey = 256

// callKey is the key of the calls of a route, beginning with its own, for what is asked, which does not begin with a zero.
func callKey(route, asked []byte) string {
	key := append(make([]byte, 0, len(route)+maxCallKey), route...)
	if len(asked) <= maxCallKey {
		return string(append(key, asked...))
	}
	sum := sha256.Sum256(asked)
	return string(append(append(key, 0), sum[:]...))
}
