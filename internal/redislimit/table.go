package redislimit

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sluicegate/sluice/internal/lease"
)

const shards = 64

// A table finds accounts. It is sharded, and known accounts are found under a read lock.
type table struct {
	seed   maphash.Seed
	most   int // accounts per shard
	ids    atomic.Uint64
	size   atomic.Int64
	shards [shards]shard
}

type shard struct {
	mu       sync.RWMutex
	accounts map[name]*account // guarded by mu
	_        [64]byte          // shards on cache lines of their own
}

type name struct{ rule, key string }

func (t *table) init(maxKeys int) {
	if maxKeys == 0 {
		maxKeys = 1 << 20
	}
	t.seed, t.most = maphash.MakeSeed(), maxKeys/shards
	for i := range t.shards {
		t.shards[i].accounts = map[name]*account{}
	}
}

// find returns the account of a request, or nil if there is no room for a new one.
func (t *table) find(link *Link, r *Request) *account {
	n := name{r.Rule, r.Key}
	s := &t.shards[maphash.Comparable(t.seed, n)%shards]
	s.mu.RLock()
	a := s.accounts[n]
	s.mu.RUnlock()
	if a != nil {
		return a
	}
	fresh := &account{id: t.ids.Add(1), key: link.key(r)}
	n.key = strings.Clone(n.key) // the caller's may be a view of a buffer
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[n]; a != nil {
		return a
	}
	if len(s.accounts) >= t.most {
		return nil
	}
	s.accounts[n] = fresh
	t.size.Add(1)
	return fresh
}

// sweep looks at some accounts of one shard, others each time, and forgets those that may be. It holds the shard for some 20 µs.
func (t *table) sweep(i int, may func(*account) bool) {
	s := &t.shards[i%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	looked := 0
	for n, a := range s.accounts { // in another order each time
		if may(a) {
			delete(s.accounts, n)
			t.size.Add(-1)
		}
		if looked++; looked == 256 {
			return
		}
	}
}

func (t *table) each(do func(*account)) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		for _, a := range s.accounts {
			do(a)
		}
		s.mu.RUnlock()
	}
}

type leaseTotals struct {
	allowed, refused, failed, crowded         atomic.Uint64
	leased, spent, returned, expired, unknown atomic.Int64
}

// add moves an account's counters into the totals.
func (t *leaseTotals) add(c *lease.Counters) {
	t.leased.Add(c.Leased)
	t.spent.Add(c.Spent)
	t.returned.Add(c.Returned)
	t.expired.Add(c.Expired)
	t.unknown.Add(c.Unknown)
	*c = lease.Counters{}
}

// LeaseStats says what a Lease has done. Tokens are counted when an account next hears from Redis.
type LeaseStats struct {
	Allowed, Refused, Failed uint64 // requests; Failed ones got no decision
	Leased                   int64  // tokens taken from Redis
	Spent                    int64  // of those: by requests
	Returned                 int64  // given back
	Expired                  int64  // not spent and not given back in time: together with Unknown the under-admission
	Unknown                  int64  // at most so many were taken in calls without an answer, and are lost
	Keys                     int    // remembered
	Crowded                  uint64 // requests decided in Redis, because there was no room to remember their keys; not in Allowed and Refused
}

// Stats returns the counters.
func (l *Lease) Stats() LeaseStats {
	t := &l.totals
	return LeaseStats{
		Allowed: t.allowed.Load(), Refused: t.refused.Load(), Failed: t.failed.Load(),
		Leased: t.leased.Load(), Spent: t.spent.Load(), Returned: t.returned.Load(), Expired: t.expired.Load(), Unknown: t.unknown.Load(),
		Keys: int(l.accounts.size.Load()), Crowded: t.crowded.Load(),
	}
}
