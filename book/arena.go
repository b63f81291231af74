package book

const (
	chunkSize = 256
	chunkBits = 8

	// The arena shrinks when fewer than one slot in four is in use. A drop then takes back four slots, so that the rest
	// stays in proportion however far the book is drained.
	sparseness = 4
	trims      = 4
)

// A slot is the place of a bid in the arena.
type slot struct {
	id    uint64 // 0 if the slot is free
	seq   uint64 // the place in the queue of a price: lower is earlier; above the ID if the bid was repriced
	owner uint64
	price uint64
	open  uint64

	prev, next uint32 // in the queue of the price; of free slots, in the list of those
}

func (s *slot) bid() Bid { return Bid{ID: ID(s.id), Owner: s.owner, Price: s.price, Volume: s.open} }

// An arena holds bids in numbered slots, and finds them by ID. Number 0 stands for none, so slot 0 is not used. Slots
// below index.size are in use or free.
type arena struct {
	chunks []*[chunkSize]slot
	index  index
	live   int    // slots in use
	free   uint32 // the first free slot
}

func (a *arena) at(i uint32) *slot { return &a.chunks[i>>chunkBits][i%chunkSize] }

// find returns the slot of the bid named id, or 0.
func (a *arena) find(id uint64) uint32 {
	i := a.index.first(id)
	for i != 0 && a.at(i).id != id {
		i = a.index.following(i, id)
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
	a.index.add(i, id)
	a.live++
	return i
}

// give takes slot i back.
func (a *arena) give(i uint32) {
	s := a.at(i)
	a.index.remove(i, s.id)
	a.enfree(i, s)
	a.live--
}

func (a *arena) enfree(i uint32, s *slot) {
	s.id, s.prev, s.next = 0, 0, a.free
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
	i := a.index.grow()
	if int(i>>chunkBits) == len(a.chunks) {
		a.chunks = append(a.chunks, new([chunkSize]slot))
	}
	a.enfree(i, a.at(i))
}

// sparse reports whether trim may and should be called.
func (a *arena) sparse() bool {
	return a.index.size > chunkSize && uint64(a.live)*sparseness < uint64(a.index.size)
}

// trim takes the last slot away. If it was in use, its bid moves to a free one, whose number trim returns; it is 0 if not.
func (a *arena) trim() (to uint32) {
	last := a.index.size - 1
	from := a.at(last)
	if from.id == 0 {
		a.unfree(from)
	} else {
		to = a.free
		a.unfree(a.at(to))
		*a.at(to) = *from
		a.index.remove(last, from.id)
		a.index.add(to, from.id)
	}
	a.index.shrink()
	if last%chunkSize == 0 {
		end := len(a.chunks) - 1
		a.chunks[end] = nil
		a.chunks = a.chunks[:end]
	}
	return to
}
