package gcra

import (
	"hash/maphash"
	"math/bits"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// shardsFor returns the number of shards, a power of two: enough of them that new clients seldom wait for each other, and that growing one, when
// new clients of that shard wait, takes a millisecond or two at most; but few and large, because arrays above 32 KiB begin at a cache line
// and smaller ones don't, which makes up to 10 % of Allow over 65,536 keys (bench/limiters, BenchmarkRatio).
func shardsFor(maxKeys int) int {
	return 1 << bits.Len(uint(max(min(maxKeys/4096, 16), min(maxKeys/65_536, 512))))
}

// A table holds the cells of all clients: shards by hash, each with an index that is read without locks, and a queue that says which entry
// to forget. Lock order: never two shards at once.
type table[K comparable] struct {
	seed      maphash.Seed
	strings   bool // K is a kind of string
	cloneKeys bool // keep copies of keys, which are strings
	shift     uint8
	shards    []shard[K]
	lowest    []atomic.Int64 // for each shard queue.lowest, so that eviction finds the shard to look at without locks
	maxKeys   int64

	_    [64]byte     // what follows is written with every new key; above is read with every request
	keys atomic.Int64 // entries in the table and places promised to entries on their way in

	// forgotten is the highest TAT of all clients forgotten while idle. New clients start there. Without it, going back in time would grant
	// something: a client spends its burst at 100, is idle at 200 and forgotten; a request with now=100 would find it unknown, and whole.
	forgotten atomic.Int64

	added, expired, evicted atomic.Uint64
	lostDebt                atomic.Int64
	cursor                  atomic.Uint32 // the shard where the next Sweep starts
}

type shard[K comparable] struct {
	index atomic.Pointer[index[K]]

	mu    sync.Mutex // guards changes of index, and what follows
	queue queue[K]

	_ [128 - 8 - 8 - 24]byte // a shard of its own pair of cache lines
}

func newTable[K comparable](maxKeys int) *table[K] {
	n := shardsFor(maxKeys)
	t := &table[K]{
		seed:    maphash.MakeSeed(),
		strings: reflect.TypeFor[K]().Kind() == reflect.String,
		shift:   uint8(64 - bits.TrailingZeros(uint(n))),
		shards:  make([]shard[K], n),
		lowest:  make([]atomic.Int64, n),
		maxKeys: int64(maxKeys),
	}
	for i := range t.shards {
		t.shards[i].index.Store(newIndex[K](1))
		t.lowest[i].Store(t.shards[i].queue.lowest())
	}
	return t
}

// hash is maphash.Comparable, and its faster special case where there is one.
func (t *table[K]) hash(key K) uint64 {
	if t.strings {
		return maphash.String(t.seed, *(*string)(unsafe.Pointer(&key)))
	}
	return maphash.Comparable(t.seed, key)
}

// owned returns the key as it may be kept.
func (t *table[K]) owned(key K) K {
	if t.cloneKeys {
		text := strings.Clone(*(*string)(unsafe.Pointer(&key)))
		return *(*K)(unsafe.Pointer(&text))
	}
	return key
}

func (t *table[K]) shardOf(hash uint64) int { return int(hash >> t.shift) }

func (t *table[K]) indexOf(hash uint64) *index[K] { return t.shards[t.shardOf(hash)].index.Load() }

// decide finds the client and applies a to it. A client that is not there is added if it spends something.
func (t *table[K]) decide(a action, l *Limit, key K, now, n int64) verdict {
	hash := t.hash(key)
	for {
		// A dead entry was evicted and is about to leave the index, if it hasn't yet. Deciding on it would lose the decision:
		//
		//	A: finds the entry          B: evicts it       C: doesn't find the key, adds it, spends the burst
		//	A: spends the burst again, on an entry that nobody else will ever see
		//
		// That is why the evictor swaps dead into the TAT: A's own swap fails then, and A goes on as if it hadn't found the key.
		if e := t.indexOf(hash).find(hash, key); e != nil {
			if v, ok := e.decide(a, l, now, n); ok {
				return v
			}
		}
		if v, ok := t.decideNew(a, l, hash, key, now, n); ok {
			return v
		}
	}
}

// decideNew decides for a client that is not known. ok is false if it is known by now, or there was no place for it.
func (t *table[K]) decideNew(a action, l *Limit, hash uint64, key K, now, n int64) (v verdict, ok bool) {
	since := time.Duration(t.forgotten.Load())
	fresh := State{Start: since, TAT: since}
	s, v := l.decide(a, fresh, now, n)
	if s == fresh {
		return v, true // nothing spent: nothing to remember
	}
	return v, t.reserve(hash, key, now) && t.insert(hash, key, s)
}

// insert adds the client with state s into the place that was reserved, or gives that back and returns false if it is there already.
func (t *table[K]) insert(hash uint64, key K, s State) bool {
	i := t.shardOf(hash)
	sh := &t.shards[i]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.index.Load().find(hash, key) != nil {
		t.keys.Add(-1)
		return false
	}
	if sh.index.Load().full() {
		t.rebuildLocked(sh)
	}
	e := &entry[K]{key: t.owned(key)}
	e.start.Store(int64(s.Start))
	e.tat.Store(int64(s.TAT))
	sh.index.Load().add(hash, e)
	sh.queue.push(int64(s.TAT), e)
	// Every new key pays for bringing two old ones up to date, so that the evictor rarely finds many that are not.
	for n := 0; n < 2 && !sh.queue.settle(); n++ {
	}
	t.lowest[i].Store(sh.queue.lowest())
	t.added.Add(1)
	return true
}

// rebuildLocked gives the shard a new index that fits its entries, larger or smaller. Readers go on with the old one meanwhile.
func (t *table[K]) rebuildLocked(sh *shard[K]) {
	x := newIndex[K](groupsFor(len(sh.queue)))
	for _, q := range sh.queue {
		x.add(t.hash(q.entry.key), q.entry)
	}
	sh.index.Store(x)
}
