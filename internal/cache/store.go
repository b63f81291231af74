package cache

import (
	"bytes"
	"math"
	"time"

	"github.com/maypok86/otter/v2"
)

// store keeps entries in memory, bounded by their size in bytes; those go first that are asked for least (W-TinyLFU).
// Entries are found by the hash of their key, and the key itself is compared: of two keys with one hash the later has
// the place. Safe for concurrent use.
type store struct {
	cache     *otter.Cache[uint64, *Entry]
	maxObject int64
}

// newStore returns a store of at most maxBytes, in which no entry is larger than maxObject.
func newStore(maxBytes, maxObject int64) *store {
	return &store{
		cache: otter.Must(&otter.Options[uint64, *Entry]{
			MaximumWeight:    uint64(max(maxBytes, 1)),
			Weigher:          func(_ uint64, e *Entry) uint32 { return uint32(min(e.Size(), math.MaxUint32)) },
			ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[uint64, *Entry]) time.Duration { return e.Value.keep() }),
			Executor:         inline,
		}),
		maxObject: maxObject,
	}
}

func (s *store) get(hash uint64, key []byte) *Entry {
	e, ok := s.cache.GetIfPresent(hash)
	if !ok || !bytes.Equal(e.key, key) {
		return nil
	}
	return e
}

func (s *store) put(hash uint64, e *Entry) { s.cache.Set(hash, e) }

func (s *store) fits(e *Entry) bool { return e.Size() <= s.maxObject }

func (s *store) drop(hash uint64) { s.cache.Invalidate(hash) }

func (s *store) close() { s.cache.StopAllGoroutines() }
