package e2e_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/anishathalye/porcupine"
)

// A plainBook is a market as the rules tell it, and as slow as that: every sale looks through every bid. It never changes: apply returns
// another one.
type plainBook struct {
	bids      []plainBid // open, in the order in which they came
	left      uint64
	allocated map[string]uint64 // of all who ever bid
	last      uint64            // the highest id so far
	keys      map[string]plainOrder
}

type plainBid struct {
	marketBid
	user string
}

// A plainOrder is what was answered under a key.
type plainOrder struct {
	order  marketOp
	answer marketAnswer
}

func (b plainBook) clone() plainBook {
	b.bids, b.allocated, b.keys = slices.Clone(b.bids), maps.Clone(b.allocated), maps.Clone(b.keys)
	if b.allocated == nil {
		b.allocated, b.keys = map[string]uint64{}, map[string]plainOrder{}
	}
	return b
}

// apply returns the book after an operation, and its answer. id is what the operation's bid shall be called, if it makes one.
func (b plainBook) apply(o marketOp, id uint64) (plainBook, marketAnswer) {
	switch o.kind {
	case "allocation", "bids", "book":
		return b, b.read(o)
	}
	b = b.clone()
	if o.kind == "cancel" {
		a := b.cancel(o.id)
		return b, a
	}
	if o.key == "" {
		a := b.order(o, id)
		return b, a
	}
	if known, ok := b.keys[o.key]; !ok {
		b.keys[o.key] = plainOrder{o, b.order(o, id)}
	} else if known.order != o {
		return b, marketAnswer{status: http.StatusUnprocessableEntity}
	}
	return b, b.keys[o.key].answer
}

// order changes the book, which is the caller's own.
func (b *plainBook) order(o marketOp, id uint64) marketAnswer {
	a := marketAnswer{status: http.StatusOK, rest: o.volume}
	if o.volume == 0 {
		return a
	}
	if o.kind == "buy" {
		b.allocated[o.user] += 0
		b.bids = append(b.bids, plainBid{marketBid{id, o.price, o.volume, o.volume}, o.user})
		b.last = max(b.last, id)
		a.id = id
	} else {
		b.left += o.volume
	}
	for b.left > 0 && len(b.bids) > 0 {
		best := 0
		for i := range b.bids {
			if b.bids[i].Price > b.bids[best].Price {
				best = i
			}
		}
		n := min(b.left, b.bids[best].Open)
		b.left -= n
		b.bids[best].Open -= n
		b.allocated[b.bids[best].user] += n
		a.allocated += n
		a.rest -= n
		if b.bids[best].Open == 0 {
			b.bids = slices.Delete(b.bids, best, best+1)
		}
	}
	return a
}

func (b *plainBook) cancel(id uint64) marketAnswer {
	i := slices.IndexFunc(b.bids, func(bid plainBid) bool { return bid.ID == id })
	if i < 0 {
		return marketAnswer{status: http.StatusNotFound}
	}
	bid := b.bids[i]
	b.bids = slices.Delete(b.bids, i, i+1)
	return marketAnswer{status: http.StatusOK, id: id, allocated: bid.Volume - bid.Open, rest: bid.Open}
}

func (b plainBook) read(o marketOp) marketAnswer {
	if o.kind == "book" {
		return marketAnswer{status: http.StatusOK, text: fmt.Sprint(b.depth())}
	}
	allocated, known := b.allocated[o.user]
	if !known {
		return marketAnswer{status: http.StatusNotFound}
	}
	if o.kind == "allocation" {
		return marketAnswer{status: http.StatusOK, text: strconv.FormatUint(allocated, 10)}
	}
	return marketAnswer{status: http.StatusOK, text: fmt.Sprint(b.of(o.user))}
}

func (b plainBook) of(user string) (bids []marketBid) {
	for _, bid := range b.bids {
		if bid.user == user {
			bids = append(bids, bid.marketBid)
		}
	}
	return bids
}

func (b plainBook) depth() marketDepth {
	d := marketDepth{Left: b.left, Bids: uint64(len(b.bids))}
	at := map[uint64]marketLevel{}
	for _, bid := range b.bids {
		l := at[bid.Price]
		at[bid.Price] = marketLevel{bid.Price, l.Volume + bid.Open, l.Bids + 1}
		d.Open += bid.Open
	}
	d.Levels = slices.SortedFunc(maps.Values(at), func(a, b marketLevel) int { return cmp.Compare(b.Price, a.Price) })
	d.Prices = uint64(len(d.Levels))
	return d
}

// plainModel lets porcupine ask a plain book. The ids of bids are the market's choice, but they rise.
var plainModel = porcupine.Model{
	Init: func() any { return plainBook{} },
	Step: func(state, input, output any) (bool, any) {
		b, o, a := state.(plainBook), input.(marketOp), output.(marketAnswer)
		_, again := b.keys[o.key]
		next, want := b.apply(o, a.id)
		fresh := o.kind == "buy" && o.volume > 0 && !again
		return a == want && (!fresh || a.id > b.last), next
	},
	Equal:             func(a, b any) bool { return reflect.DeepEqual(a, b) },
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v -> %+v", input, output) },
	DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
}
