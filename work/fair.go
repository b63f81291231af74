package work

import "time"

// A fair is a queue with a line for each tenant. Lines have turns, one after the other, and in its turn a line gives as many entries as its
// weight says. That is deficit round robin with entries of cost 1: M. Shreedhar, G. Varghese, "Efficient fair queuing using deficit round-robin",
// IEEE/ACM Transactions on Networking 4(3), 1996. No operation takes longer for more entries or more lines, but for the ranking.
//
// It has no clock and no lock. Its zero value is not usable, see newFair.
type fair[E any] struct {
	size  int
	lines map[string]*line[E] // those with entries: the others are forgotten
	most  int                 // lines that there were since the map was made
	turn  *line[E]            // whose entries are next, in a ring of all lines; nil if there is none

	oldest, newest *entry[E] // of all lines, in the order in which they were pushed

	ranked  bool // the ranking is kept
	ranking ranking[E]

	spareLines   spare[line[E]]
	spareEntries spare[entry[E]]
}

// A line has the entries of a tenant, at least one.
type line[E any] struct {
	tenant      string
	weight      int // entries for a turn, from 1
	left        int // entries that it may still give in this turn; 0 if its turn has not begun
	size        int
	first, last *entry[E]
	before      *line[E] // in the ring
	after       *line[E]
	rank        int // index in the ranking
}

type entry[E any] struct {
	value        E
	pushed       time.Duration
	line         *line[E]
	prev, next   *entry[E] // in the line
	older, newer *entry[E] // over all lines
}

func newFair[E any](ranked bool) *fair[E] {
	return &fair[E]{lines: map[string]*line[E]{}, ranked: ranked}
}

// push appends v to the tenant's line. The weight holds from the line's next turn.
func (f *fair[E]) push(tenant string, weight int, now time.Duration, v E) *entry[E] {
	l := f.lines[tenant]
	if l == nil {
		l = f.open(tenant)
	}
	l.weight = weight
	e := f.spareEntries.take()
	e.value, e.pushed, e.line = v, now, l
	if e.prev = l.last; e.prev == nil {
		l.first = e
	} else {
		e.prev.next = e
	}
	l.last = e
	if e.older = f.newest; e.older == nil {
		f.oldest = e
	} else {
		e.older.newer = e
	}
	f.newest = e
	f.size++
	f.resize(l, 1)
	return e
}

// pop takes out the entry that is next. There must be one.
func (f *fair[E]) pop() (tenant string, weight int, v E) {
	l := f.turn
	if l.left == 0 {
		l.left = l.weight
	}
	l.left--
	if l.left == 0 {
		f.turn = l.after
	}
	tenant, weight = l.tenant, l.weight
	return tenant, weight, f.remove(l.first)
}

// An owned value is one that was taken out of a line.
type owned[E any] struct {
	tenant string
	value  E
}

// drain takes out all entries, in their order.
func (f *fair[E]) drain() []owned[E] {
	all := make([]owned[E], 0, f.size)
	for f.size > 0 {
		tenant, _, v := f.pop()
		all = append(all, owned[E]{tenant, v})
	}
	return all
}

// remove takes out e, wherever it stands, and returns its value.
func (f *fair[E]) remove(e *entry[E]) E {
	l := e.line
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	if e.older == nil {
		f.oldest = e.newer
	} else {
		e.older.newer = e.newer
	}
	if e.newer == nil {
		f.newest = e.older
	} else {
		e.newer.older = e.older
	}
	v := e.value
	f.spareEntries.put(e)
	f.size--
	f.resize(l, -1)
	return v
}

// length returns how many entries the tenant has.
func (f *fair[E]) length(tenant string) int {
	if l := f.lines[tenant]; l != nil {
		return l.size
	}
	return 0
}

// open adds a line without entries at the end of the round, just before the line whose turn it is.
func (f *fair[E]) open(tenant string) *line[E] {
	l := f.spareLines.take()
	l.tenant = tenant
	f.lines[tenant] = l
	f.most = max(f.most, len(f.lines))
	if f.ranked {
		f.ranking.add(l)
	}
	if f.turn == nil {
		l.before, l.after = l, l
		f.turn = l
		return l
	}
	l.after, l.before = f.turn, f.turn.before
	l.before.after, l.after.before = l, l
	return l
}

// resize counts an entry more or less, and forgets the tenant if it was the last.
func (f *fair[E]) resize(l *line[E], by int) {
	l.size += by
	if l.size == 0 {
		f.forget(l)
	} else if f.ranked {
		f.ranking.fix(l)
	}
}

// forget takes the line out of the ring. What is left of its turn is lost, so that nobody saves up for later.
func (f *fair[E]) forget(l *line[E]) {
	l.before.after, l.after.before = l.after, l.before
	if f.turn == l {
		f.turn = l.after
	}
	if f.turn == l {
		f.turn = nil
	}
	if f.ranked {
		f.ranking.remove(l)
	}
	delete(f.lines, l.tenant)
	if len(f.lines) == 0 && f.most > maxSpare { // a map keeps the memory of what is deleted
		f.lines, f.most = map[string]*line[E]{}, 0
	}
	f.spareLines.put(l)
}
