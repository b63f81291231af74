// Package ordered keeps values under strings in the strings' order, byte by byte, so that pages of them can be listed from any place on.
//
// It is a B-tree of two levels: leaves of up to 512 keys, and one list of the leaves. Finding a key takes O(log n) comparisons, a page as many
// and its length; adding and removing move half a leaf of memory on average, and seldom the list, of which a million keys have 4,000.
package ordered

import (
	"iter"
	"slices"
	"strings"
)

const (
	maxLeaf = 512
	minLeaf = 64 // a leaf that falls below is joined with a neighbour
)

// List is values in the order of their keys. The zero value is empty. It is not safe for concurrent use, but any number of reads may go on at once.
type List[V any] struct {
	leaves [][]item[V] // none is empty
	n      int
}

type item[V any] struct {
	key   string
	value V
}

// Len returns how many there are.
func (l *List[V]) Len() int { return l.n }

// find returns where a key is, or would be added: the leaf, and the place in it. Without leaves it is 0, 0.
func (l *List[V]) find(key string) (leaf, at int, found bool) {
	leaf, found = slices.BinarySearchFunc(l.leaves, key, func(items []item[V], key string) int { return strings.Compare(items[0].key, key) })
	if found {
		return leaf, 0, true
	}
	if leaf == 0 {
		return 0, 0, false
	}
	leaf--
	at, found = slices.BinarySearchFunc(l.leaves[leaf], key, func(i item[V], key string) int { return strings.Compare(i.key, key) })
	return leaf, at, found
}

// Get returns the value of a key.
func (l *List[V]) Get(key string) (v V, ok bool) {
	leaf, at, found := l.find(key)
	if !found {
		return v, false
	}
	return l.leaves[leaf][at].value, true
}

// Put sets the value of a key, and returns the one that it had.
func (l *List[V]) Put(key string, v V) (old V, replaced bool) {
	leaf, at, found := l.find(key)
	if found {
		p := &l.leaves[leaf][at].value
		old, *p = *p, v
		return old, true
	}
	l.n++
	if len(l.leaves) == 0 {
		l.leaves = append(l.leaves, nil)
	}
	items := slices.Insert(l.leaves[leaf], at, item[V]{key, v})
	l.leaves[leaf] = items
	if len(items) > maxLeaf {
		l.split(leaf)
	}
	return old, false
}

// split makes two leaves of one. A leaf that is filled in order, as by a snapshot, stays nearly full.
func (l *List[V]) split(leaf int) {
	items := l.leaves[leaf]
	half := len(items) / 2
	if leaf == len(l.leaves)-1 {
		half = len(items) * 7 / 8
	}
	right := append(make([]item[V], 0, maxLeaf+1), items[half:]...)
	clear(items[half:])
	l.leaves[leaf] = items[:half]
	l.leaves = slices.Insert(l.leaves, leaf+1, right)
}

// Delete removes a key, and returns the value that it had.
func (l *List[V]) Delete(key string) (old V, found bool) {
	leaf, at, found := l.find(key)
	if !found {
		return old, false
	}
	l.n--
	old = l.leaves[leaf][at].value
	l.leaves[leaf] = slices.Delete(l.leaves[leaf], at, at+1)
	l.shrink(leaf)
	return old, true
}

// shrink removes a leaf that is empty, and joins one that is small with a neighbour that has room.
func (l *List[V]) shrink(leaf int) {
	switch items := l.leaves[leaf]; {
	case len(items) == 0:
		l.leaves = slices.Delete(l.leaves, leaf, leaf+1)
	case len(items) >= minLeaf:
	case leaf > 0 && len(l.leaves[leaf-1])+len(items) <= maxLeaf/2:
		l.join(leaf - 1)
	case leaf+1 < len(l.leaves) && len(l.leaves[leaf+1])+len(items) <= maxLeaf/2:
		l.join(leaf)
	}
}

func (l *List[V]) join(leaf int) {
	l.leaves[leaf] = append(l.leaves[leaf], l.leaves[leaf+1]...)
	l.leaves = slices.Delete(l.leaves, leaf+1, leaf+2)
}

// From yields the keys that are not below key, in order, with their values. The list must not change meanwhile.
func (l *List[V]) From(key string) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		leaf, at, _ := l.find(key)
		for ; leaf < len(l.leaves); leaf, at = leaf+1, 0 {
			for _, i := range l.leaves[leaf][at:] {
				if !yield(i.key, i.value) {
					return
				}
			}
		}
	}
}

// All yields all keys in order, with their values. The list must not change meanwhile.
func (l *List[V]) All() iter.Seq2[string, V] { return l.From("") }
