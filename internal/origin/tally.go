package origin

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

const (
	maxPaths    = 10_000  // paths counted by name
	maxPathName = 1 << 10 // bytes of the longest path counted by name
	otherPaths  = "other" // where the rest are counted; no path is spelt like this
	tallyShards = 64
)

// Stats counts requests.
type Stats struct {
	Counts
	// Paths has the counts of each path, spelt as in the request line without its query. The first 10,000 paths of up to
	// 1,024 bytes have an entry of their own; the rest share one called "other".
	Paths map[string]Counts `json:"paths"`
}

// Counts are those of one path or of all.
type Counts struct {
	Served      int64 `json:"served"`        // requests whose handling has begun
	InFlight    int64 `json:"in_flight"`     // of these, how many are not answered yet
	MaxInFlight int64 `json:"max_in_flight"` // the largest InFlight there has been
}

// counter is Counts while they change. Updates are atomic, so that requests share a lock only for reading.
type counter struct{ served, inFlight, maxInFlight atomic.Int64 }

func (c *counter) enter() {
	c.served.Add(1)
	n := c.inFlight.Add(1)
	for m := c.maxInFlight.Load(); n > m && !c.maxInFlight.CompareAndSwap(m, n); m = c.maxInFlight.Load() {
	}
}

func (c *counter) leave() { c.inFlight.Add(-1) }

func (c *counter) reset() {
	c.served.Store(0)
	c.maxInFlight.Store(c.inFlight.Load())
}

// counts reads c. Requests can leave meanwhile, so that MaxInFlight may exceed InFlight but never the reverse.
func (c *counter) counts() Counts {
	return Counts{Served: c.served.Load(), InFlight: c.inFlight.Load(), MaxInFlight: c.maxInFlight.Load()}
}

// tally counts requests in all and by path. A request holds the lock of its path's shard for reading while it enters
// and none when it leaves; a snapshot and a reset hold all of them for writing.
type tally struct {
	seed   maphash.Seed
	all    counter
	other  counter
	named  atomic.Int64 // paths in all shards
	shards [tallyShards]shard
}

type shard struct {
	mu    sync.RWMutex
	paths map[string]*counter
	_     [64]byte // keeps the locks of two shards off one cache line
}

func (t *tally) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.shards {
		t.shards[i].paths = make(map[string]*counter)
	}
}

// enter counts a request of path in. The caller calls leave with the returned counter when the request is answered.
func (t *tally) enter(path string) *counter {
	sh := &t.shards[maphash.String(t.seed, path)%tallyShards]
	if c := t.enterKnown(sh, path); c != nil {
		return c
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c := sh.paths[path] // another request may have added it since
	if c == nil {
		if c = t.addLocked(sh, path); c == nil {
			c = &t.other
		}
	}
	t.all.enter()
	c.enter()
	return c
}

// enterKnown counts in under the read lock: were it released first, a reset could drop c in between and lose the request.
func (t *tally) enterKnown(sh *shard, path string) *counter {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	c := sh.paths[path]
	if c != nil {
		t.all.enter()
		c.enter()
	}
	return c
}

// addLocked makes the counter of path, or returns nil if path is to be counted with the rest.
func (t *tally) addLocked(sh *shard, path string) *counter {
	if len(path) > maxPathName {
		return nil
	}
	if t.named.Add(1) > maxPaths {
		t.named.Add(-1)
		return nil
	}
	c := new(counter)
	sh.paths[path] = c
	return c
}

func (t *tally) leave(c *counter) {
	c.leave()
	t.all.leave()
}

func (t *tally) lock() {
	for i := range t.shards {
		t.shards[i].mu.Lock()
	}
}

func (t *tally) unlock() {
	for i := range t.shards {
		t.shards[i].mu.Unlock()
	}
}

func (t *tally) snapshot() Stats {
	t.lock()
	defer t.unlock()
	st := Stats{Counts: t.all.counts(), Paths: make(map[string]Counts, t.named.Load())}
	for i := range t.shards {
		for path, c := range t.shards[i].paths {
			st.Paths[path] = c.counts()
		}
	}
	if rest := t.other.counts(); rest != (Counts{}) {
		st.Paths[otherPaths] = rest
	}
	return st
}

func (t *tally) reset() {
	t.lock()
	defer t.unlock()
	t.all.reset()
	t.other.reset()
	for i := range t.shards {
		paths := t.shards[i].paths
		for path, c := range paths {
			if c.reset(); c.inFlight.Load() == 0 {
				delete(paths, path)
				t.named.Add(-1)
			}
		}
	}
}
