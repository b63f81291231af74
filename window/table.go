package window

import (
	"container/list"
	"fmt"
	"hash/maphash"
	"iter"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// MaxKeys bounds the keys of one table.
const MaxKeys = 1 << 24

// A Table holds one window per key, at most so many keys. All methods are safe for use by many goroutines at once; keys
// that the table knows are found without a lock. [NewTable] and [RestoreTable] make tables; the zero Table is none.
//
// When the table is full, a new key takes the place of an idle one, whose count is zero, so that nothing is lost. If the
// search for one, which looks at a bounded number of keys, finds none, it takes the place of the oldest key that was added
// to only once. So a flood of new names drives out other names of the flood, and not the keys that are in use. Only when
// every key is in use does the least active of those looked at go. [Table.Dropped] counts what was dropped.
//
// A key is dropped while others add to it only if it was idle or is least active; such an add either finds the key again or
// is counted as dropped.
type Table[K comparable] struct {
	timeframe time.Duration
	precision time.Duration
	size      uint64 // buckets of each window
	phase     uint64 // of each window
	max       int
	seed      maphash.Seed
	index     []atomic.Pointer[entry[K]] // chains of entries by hash; its length is a power of two; written under mu

	mu      sync.Mutex
	known   list.List // *entry[K] that were added to twice or more, in the order of the search for idle ones; guarded by mu
	fresh   list.List // *entry[K] that were added to once, oldest first; guarded by mu
	dropped Dropped   // guarded by mu
}

// Dropped counts what a table has dropped since it was made.
type Dropped struct {
	Idle   uint64 // keys whose count was zero: nothing was lost
	Active uint64 // keys that had to make room although their count was not zero
	Count  uint64 // what the active ones counted when they were dropped
}

// An entry is one key of a table.
type entry[K comparable] struct {
	key    K
	window *Window
	chain  *atomic.Pointer[entry[K]] // where the chain begins that it is in
	next   atomic.Pointer[entry[K]]  // in the chain; a dropped entry keeps it, for those that are just passing
	known  atomic.Bool               // added to twice or more; written under the table's mu
	gone   atomic.Bool               // dropped: what is added now is not counted
	place  *list.Element             // in known or fresh; guarded by the table's mu
}

// search bounds how many known keys are looked at to find room for a new one.
const search = 16

// NewTable returns an empty table of at most maxKeys windows with this timeframe and precision. It returns an error that
// wraps [ErrConfig] if [New] would, or if maxKeys is not between 1 and [MaxKeys]. A full table takes
// maxKeys × (timeframe/precision × 8 + about 500) bytes.
func NewTable[K comparable](timeframe, precision time.Duration, maxKeys int) (*Table[K], error) {
	size, err := buckets(timeframe, precision)
	if err != nil {
		return nil, err
	}
	if maxKeys < 1 || maxKeys > MaxKeys {
		return nil, fmt.Errorf("%w: a table of %d keys: it must be from 1 to %d", ErrConfig, maxKeys, MaxKeys)
	}
	return &Table[K]{
		timeframe: timeframe,
		precision: precision,
		size:      size,
		max:       maxKeys,
		seed:      maphash.MakeSeed(),
		index:     make([]atomic.Pointer[entry[K]], 1<<bits.Len(uint(maxKeys-1))),
	}, nil
}

// Timeframe returns how far back the windows look.
func (t *Table[K]) Timeframe() time.Duration { return t.timeframe }

// Precision returns how long each bucket is.
func (t *Table[K]) Precision() time.Duration { return t.precision }

// Add counts n for key at the instant now. It allocates only for a key that the table does not know.
func (t *Table[K]) Add(key K, now Instant, n uint64) { t.AddCount(key, now, n) }

// AddCount is Add and Count in one step: n is part of the count it returns.
func (t *Table[K]) AddCount(key K, now Instant, n uint64) uint64 {
	for {
		e := t.find(key)
		if e == nil {
			return t.addNew(key, now, n)
		}
		if count, ok := t.addTo(e, now, n); ok {
			return count
		}
	}
}

// AddBytes is [Table.Add] for a key that is at hand as bytes, such as a field of a request: it copies the key only if the
// table does not know it, and does not keep the slice. It is a function because a method cannot ask for strings as keys.
func AddBytes(t *Table[string], key []byte, now Instant, n uint64) {
	for {
		e := findBytes(t, key)
		if e == nil {
			t.addNew(string(key), now, n)
			return
		}
		if _, ok := t.addTo(e, now, n); ok {
			return
		}
	}
}

// addTo adds to an entry that was found, and returns its count, or false if the entry was dropped meanwhile.
func (t *Table[K]) addTo(e *entry[K], now Instant, n uint64) (count uint64, ok bool) {
	count = e.window.AddCount(now, n)
	// An entry is marked as gone before its last count is read. So an add is either part of that count or sees the mark
	// here and is done again, perhaps both; it is never lost without being reported.
	if e.gone.Load() {
		return 0, false
	}
	if !e.known.Load() {
		t.promote(e)
	}
	return count, true
}

// Count returns the count of key in the timeframe up to now: zero if the table does not know it.
func (t *Table[K]) Count(key K, now Instant) uint64 {
	if e := t.find(key); e != nil {
		return e.window.Count(now)
	}
	return 0
}

// Window returns the window of key, or nil if the table does not know it, to read more than a count from it. Add through
// the table: it may drop the key, and what is added to a window that was dropped is lost.
func (t *Table[K]) Window(key K) *Window {
	if e := t.find(key); e != nil {
		return e.window
	}
	return nil
}

// All ranges over the keys and their windows in no particular order, without a lock. Keys that come or go meanwhile may be
// missed. What was said of [Table.Window] holds for its windows.
func (t *Table[K]) All() iter.Seq2[K, *Window] {
	return func(yield func(K, *Window) bool) {
		for i := range t.index {
			for e := t.index[i].Load(); e != nil; e = e.next.Load() {
				if !e.gone.Load() && !yield(e.key, e.window) {
					return
				}
			}
		}
	}
}

// Len returns how many keys the table holds.
func (t *Table[K]) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known.Len() + t.fresh.Len()
}

// Dropped returns what was dropped so far.
func (t *Table[K]) Dropped() Dropped {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}

// DropIdle drops every key whose count is zero at the instant now, and returns how many it dropped. A table needs no such
// call to stay within its bound; calling it once per timeframe gives the memory of idle keys back. It locks the table for
// a few keys at a time.
func (t *Table[K]) DropIdle(now Instant) int {
	return t.dropIdle(&t.fresh, now) + t.dropIdle(&t.known, now)
}

// dropIdle looks at as many keys as l holds when it begins. It moves each one it keeps to the back.
func (t *Table[K]) dropIdle(l *list.List, now Instant) (dropped int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range l.Len() {
		if i%search == search-1 { // let waiting goroutines in
			t.mu.Unlock()
			t.mu.Lock()
		}
		if l.Len() == 0 {
			break
		}
		if e := frontOf[K](l); e.window.Count(now) == 0 {
			t.dropLocked(e, now)
			dropped++
		} else {
			l.MoveToBack(e.place)
		}
	}
	return dropped
}

// find returns the entry of key, or nil. It takes no lock: entries are added at the front of a chain, and a dropped entry
// goes on pointing into the chain, so whoever passes reaches all entries that were there when it began and still are.
func (t *Table[K]) find(key K) *entry[K] {
	for e := t.chain(key).Load(); e != nil; e = e.next.Load() {
		if e.key == key {
			return e
		}
	}
	return nil
}

// findBytes is find for a key that is at hand as bytes. The conversion in the comparison copies nothing.
func findBytes(t *Table[string], key []byte) *entry[string] {
	for e := t.chainOf(maphash.Bytes(t.seed, key)).Load(); e != nil; e = e.next.Load() {
		if e.key == string(key) {
			return e
		}
	}
	return nil
}

func (t *Table[K]) chain(key K) *atomic.Pointer[entry[K]] {
	if s, ok := any(key).(string); ok { // hashed as findBytes hashes it
		return t.chainOf(maphash.String(t.seed, s))
	}
	return t.chainOf(maphash.Comparable(t.seed, key))
}

func (t *Table[K]) chainOf(hash uint64) *atomic.Pointer[entry[K]] {
	return &t.index[hash&uint64(len(t.index)-1)]
}

// addNew adds to a key that was not there a moment ago.
func (t *Table[K]) addNew(key K, now Instant, n uint64) uint64 {
	w := newWindow(t.timeframe, t.precision, t.size, t.phase) // outside the lock: it may be large
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.find(key)
	if e == nil {
		e = &entry[K]{key: key, window: w, chain: t.chain(key)}
		t.insertLocked(e, now)
	}
	return e.window.AddCount(now, n)
}

// insertLocked makes room for e and puts it in, among the fresh.
func (t *Table[K]) insertLocked(e *entry[K], now Instant) {
	if t.known.Len()+t.fresh.Len() >= t.max {
		t.dropLocked(t.victimLocked(now), now)
	}
	e.place = t.fresh.PushBack(e)
	e.next.Store(e.chain.Load())
	e.chain.Store(e)
}

// victimLocked chooses who has to go from a full table.
func (t *Table[K]) victimLocked(now Instant) *entry[K] {
	var least *entry[K]
	var leastCount uint64
	for range min(search, t.known.Len()) {
		e := frontOf[K](&t.known)
		t.known.MoveToBack(e.place)
		count := e.window.Count(now)
		if count == 0 {
			return e
		}
		if least == nil || count < leastCount {
			least, leastCount = e, count
		}
	}
	if t.fresh.Len() > 0 {
		return frontOf[K](&t.fresh)
	}
	return least
}

// dropLocked takes e out of the table.
func (t *Table[K]) dropLocked(e *entry[K], now Instant) {
	link := e.chain
	for link.Load() != e {
		link = &link.Load().next
	}
	link.Store(e.next.Load())
	t.listOf(e).Remove(e.place)
	e.gone.Store(true)
	if count := e.window.Count(now); count > 0 {
		t.dropped.Active++
		t.dropped.Count += count
	} else {
		t.dropped.Idle++
	}
}

// promote moves e to the known ones, unless it has gone or another was faster.
func (t *Table[K]) promote(e *entry[K]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !e.gone.Load() && !e.known.Load() {
		t.promoteLocked(e)
	}
}

func (t *Table[K]) promoteLocked(e *entry[K]) {
	t.fresh.Remove(e.place)
	e.place = t.known.PushBack(e)
	e.known.Store(true)
}

// listOf returns the list that e is in.
func (t *Table[K]) listOf(e *entry[K]) *list.List {
	if e.known.Load() {
		return &t.known
	}
	return &t.fresh
}

func frontOf[K comparable](l *list.List) *entry[K] { return l.Front().Value.(*entry[K]) }
