package cache

import (
	"bytes"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// hitForMiss is how long a key whose answer was not shareable does without waiting for others.
const hitForMiss = 120 * time.Second

const (
	apartSets = 1 << 12
	apartWays = 4
)

// apart remembers keys whose answers are not shareable, so that the requests for them do not wait for each other in vain.
// It is a table of fixed size: in a full row the oldest key is forgotten, and two keys with one hash share a place, which
// only costs a shared call. Safe for concurrent use.
type apart struct {
	rows [apartSets][apartWays]struct{ hash, until atomic.Uint64 }
}

// known reports whether the key was remembered less than hitForMiss ago.
func (a *apart) known(hash uint64, now time.Time) bool {
	row := &a.rows[hash%apartSets]
	for i := range row {
		if row[i].hash.Load() == hash {
			return uint64(now.Unix()) < row[i].until.Load()
		}
	}
	return false
}

// remember notes a key, in the place of the one that is the first to be forgotten anyway.
func (a *apart) remember(hash uint64, now time.Time) {
	row := &a.rows[hash%apartSets]
	oldest := &row[0]
	for i := range row {
		if row[i].hash.Load() == hash {
			oldest = &row[i]
			break
		}
		if row[i].until.Load() < oldest.until.Load() {
			oldest = &row[i]
		}
	}
	oldest.hash.Store(hash)
	oldest.until.Store(uint64(now.Add(hitForMiss).Unix()))
}

// forget drops a key whose answers turned out shareable again.
func (a *apart) forget(hash uint64) {
	row := &a.rows[hash%apartSets]
	for i := range row {
		if row[i].hash.Load() == hash {
			row[i].until.Store(0)
		}
	}
}

// maxVarying bounds what is remembered of resources that vary, in bytes: some 32,768 of them, fewer if clients ask for long targets.
const maxVarying = 8 << 20

// varying remembers by which fields the answers of resources vary. Safe for concurrent use.
type varying struct {
	cache *otter.Cache[uint64, *varies]
}

func newVarying() varying {
	return varying{otter.Must(&otter.Options[uint64, *varies]{
		MaximumWeight: maxVarying,
		Weigher:       func(_ uint64, v *varies) uint32 { return v.weight() },
		Executor:      inline,
	})}
}

// known returns what the answers of a resource vary by, nil if they are not known to vary.
func (m varying) known(hash uint64, base []byte) *varies {
	v, ok := m.cache.GetIfPresent(hash)
	if !ok || !bytes.Equal(v.base, base) {
		return nil
	}
	return v
}

func (m varying) learn(hash uint64, v *varies) { m.cache.Set(hash, v) }

// inline runs the maintenance of a store on the goroutine whose turn it is, so that it needs none of its own.
func inline(f func()) { f() }

// weight is what v takes in memory, in bytes, about: its names are often those of others, too.
func (v *varies) weight() uint32 {
	const own = 128
	n := own + len(v.base)
	for _, name := range v.names {
		n += len(name)
	}
	return uint32(n)
}
