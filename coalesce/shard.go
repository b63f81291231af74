package coalesce

import (
	"strings"
	"sync"
	"time"
)

// shardCount keeps goroutines with different keys from waiting for each other. It is a power of two.
const shardCount = 64

// A shard holds the keys of some hashes.
type shard[I, V any] struct {
	mu     sync.Mutex // guards what follows, and the entries and calls of its keys
	keys   map[string]*entry[I, V]
	idle   entry[I, V] // head of a ring of the entries that are only remembered, the latest first
	idling int         // how many
	closed bool

	_ [64]byte // the next shard's mutex is on another cache line
}

// An entry is what is known of one key.
type entry[I, V any] struct {
	key    string
	hash   uint64
	open   *Call[I, V]   // the slot that waits
	flight *Call[I, V]   // the latest call that may still be joined
	calls  int           // under way
	since  time.Duration // when the latest of them began

	unshared time.Duration // until when the key counts as not shareable; 0: not
	arrivals arrivals
	latency  latency

	prev, next *entry[I, V] // in the ring of idle entries; nil if there is a slot or call
}

func (sh *shard[I, V]) init() {
	sh.keys = map[string]*entry[I, V]{}
	sh.idle.prev, sh.idle.next = &sh.idle, &sh.idle
}

// entryLocked returns the entry of the key, and makes one, with a copy of the key, if there is none. At most limit are kept that have no slot
// or call.
func (sh *shard[I, V]) entryLocked(hash uint64, key string, limit int) *entry[I, V] {
	e := sh.keys[key]
	if e == nil {
		e = &entry[I, V]{key: strings.Clone(key), hash: hash}
		sh.keys[e.key] = e
	}
	sh.restLocked(e, limit)
	return e
}

// wakeLocked takes the entry out of the ring of idle ones.
func (sh *shard[I, V]) wakeLocked(e *entry[I, V]) {
	if e.next != nil {
		e.prev.next, e.next.prev = e.next, e.prev
		e.prev, e.next = nil, nil
		sh.idling--
	}
}

// restLocked puts the entry in front of the ring if it has no slot or call left, and forgets the last one if there are more than limit.
func (sh *shard[I, V]) restLocked(e *entry[I, V], limit int) {
	if e.open != nil || e.calls > 0 {
		return
	}
	sh.wakeLocked(e)
	e.prev, e.next = &sh.idle, sh.idle.next
	e.prev.next, e.next.prev = e, e
	sh.idling++
	if sh.idling > limit {
		oldest := sh.idle.prev
		sh.wakeLocked(oldest)
		delete(sh.keys, oldest.key)
	}
}
