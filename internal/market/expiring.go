package market

// An expiring table keeps values under ids, in the order in which they came. Each is there for the same time, so the first in the order is
// the first to go. Not safe for concurrent use.
type expiring[V any] struct {
	keep uint64 // milliseconds
	ids  map[ID]uint32
	rows paged[row[V]] // row 0 is the list's ends: next is the oldest, prev the newest
	free uint32        // a list of rows that are not used, by next
}

type row[V any] struct {
	id         ID
	at         uint64
	prev, next uint32
	value      V
}

func newExpiring[V any](keep uint64) expiring[V] {
	t := expiring[V]{keep: keep, ids: map[ID]uint32{}}
	t.rows.grow()
	return t
}

func (t *expiring[V]) len() int { return len(t.ids) }

// get returns the value of an id if its time has not passed.
func (t *expiring[V]) get(id ID, now uint64) (*V, bool) {
	i, ok := t.ids[id]
	if !ok || t.expired(i, now) {
		return nil, false
	}
	return &t.rows.at(i).value, true
}

func (t *expiring[V]) expired(i uint32, now uint64) bool { return t.rows.at(i).at+t.keep <= now }

// put adds an id that is not there. Times never fall from one put to the next.
func (t *expiring[V]) put(id ID, at uint64, v V) {
	i := t.free
	if i != 0 {
		t.free = t.rows.at(i).next
	} else {
		i = uint32(t.rows.len())
		t.rows.grow()
	}
	ends := t.rows.at(0)
	*t.rows.at(i) = row[V]{id: id, at: at, prev: ends.prev, value: v}
	t.rows.at(ends.prev).next = i
	ends.prev = i
	t.ids[id] = i
}

// has reports whether an id is in the table, though its time may have passed.
func (t *expiring[V]) has(id ID) bool {
	_, ok := t.ids[id]
	return ok
}

// remove removes an id that is in the table and returns its row.
func (t *expiring[V]) remove(id ID) row[V] {
	i := t.ids[id]
	r := t.rows.at(i)
	removed := *r
	t.rows.at(r.prev).next = r.next
	t.rows.at(r.next).prev = r.prev
	*r = row[V]{next: t.free}
	t.free = i
	delete(t.ids, id)
	return removed
}

// oldest returns the first id in the order if its time has passed.
func (t *expiring[V]) oldest(now uint64) (id ID, passed bool) {
	i := t.rows.at(0).next
	if i == 0 || !t.expired(i, now) {
		return ID{}, false
	}
	return t.rows.at(i).id, true
}

// due returns when the first in the order goes, 0 if the table is empty.
func (t *expiring[V]) due() uint64 {
	i := t.rows.at(0).next
	if i == 0 {
		return 0
	}
	return t.rows.at(i).at + t.keep
}

// all calls f with each row, oldest first.
func (t *expiring[V]) all(f func(r *row[V])) {
	for i := t.rows.at(0).next; i != 0; i = t.rows.at(i).next {
		f(t.rows.at(i))
	}
}
