package learn

import "time"

// A callEnd is when a call under way ends, and how long it took then.
type callEnd struct {
	at, took time.Duration
}

// A callHeap has the calls under way, the one that ends first on top. Where all take equally long, pushing and popping are the end of a queue and
// its beginning, nearly.
type callHeap []callEnd

// next returns when the first one ends, or never.
func (h callHeap) next() time.Duration {
	if len(h) == 0 {
		return never
	}
	return h[0].at
}

func (h *callHeap) push(c callEnd) {
	*h = append(*h, c)
	q := *h
	i := len(q) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if q[parent].at <= c.at {
			break
		}
		q[i] = q[parent]
		i = parent
	}
	q[i] = c
}

// pop removes the first one and returns how long it took.
func (h *callHeap) pop() time.Duration {
	q := *h
	took, last := q[0].took, q[len(q)-1]
	q = q[:len(q)-1]
	*h = q
	if len(q) == 0 {
		return took
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= len(q) {
			break
		}
		if child+1 < len(q) && q[child+1].at < q[child].at {
			child++
		}
		if last.at <= q[child].at {
			break
		}
		q[i] = q[child]
		i = child
	}
	q[i] = last
	return took
}
