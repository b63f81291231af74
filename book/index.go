package book

import "math/bits"

// An index finds slots by the IDs of their bids. It is a hash table with chains and as many buckets as there are slots;
// they are added and taken away together, by linear hashing, so that there is never a table to copy. It lies apart from
// the slots to stay in the cache: a look-up touches no slot but the one it finds.
type index struct {
	links []*[chunkSize]link
	size  uint32 // of buckets and slots
}

// A link is what the index has for each number: something about the bucket, and something about the slot.
type link struct {
	head uint32 // the first slot in the bucket
	next uint32 // the slot's next in its own bucket
	hash uint32 // of the ID in the slot
}

func (x *index) at(i uint32) *link { return &x.links[i>>chunkBits][i%chunkSize] }

// hashOf spreads IDs, which are dense or follow a pattern. The multiplier is 2⁶⁴ over the golden ratio (Knuth, The Art of
// Computer Programming, vol. 3, section 6.4). Whoever leaves open just those of his bids that share a bucket makes finding
// them slow, at the price of very many that he has to cancel.
func hashOf(id uint64) uint32 { return uint32(id * 0x9e3779b97f4a7c15 >> 32) }

// bucket returns the bucket of a hash.
func (x *index) bucket(hash uint32) *link {
	mask := uint32(1)<<bits.Len32(x.size-1) - 1
	b := hash & mask
	if b >= x.size { // not split yet
		b &= mask >> 1
	}
	return x.at(b)
}

// first returns the first slot that may have id, or 0.
func (x *index) first(id uint64) uint32 {
	if x.size == 0 {
		return 0
	}
	hash := hashOf(id)
	return x.skip(x.bucket(hash).head, hash)
}

// following returns the next slot after i that may have id, or 0.
func (x *index) following(i uint32, id uint64) uint32 { return x.skip(x.at(i).next, hashOf(id)) }

// skip returns the first slot with the hash in the chain that begins with slot i, or 0.
func (x *index) skip(i uint32, hash uint32) uint32 {
	for i != 0 {
		l := x.at(i)
		if l.hash == hash {
			return i
		}
		i = l.next
	}
	return 0
}

// add notes that slot i has id.
func (x *index) add(i uint32, id uint64) {
	l := x.at(i)
	l.hash = hashOf(id)
	b := x.bucket(l.hash)
	l.next, b.head = b.head, i
}

// remove notes that slot i, which has id, has it no more.
func (x *index) remove(i uint32, id uint64) {
	p := &x.bucket(hashOf(id)).head
	for *p != i {
		p = &x.at(*p).next
	}
	*p = x.at(i).next
}

// grow adds a slot and a bucket, and returns their number.
func (x *index) grow() uint32 {
	x.size = max(x.size, 1)
	i := x.size
	if int(i>>chunkBits) == len(x.links) {
		x.links = append(x.links, new([chunkSize]link))
	}
	x.size++
	source := x.at(i - 1<<(bits.Len32(i)-1)) // the bucket that was not split yet
	chain := source.head
	source.head = 0
	x.spread(chain)
	return i
}

// shrink takes the last slot, which must be in no bucket, and the last bucket away.
func (x *index) shrink() {
	x.size--
	last := x.at(x.size)
	x.spread(last.head)
	*last = link{}
	if x.size%chunkSize == 0 {
		end := len(x.links) - 1
		x.links[end] = nil
		x.links = x.links[:end]
	}
}

// spread puts the chain that begins with slot i into the buckets where its slots belong.
func (x *index) spread(i uint32) {
	for i != 0 {
		l := x.at(i)
		next := l.next
		b := x.bucket(l.hash)
		l.next, b.head = b.head, i
		i = next
	}
}
