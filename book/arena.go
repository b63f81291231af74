package book

import "math/bits"

const (
	chunkSize = 256
	chunkBits = 8

	// The arena shrinks when fewer than one slot in four is in use. A drop then takes back four slots, so that the rest
	// stays in proportion however far the book is drained.
	sparseness = 4
	trims      = 4
)

// A slot is the place of a bid in the arena. It fills a cache line.
type slot struct {
	id    uint64 // 0 if the slot is free
	seq   uint64 // the place in the queue of a price: lower is earlier; above the ID if the bid was repriced
	owner uint64
	price uint64
	open  uint64

	prev, next uint32 // in the queue of the price; of free slots, in the list of those
	chain      uint32 // the next in the bucket of the index
	_          [12]byte
}

func (s *slot) bid() Bid { return Bid{ID: ID(s.id), Owner: s.owner, Price: s.price, Volume: s.open} }

type (
	chunk   [chunkSize]slot
	buckets [chunkSize]uint32 // the first slot of each; apart from the slots, so that they stay in the cache
)

// An arena holds bids in numbered slots, and finds them by ID. Number 0 stands for none, so slot 0 is not used. Slots
// below size are in use or free. There are as many buckets as slots: they are added and taken away together, by linear
// hashing, so there is never a table to copy.
type arena struct {
	chunks []*chunk
	heads  []*buckets
	size   uint32
	live   int    // slots in use
	free   uint32 // the first free slot
}

func (a *arena) at(i uint32) *slot { return &a.chunks[i>>chunkBits][i%chunkSize] }

func (a *arena) head(bucket uint32) *uint32 {
	return &a.heads[bucket>>chunkBits][bucket%chunkSize]
}

// bucket returns the bucket of an ID. The multiplier is 2⁶⁴ over the golden ratio (Knuth, vol. 3, section 6.4): IDs are
// dense or follow a pattern, and it spreads both. Whoever leaves open just the bids that share a bucket makes finding
// those slow, at the price of very many that he has to cancel.
func (a *arena) bucket(id uint64) uint32 {
	mask := uint32(1)<<bits.Len32(a.size-1) - 1
	h := uint32(id*0x9e3779b97f4a7c15>>32) & mask
	if h >= a.size { // not split yet
		h &= mask >> 1
	}
	return h
}

// find returns the slot of the bid named id, or 0.
func (a *arena) find(id uint64) uint32 {
	if a.live == 0 {
		return 0
	}
	i := *a.head(a.bucket(id))
	for i != 0 && a.at(i).id != id {
		i = a.at(i).chain
	}
	return i
}

// take returns a slot for a new bid named id.
func (a *arena) take(id uint64) uint32 {
	if a.free == 0 {
		a.grow()
	}
	i := a.free
	s := a.at(i)
	a.unfree(s)
	s.id = id
	head := a.head(a.bucket(id))
	s.chain, *head = *head, i
	a.live++
	return i
}

// give takes slot i back.
func (a *arena) give(i uint32) {
	s := a.at(i)
	*a.link(s.id, i) = s.chain
	s.id = 0
	a.enfree(i, s)
	a.live--
}

// link returns what points to slot i in the bucket of id.
func (a *arena) link(id uint64, i uint32) *uint32 {
	p := a.head(a.bucket(id))
	for *p != i {
		p = &a.at(*p).chain
	}
	return p
}

func (a *arena) enfree(i uint32, s *slot) {
	s.prev, s.next = 0, a.free
	if a.free != 0 {
		a.at(a.free).prev = i
	}
	a.free = i
}

func (a *arena) unfree(s *slot) {
	if s.prev == 0 {
		a.free = s.next
	} else {
		a.at(s.prev).next = s.next
	}
	if s.next != 0 {
		a.at(s.next).prev = s.prev
	}
}

// grow adds a free slot.
func (a *arena) grow() {
	a.size = max(a.size, 1)
	if i := int(a.size >> chunkBits); i == len(a.chunks) {
		a.chunks = append(a.chunks, new(chunk))
		a.heads = append(a.heads, new(buckets))
	}
	i := a.size
	a.size++
	a.rehash(i - topBit(i))
	a.enfree(i, a.at(i))
}

// sparse reports whether trim may and should be called.
func (a *arena) sparse() bool {
	return a.size > chunkSize && uint64(a.live)*sparseness < uint64(a.size)
}

// trim takes the last slot away. If it was in use, its bid moves to a free one, whose number trim returns; it is 0 if not.
func (a *arena) trim() (to uint32) {
	last := a.size - 1
	from := a.at(last)
	if from.id == 0 {
		a.unfree(from)
	} else {
		to = a.free
		a.unfree(a.at(to))
		*a.link(from.id, last) = to
		*a.at(to) = *from
	}
	a.size--
	rest := a.head(last)
	a.spread(*rest)
	*rest = 0
	*from = slot{}
	if a.size%chunkSize == 0 {
		end := len(a.chunks) - 1
		a.chunks[end], a.heads[end] = nil, nil
		a.chunks, a.heads = a.chunks[:end], a.heads[:end]
	}
	return to
}

// rehash puts what is in a bucket into the buckets where it belongs.
func (a *arena) rehash(bucket uint32) {
	head := a.head(bucket)
	i := *head
	*head = 0
	a.spread(i)
}

// spread puts the chain that begins with slot i into the buckets where its slots belong.
func (a *arena) spread(i uint32) {
	for i != 0 {
		s := a.at(i)
		head := a.head(a.bucket(s.id))
		next := s.chain
		s.chain, *head = *head, i
		i = next
	}
}

// topBit returns the highest bit that is set in i.
func topBit(i uint32) uint32 { return 1 << (bits.Len32(i) - 1) }
