package book_test

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/sluicegate/sluice/book"
)

// A reference is the book as one would explain it: a sorted list of bids, and a look through all of it for everything.
type reference struct {
	maxBids int
	last    uint64
	bids    []refBid // in the order in which they are served
	left    uint64
	sold    uint64
	open    uint64

	bought, cancelled uint64 // these two may wrap, as long as both sides of an equation do
}

type refBid struct {
	book.Bid
	place uint64
}

func (r *reference) sort(a, b refBid) int {
	return cmp.Or(cmp.Compare(b.Price, a.Price), cmp.Compare(a.place, b.place))
}

func (r *reference) put(bid refBid) {
	i, _ := slices.BinarySearchFunc(r.bids, bid, r.sort)
	r.bids = slices.Insert(r.bids, i, bid)
}

func (r *reference) Bid(o book.Order) (book.Fill, error) {
	fill := book.Fill{Owner: o.Owner, Price: o.Price, Volume: min(o.Volume, r.left)}
	fill.Open = o.Volume - fill.Volume
	if o.Volume == 0 {
		return fill, nil
	}
	open, carry := bits.Add64(r.open, fill.Open, 0)
	if carry != 0 {
		return book.Fill{}, book.ErrOverflow
	}
	if fill.Open > 0 && r.maxBids > 0 && len(r.bids) >= r.maxBids {
		return book.Fill{}, book.ErrFull
	}
	r.last++
	r.open, r.left = open, r.left-fill.Volume
	r.bought += o.Volume
	fill.ID = book.ID(r.last)
	if fill.Open > 0 {
		r.put(refBid{book.Bid{ID: fill.ID, Owner: o.Owner, Price: o.Price, Volume: fill.Open}, r.last})
	}
	return fill, nil
}

func (r *reference) Sell(volume uint64) ([]book.Fill, error) {
	sold, carry := bits.Add64(r.sold, volume, 0)
	if carry != 0 {
		return nil, book.ErrOverflow
	}
	r.sold = sold
	r.left += volume
	var fills []book.Fill
	for r.left > 0 && len(r.bids) > 0 {
		first := &r.bids[0]
		n := min(r.left, first.Volume)
		first.Volume -= n
		r.left -= n
		r.open -= n
		fills = append(fills, book.Fill{ID: first.ID, Owner: first.Owner, Price: first.Price, Volume: n, Open: first.Volume})
		if first.Volume == 0 {
			r.bids = slices.Delete(r.bids, 0, 1)
		}
	}
	return fills, nil
}

func (r *reference) find(id book.ID) int {
	return slices.IndexFunc(r.bids, func(b refBid) bool { return b.ID == id })
}

func (r *reference) Cancel(id book.ID) (book.Bid, bool) {
	i := r.find(id)
	if i < 0 {
		return book.Bid{}, false
	}
	bid := r.bids[i].Bid
	r.bids = slices.Delete(r.bids, i, i+1)
	r.open -= bid.Volume
	r.cancelled += bid.Volume
	return bid, true
}

func (r *reference) Reprice(id book.ID, price uint64) bool {
	i := r.find(id)
	if i < 0 {
		return false
	}
	bid := r.bids[i]
	if bid.Price == price {
		return true
	}
	r.last++
	bid.Price, bid.place = price, r.last
	r.bids = slices.Delete(r.bids, i, i+1)
	r.put(bid)
	return true
}

func (r *reference) All() []book.Bid {
	var list []book.Bid
	for _, b := range r.bids {
		list = append(list, b.Bid)
	}
	return list
}

func (r *reference) Depth() []book.Level {
	var list []book.Level
	for _, b := range r.bids {
		if n := len(list); n == 0 || list[n-1].Price != b.Price {
			list = append(list, book.Level{Price: b.Price})
		}
		l := &list[len(list)-1]
		l.Volume += b.Volume
		l.Bids++
	}
	return list
}
