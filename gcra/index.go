package gcra

import (
	"math/bits"
	"sync/atomic"
)

// An entry is one client. Its key never changes, so it may be compared without a lock; an evicted entry is left to the garbage collector
// and never reused, because somebody may still be looking at it.
type entry[K comparable] struct {
	cell
	key K
}

// An index finds entries by hash: an open-addressing table of groups. Anybody may read it at any time; the lock of its shard is needed
// to change it, and to be sure that a key is absent: a reader may miss a key that is being added.
type index[K comparable] struct {
	groups []group[K] // a power of two
	used   int        // slots that are not empty: entries and gravestones
}

// A group is one cache line of seven slots. Byte i of tags belongs to slot i; the eighth is unused.
type group[K comparable] struct {
	tags  atomic.Uint64
	slots [slotsPerGroup]atomic.Pointer[entry[K]]
}

const (
	slotsPerGroup = 7

	empty = 0x00 // never used: a search ends here
	grave = 0x01 // removed: a search goes on
	taken = 0x80 // with seven bits of the hash

	lowBits  = 0x0001_0101_0101_0101
	highBits = 0x0080_8080_8080_8080
)

func tagOf(hash uint64) uint64 { return hash&0x7f | taken }

// matches returns a word with the high bit set in each of the seven bytes of tags that equals tag. A byte above a match may be set wrongly
// if it differs by one, which costs a comparison of keys.
func matches(tags, tag uint64) uint64 {
	x := tags ^ tag*lowBits
	return (x - lowBits) &^ x & highBits
}

func newIndex[K comparable](groups int) *index[K] {
	return &index[K]{groups: make([]group[K], groups)}
}

// groupsFor returns the size of an index in which n entries fill at most about 60 %.
func groupsFor(n int) int {
	return 1 << bits.Len(uint(n*8/(5*slotsPerGroup)))
}

// full says that one more entry would make searches long. There always is an empty slot, at which a search ends.
func (x *index[K]) full() bool { return x.used >= len(x.groups)*slotsPerGroup*4/5 }

func (x *index[K]) find(hash uint64, key K) *entry[K] {
	mask := uint64(len(x.groups) - 1)
	tag := tagOf(hash)
	for i := hash >> 7 & mask; ; i = (i + 1) & mask {
		g := &x.groups[i]
		tags := g.tags.Load()
		for m := matches(tags, tag); m != 0; m &= m - 1 {
			if e := g.slots[bits.TrailingZeros64(m)/8].Load(); e != nil && e.key == key {
				return e
			}
		}
		if matches(tags, empty) != 0 {
			return nil
		}
	}
}

// add puts e, whose key is not there yet, into the first free slot on its way. The slot is stored before its tag, so that a reader who
// sees the tag finds the entry.
func (x *index[K]) add(hash uint64, e *entry[K]) {
	mask := uint64(len(x.groups) - 1)
	for i := hash >> 7 & mask; ; i = (i + 1) & mask {
		g := &x.groups[i]
		tags := g.tags.Load()
		free := ^tags & highBits
		if free == 0 {
			continue
		}
		slot := bits.TrailingZeros64(free) / 8
		if tags>>(8*slot)&0xff == empty {
			x.used++
		}
		g.slots[slot].Store(e)
		g.tags.Store(tags&^(0xff<<(8*slot)) | tagOf(hash)<<(8*slot))
		return
	}
}

// remove takes e out. Where the group has an empty slot no search ever went on from it, so the slot becomes empty too, not a gravestone.
func (x *index[K]) remove(hash uint64, e *entry[K]) {
	mask := uint64(len(x.groups) - 1)
	for i := hash >> 7 & mask; ; i = (i + 1) & mask {
		g := &x.groups[i]
		tags := g.tags.Load()
		for m := matches(tags, tagOf(hash)); m != 0; m &= m - 1 {
			slot := bits.TrailingZeros64(m) / 8
			if g.slots[slot].Load() != e {
				continue
			}
			mark := uint64(grave)
			if matches(tags, empty) != 0 {
				mark = empty
				x.used--
			}
			g.tags.Store(tags&^(0xff<<(8*slot)) | mark<<(8*slot))
			g.slots[slot].Store(nil)
			return
		}
		if matches(tags, empty) != 0 {
			return
		}
	}
}
