package cache

import (
	"sync"
	"sync/atomic"
)

// stripes is how many counters tell the generations of resources apart. Two resources that share one are written to
// together as far as the fence knows: a call may be thrown away that need not be.
const stripes = 1 << 14

// fence counts the writes to resources, so that a call that began before a write is neither stored nor shared after it:
//
//	GET begins, reads the old state
//	        PUT changes it, and what is stored is dropped
//	GET ends: its answer would be stored, and served until it is stale
//
// Safe for concurrent use.
type fence struct{ stripe [stripes]stripe }

type stripe struct {
	mu    sync.RWMutex  // held for reading while an answer is put into the store, so that no write comes between check and put
	count atomic.Uint64 // changes only while mu is held
}

func (f *fence) of(base uint64) *stripe { return &f.stripe[base%stripes] }

// generation is the number of writes so far to the resource, or others of its stripe.
func (f *fence) generation(base uint64) uint64 { return f.of(base).count.Load() }

// unless calls put if nothing was written to the resource since its generation was noted. put must not block.
func (f *fence) unless(base, generation uint64, put func()) bool {
	s := f.of(base)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.count.Load() != generation {
		return false
	}
	put()
	return true
}

// write notes a write and calls drop before any answer that was asked for earlier can be put again. drop must not block.
func (f *fence) write(base uint64, drop func()) {
	s := f.of(base)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count.Add(1)
	drop()
}
