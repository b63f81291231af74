package work

import "container/heap"

// A ranking finds the longest line: a heap by size, which each line knows its place in.
type ranking[E any] []*line[E]

// longest must only be asked if there are lines.
func (r ranking[E]) longest() *line[E] { return r[0] }

func (r *ranking[E]) add(l *line[E]) { heap.Push(r, l) }

// fix is called when the size of l has changed.
func (r *ranking[E]) fix(l *line[E]) { heap.Fix(r, l.rank) }

func (r *ranking[E]) remove(l *line[E]) { heap.Remove(r, l.rank) }

// Len implements [heap.Interface].
func (r ranking[E]) Len() int { return len(r) }

// Less implements [heap.Interface].
func (r ranking[E]) Less(i, j int) bool { return r[i].size > r[j].size }

// Swap implements [heap.Interface].
func (r ranking[E]) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].rank, r[j].rank = i, j
}

// Push implements [heap.Interface].
func (r *ranking[E]) Push(x any) {
	l := x.(*line[E])
	l.rank = len(*r)
	*r = append(*r, l)
}

// Pop implements [heap.Interface]. It gives back memory when most of it is unused.
func (r *ranking[E]) Pop() any {
	last := len(*r) - 1
	l := (*r)[last]
	(*r)[last] = nil
	*r = (*r)[:last]
	if cap(*r) > maxSpare && last < cap(*r)/4 {
		*r = append(make(ranking[E], 0, cap(*r)/2), *r...)
	}
	return l
}
