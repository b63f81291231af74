package market

// orders remembers of each open bid what the book does not. A bid's owner in the book is the number of its order here, so that a fill leads
// to its order and its user without a search. The orders of a user are a list, the oldest first. Not safe for concurrent use.
type orders struct {
	rows paged[order] // row 0 is not used
	free uint32       // a list of rows that are not used, by next
	live int
}

type order struct {
	id         uint64 // 0: the row is not used
	volume     uint64 // as it was bid for
	time       uint64
	user       uint32
	prev, next uint32
}

func (o *orders) init() { o.rows.grow() }

// upcoming is the number that add will give.
func (o *orders) upcoming() uint32 {
	if o.free != 0 {
		return o.free
	}
	return uint32(o.rows.len())
}

// add puts an order at the end of the list of its user.
func (o *orders) add(u *user, v order) {
	i := o.upcoming()
	if i == o.free {
		o.free = o.rows.at(i).next
	} else {
		o.rows.grow()
	}
	*o.rows.at(i) = v
	o.link(u, i)
}

// link puts order i at the end of the list of u.
func (o *orders) link(u *user, i uint32) {
	v := o.rows.at(i)
	v.prev, v.next = u.tail, 0
	if u.tail == 0 {
		u.head = i
	} else {
		o.rows.at(u.tail).next = i
	}
	u.tail = i
	u.bids++
	o.live++
}

// remove takes order i off the list of u, its user.
func (o *orders) remove(u *user, i uint32) {
	v := o.rows.at(i)
	if v.prev == 0 {
		u.head = v.next
	} else {
		o.rows.at(v.prev).next = v.next
	}
	if v.next == 0 {
		u.tail = v.prev
	} else {
		o.rows.at(v.next).prev = v.prev
	}
	u.bids--
	*v = order{next: o.free}
	o.free = i
	if o.live--; o.live == 0 {
		o.rows.cut(1)
		o.free = 0
	}
}
