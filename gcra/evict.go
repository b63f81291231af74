package gcra

import (
	"math"
	"runtime"
	"sync/atomic"
	"time"
)

// Stats counts what a limiter remembers and what it had to forget.
type Stats struct {
	Keys     int           // clients remembered now
	MaxKeys  int           // the bound
	Added    uint64        // clients added so far
	Expired  uint64        // clients forgotten while idle, by Sweep or for a new client: nothing was lost
	Evicted  uint64        // clients forgotten in debt, because all were in debt and a new one came
	LostDebt time.Duration // the sum of the times those were away from their TAT; stays at its maximum when it gets there
}

func (t *table[K]) stats() Stats {
	return Stats{
		Keys:     int(min(t.keys.Load(), t.maxKeys)),
		MaxKeys:  int(t.maxKeys),
		Added:    t.added.Load(),
		Expired:  t.expired.Load(),
		Evicted:  t.evicted.Load(),
		LostDebt: time.Duration(t.lostDebt.Load()),
	}
}

// reserve makes sure that there is a place for one more entry, of the given key, and takes it. It returns false if it has to be tried again.
func (t *table[K]) reserve(hash uint64, key K, now int64) bool {
	keys := t.keys.Load()
	if keys < t.maxKeys {
		return t.keys.CompareAndSwap(keys, keys+1)
	}
	return t.evict(hash, key, now)
}

// evict forgets the entry with the lowest TAT; its place then belongs to the caller.
//
// It looks at the shard with the lowest bound. If the bound proves too low it is raised to what is true, which may make another shard the
// lowest. Every step makes up for a request that raised a TAT before, so that a new key costs O(log keys) on average.
//
// The caller didn't find key, but somebody else may have added it since. Then nobody has to go, least of all that entry itself:
//
//	A and B: don't find the key, and the table has one place left
//	A: adds it, spends the burst
//	B: finds the table full, evicts A's entry for being the lowest, adds the key anew, spends the burst again
func (t *table[K]) evict(hash uint64, key K, now int64) bool {
	if t.indexOf(hash).find(hash, key) != nil {
		return false
	}
	i, next := t.lowestShards()
	sh := &t.shards[i]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.queue) == 0 {
		runtime.Gosched() // all places are promised to entries on their way in
		return false
	}
	for n := 0; n < len(sh.queue) && !sh.queue.settle(); n++ {
	}
	low := sh.queue.lowest()
	t.lowest[i].Store(low)
	if low > next || sh.queue[0].entry.key == key {
		return false
	}
	return t.forgetLocked(i, now)
}

// lowestShards returns the shard with the lowest bound, and the lowest bound of all others.
func (t *table[K]) lowestShards() (shard int, next int64) {
	low := int64(math.MaxInt64)
	next = low
	for i := range t.lowest {
		switch bound := t.lowest[i].Load(); {
		case bound < low:
			shard, low, next = i, bound, low
		case bound < next:
			next = bound
		}
	}
	return shard, next
}

// forgetLocked kills the settled top of the queue of shard i and takes it out. It returns false if a request just raised its TAT. It
// doesn't count down t.keys.
func (t *table[K]) forgetLocked(i int, now int64) bool {
	sh := &t.shards[i]
	top := sh.queue[0]
	idle := top.due <= now
	if idle {
		raise(&t.forgotten, top.due) // first, so that whoever finds the entry dead or gone finds this too
	}
	if !top.entry.kill(top.due) {
		return false
	}
	if idle {
		t.expired.Add(1)
	} else {
		t.evicted.Add(1)
		t.addLostDebt(top.due - now)
	}
	sh.index.Load().remove(t.hash(top.entry.key), top.entry)
	sh.queue.pop()
	t.lowest[i].Store(sh.queue.lowest())
	return true
}

// sweepSteps is how many entries sweep looks at before it lets others have the lock of a shard: some 10 µs.
const sweepSteps = 64

// sweep forgets clients that were idle at now, in at most budget steps, and reports how many, and whether there may be more.
func (t *table[K]) sweep(now int64, budget int) (forgotten int, more bool) {
	for range t.shards {
		i := int(t.cursor.Load()) % len(t.shards)
		for t.lowest[i].Load() <= now {
			if budget <= 0 {
				return forgotten, true
			}
			steps, n := t.sweepShard(i, now, min(budget, sweepSteps))
			budget -= steps
			forgotten += n
		}
		t.cursor.Add(1)
	}
	return forgotten, false
}

// sweepShard does at most the given number of steps, each of which forgets an entry or brings its place in the queue up to date.
func (t *table[K]) sweepShard(i int, now int64, most int) (steps, forgotten int) {
	sh := &t.shards[i]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for steps < most && sh.queue.lowest() <= now {
		steps++
		if sh.queue.settle() && t.forgetLocked(i, now) {
			forgotten++
			t.keys.Add(-1)
		}
	}
	t.lowest[i].Store(sh.queue.lowest())
	if slots := len(sh.index.Load().groups) * slotsPerGroup; slots > slotsPerGroup && len(sh.queue) < slots/8 {
		t.rebuildLocked(sh)
	}
	return steps, forgotten
}

func (t *table[K]) addLostDebt(d int64) {
	for {
		old := t.lostDebt.Load()
		if t.lostDebt.CompareAndSwap(old, old+min(d, math.MaxInt64-old)) {
			return
		}
	}
}

func raise(a *atomic.Int64, to int64) {
	for old := a.Load(); old < to && !a.CompareAndSwap(old, to); old = a.Load() {
	}
}
