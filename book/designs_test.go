package book_test

import (
	"cmp"
	"container/heap"
	"container/list"
	"slices"
	"testing"

	"github.com/sluicegate/sluice/book"
)

// The designs that the benchmarks compare the book with. They match as it does, and leave out what it keeps beside: the
// hash, the depth, the checks.

// A heapBook keeps all bids in one container/heap, and a map to find them.
type heapBook struct {
	last book.ID
	left uint64
	bids heapBids
	byID map[book.ID]*heapBid
}

type heapBid struct {
	book.Bid
	index int
}

type heapBids []*heapBid

func (h heapBids) Len() int { return len(h) }
func (h heapBids) Less(i, j int) bool {
	return h[i].Price > h[j].Price || h[i].Price == h[j].Price && h[i].ID < h[j].ID
}
func (h heapBids) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *heapBids) Push(x any) {
	b := x.(*heapBid)
	b.index = len(*h)
	*h = append(*h, b)
}
func (h *heapBids) Pop() any {
	last := len(*h) - 1
	b := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return b
}

func (h *heapBook) Bid(o book.Order) (book.Fill, error) {
	fill := bidFill(&h.last, &h.left, o)
	if fill.Open > 0 {
		b := &heapBid{Bid: book.Bid{ID: fill.ID, Owner: o.Owner, Price: o.Price, Volume: fill.Open}}
		heap.Push(&h.bids, b)
		h.byID[fill.ID] = b
	}
	return fill, nil
}

func (h *heapBook) Sell(volume uint64, fills []book.Fill) ([]book.Fill, error) {
	for volume > 0 && len(h.bids) > 0 {
		b := h.bids[0]
		fills = append(fills, serve(&b.Bid, &volume))
		if b.Volume == 0 {
			heap.Pop(&h.bids)
			delete(h.byID, b.ID)
		}
	}
	h.left += volume
	return fills, nil
}

func (h *heapBook) Cancel(id book.ID) (book.Bid, bool) {
	b := h.byID[id]
	if b == nil {
		return book.Bid{}, false
	}
	heap.Remove(&h.bids, b.index)
	delete(h.byID, id)
	return b.Bid, true
}

// A sliceBook keeps all bids in one sorted slice, the next to be served at its end, and a map to find them.
type sliceBook struct {
	last book.ID
	left uint64
	bids []*sliceBid
	byID map[book.ID]*sliceBid
}

type sliceBid struct{ book.Bid }

func (s *sliceBook) search(b *sliceBid) int {
	i, _ := slices.BinarySearchFunc(s.bids, b, func(a, b *sliceBid) int {
		return cmp.Or(cmp.Compare(a.Price, b.Price), cmp.Compare(b.ID, a.ID))
	})
	return i
}

func (s *sliceBook) Bid(o book.Order) (book.Fill, error) {
	fill := bidFill(&s.last, &s.left, o)
	if fill.Open > 0 {
		b := &sliceBid{book.Bid{ID: fill.ID, Owner: o.Owner, Price: o.Price, Volume: fill.Open}}
		s.bids = slices.Insert(s.bids, s.search(b), b)
		s.byID[fill.ID] = b
	}
	return fill, nil
}

func (s *sliceBook) Sell(volume uint64, fills []book.Fill) ([]book.Fill, error) {
	for volume > 0 && len(s.bids) > 0 {
		last := len(s.bids) - 1
		b := s.bids[last]
		fills = append(fills, serve(&b.Bid, &volume))
		if b.Volume == 0 {
			s.bids = slices.Delete(s.bids, last, last+1)
			delete(s.byID, b.ID)
		}
	}
	s.left += volume
	return fills, nil
}

func (s *sliceBook) Cancel(id book.ID) (book.Bid, bool) {
	b := s.byID[id]
	if b == nil {
		return book.Bid{}, false
	}
	i := s.search(b)
	s.bids = slices.Delete(s.bids, i, i+1)
	delete(s.byID, id)
	return b.Bid, true
}

// A levelsBook keeps its prices in a sorted slice, the best at its end, each with a container/list of bids.
type levelsBook struct {
	last   book.ID
	left   uint64
	levels []*listLevel
	byID   map[book.ID]*list.Element
}

type listLevel struct {
	price uint64
	bids  list.List // of *book.Bid
}

func newLevelsBook() *levelsBook { return &levelsBook{byID: map[book.ID]*list.Element{}} }

func (l *levelsBook) search(price uint64) (int, bool) {
	return slices.BinarySearchFunc(l.levels, price, func(a *listLevel, price uint64) int { return cmp.Compare(a.price, price) })
}

func (l *levelsBook) Bid(o book.Order) (book.Fill, error) {
	fill := bidFill(&l.last, &l.left, o)
	if fill.Open > 0 {
		i, found := l.search(o.Price)
		if !found {
			l.levels = slices.Insert(l.levels, i, &listLevel{price: o.Price})
		}
		b := &book.Bid{ID: fill.ID, Owner: o.Owner, Price: o.Price, Volume: fill.Open}
		l.byID[fill.ID] = l.levels[i].bids.PushBack(b)
	}
	return fill, nil
}

func (l *levelsBook) Sell(volume uint64, fills []book.Fill) ([]book.Fill, error) {
	for volume > 0 && len(l.levels) > 0 {
		i := len(l.levels) - 1
		e := l.levels[i].bids.Front()
		b := e.Value.(*book.Bid)
		fills = append(fills, serve(b, &volume))
		if b.Volume == 0 {
			l.remove(i, e)
		}
	}
	l.left += volume
	return fills, nil
}

func (l *levelsBook) Cancel(id book.ID) (book.Bid, bool) {
	e := l.byID[id]
	if e == nil {
		return book.Bid{}, false
	}
	b := e.Value.(*book.Bid)
	i, _ := l.search(b.Price)
	l.remove(i, e)
	return *b, true
}

func (l *levelsBook) remove(i int, e *list.Element) {
	level := l.levels[i]
	delete(l.byID, level.bids.Remove(e).(*book.Bid).ID)
	if level.bids.Len() == 0 {
		l.levels = slices.Delete(l.levels, i, i+1)
	}
}

func bidFill(last *book.ID, left *uint64, o book.Order) book.Fill {
	*last++
	n := min(o.Volume, *left)
	*left -= n
	return book.Fill{ID: *last, Owner: o.Owner, Price: o.Price, Volume: n, Open: o.Volume - n}
}

func serve(b *book.Bid, volume *uint64) book.Fill {
	n := min(*volume, b.Volume)
	b.Volume -= n
	*volume -= n
	return book.Fill{ID: b.ID, Owner: b.Owner, Price: b.Price, Volume: n, Open: b.Volume}
}

// TestDesignsAgree makes sure that the benchmarks compare like with like.
func TestDesignsAgree(t *testing.T) {
	c, m := newCrowd(2), newModel(0)
	xs := make([]exchange, len(designs))
	for i, d := range designs {
		xs[i] = d.make()
	}
	for range 5000 {
		command := c.next(m)
		if command.kind == reprice || command.order.Volume == 0 && command.kind != cancel {
			continue
		}
		want := m.ref.apply(command)
		for i, x := range xs {
			var got reply
			switch command.kind {
			case bid:
				got.fill, got.err = x.Bid(command.order)
			case sell:
				got.fills, got.err = x.Sell(command.order.Volume, nil)
			case cancel:
				got.bid, got.ok = x.Cancel(command.id)
			}
			if !got.equal(want) {
				t.Fatalf("%s: %+v: got %+v, want %+v", designs[i].name, command, got, want)
			}
		}
	}
}
