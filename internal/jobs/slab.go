package jobs

const pageSize = 1024

// A slab keeps values in pages, so that it grows without copying and the collector of garbage has nothing to follow in values without pointers. A
// value is named by its number, 1 at least, and stays where it is. Numbers that were freed are given out again, the last one first. The zero value is
// ready.
type slab[T any] struct {
	pages []*[pageSize]T
	n     uint32 // numbers given out so far
	live  int
	free  []uint32
}

func (s *slab[T]) at(i uint32) *T { return &s.pages[i/pageSize][i%pageSize] }

// add returns the number of a zero value.
func (s *slab[T]) add() uint32 {
	s.live++
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	s.n++
	if int(s.n) >= len(s.pages)*pageSize {
		s.pages = append(s.pages, new([pageSize]T))
	}
	return s.n
}

// remove makes a value zero and frees its number.
func (s *slab[T]) remove(i uint32) {
	*s.at(i) = *new(T)
	s.live--
	s.free = append(s.free, i)
}

// An index finds numbers of a slab by the hash of what they name. It is made of shards, by the high bits of the hash, that grow alone, so that growing
// takes no time that anybody notices. The zero value is ready.
type index struct {
	shards []shard // none, or 1<<shardBits
}

const shardBits = 13

// A shard is a table with linear probing and deletion by shifting back (Knuth, The Art of Computer Programming, 6.4, algorithm R). A slot has 32 bits of
// the hash above the number, so that looking past the others doesn't look at what they name: with a million jobs each look waits for memory.
type shard struct {
	slots []uint64 // 0: empty
	n     int
}

func (x *index) shard(hash uint64) *shard {
	if x.shards == nil {
		x.shards = make([]shard, 1<<shardBits)
	}
	return &x.shards[hash>>(64-shardBits)]
}

func slotOf(hash uint64, i uint32) uint64 { return hash<<32 | uint64(i) }

// home is where the search for a slot begins.
func (t *shard) home(slot uint64) uint64 { return slot >> 32 & uint64(len(t.slots)-1) }

// find returns the number with this hash for which match says so, 0 if there is none.
func (x *index) find(hash uint64, match func(uint32) bool) uint32 {
	if x.shards == nil { // whoever only reads makes none
		return 0
	}
	t := x.shard(hash)
	if t.n == 0 {
		return 0
	}
	want, mask := slotOf(hash, 0), uint64(len(t.slots)-1)
	for k := t.home(want); t.slots[k] != 0; k = (k + 1) & mask {
		if slot := t.slots[k]; slot>>32 == want>>32 && match(uint32(slot)) {
			return uint32(slot)
		}
	}
	return 0
}

// put adds a number that isn't there.
func (x *index) put(hash uint64, i uint32) {
	t := x.shard(hash)
	if 4*(t.n+1) > 3*len(t.slots) {
		old := t.slots
		t.slots = make([]uint64, max(8, 2*len(old)))
		for _, slot := range old {
			if slot != 0 {
				t.insert(slot)
			}
		}
	}
	t.n++
	t.insert(slotOf(hash, i))
}

func (t *shard) insert(slot uint64) {
	k, mask := t.home(slot), uint64(len(t.slots)-1)
	for t.slots[k] != 0 {
		k = (k + 1) & mask
	}
	t.slots[k] = slot
}

// drop removes a number if it is there.
func (x *index) drop(hash uint64, i uint32) {
	t := x.shard(hash)
	if t.n == 0 {
		return
	}
	slot, mask := slotOf(hash, i), uint64(len(t.slots)-1)
	k := t.home(slot)
	for t.slots[k] != slot {
		if t.slots[k] == 0 {
			return
		}
		k = (k + 1) & mask
	}
	t.n--
	// Each that follows moves back into the hole, unless that is before where its search begins.
	for j := (k + 1) & mask; t.slots[j] != 0; j = (j + 1) & mask {
		if home := t.home(t.slots[j]); (j-home)&mask >= (j-k)&mask {
			t.slots[k] = t.slots[j]
			k = j
		}
	}
	t.slots[k] = 0
}
