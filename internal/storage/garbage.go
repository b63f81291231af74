package storage

import (
	"container/list"
	"iter"
)

// garbage is blobs that nothing refers to any more, and that are in the store until a node has deleted them, in the order in which they came.
// Not safe for concurrent use.
type garbage struct {
	blobs *list.List // of BlobID
	by    map[BlobID]*list.Element
	sums  uint64 // of the digests
}

func newGarbage() garbage { return garbage{blobs: list.New(), by: map[BlobID]*list.Element{}} }

func (g *garbage) len() int { return len(g.by) }

func (g *garbage) has(id BlobID) bool { return g.by[id] != nil }

func (g *garbage) add(id BlobID) {
	if g.has(id) {
		return
	}
	g.by[id] = g.blobs.PushBack(id)
	g.sums += digestBlob(3, id)
}

func (g *garbage) remove(id BlobID) {
	if e := g.by[id]; e != nil {
		g.blobs.Remove(e)
		delete(g.by, id)
		g.sums -= digestBlob(3, id)
	}
}

// all yields the blobs, those first that came first.
func (g *garbage) all() iter.Seq[BlobID] {
	return func(yield func(BlobID) bool) {
		for e := g.blobs.Front(); e != nil && yield(e.Value.(BlobID)); e = e.Next() {
		}
	}
}
