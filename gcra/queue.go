package gcra

import "math"

// A queue orders the entries of a shard by TAT, lowest first: a binary heap whose keys may lag behind. TATs mostly grow, and nobody takes a
// lock for that, so due is a lower bound of the TAT, brought up to date when it gets to the top (settle). An entry that was refunded may
// have a higher due than TAT; it counts as it was before the refund until the top is past that.
type queue[K comparable] []queued[K]

type queued[K comparable] struct {
	due   int64
	entry *entry[K]
}

// settle brings the top up to date and reports whether it already was.
func (q queue[K]) settle() bool {
	top := &q[0]
	tat := plain(top.entry.tat.Load()) // entries in the queue are never dead: they are killed and popped under one lock
	fresh := tat <= top.due
	top.due = tat
	q.down(0)
	return fresh
}

func (q *queue[K]) push(due int64, e *entry[K]) {
	h := *q
	if len(h) == cap(h) { // append would leave up to half unused
		h = append(make(queue[K], 0, len(h)+len(h)/8+4), h...)
	}
	h = append(h, queued[K]{due, e})
	*q = h
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if h[parent].due <= h[i].due {
			return
		}
		h[parent], h[i] = h[i], h[parent]
		i = parent
	}
}

// pop takes out the top. It gives back memory when most of it is unused.
func (q *queue[K]) pop() {
	h := *q
	last := len(h) - 1
	h[0], h[last] = h[last], queued[K]{}
	h = h[:last]
	if cap(h) > 64 && len(h) < cap(h)/4 {
		h = append(make(queue[K], 0, cap(h)/2), h...)
	}
	h.down(0)
	*q = h
}

func (q queue[K]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(q) {
			return
		}
		if right := child + 1; right < len(q) && q[right].due < q[child].due {
			child = right
		}
		if q[i].due <= q[child].due {
			return
		}
		q[i], q[child] = q[child], q[i]
		i = child
	}
}

// lowest is a lower bound of all TATs but those of refunded entries.
func (q queue[K]) lowest() int64 {
	if len(q) == 0 {
		return math.MaxInt64
	}
	return q[0].due
}
