package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"
)

// marketTotals are what GET /stats tells.
type marketTotals struct {
	Users, Bids, Sales, Cancelled, Fills uint64
	OpenBids                             uint64 `json:"open_bids"`
	Open, Left, Sold, Allocated          uint64
	Sequence                             uint64 `json:"log_sequence"`
	Hash                                 string `json:"log_hash"`
}

// fetch reads JSON.
func fetch(t *testing.T, url string, v any) {
	t.Helper()
	r := get(t, url)
	if r.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %s", url, r.Status, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), v); err != nil {
		t.Fatalf("GET %s: %v in %s", url, err, r.body)
	}
}

// A marketBooks is all that can be read of a market at rest.
type marketBooks struct {
	totals      marketTotals
	depth       marketDepth
	bids        map[uint64]marketBid // open, by id
	owner       map[uint64]string
	allocations map[string]uint64
}

// readBooks reads a market at rest.
func readBooks(t *testing.T, url string) marketBooks {
	t.Helper()
	b := marketBooks{bids: map[uint64]marketBid{}, owner: map[uint64]string{}, allocations: map[string]uint64{}}
	fetch(t, url+"/stats", &b.totals)
	fetch(t, url+"/book?limit=1000", &b.depth)
	for next := "0"; next != ""; {
		var page struct {
			Allocations []struct {
				Username  string
				Allocated uint64
			}
			Next string
		}
		fetch(t, url+"/allocations?limit=7&after="+next, &page)
		for _, a := range page.Allocations {
			b.allocations[a.Username] = a.Allocated
		}
		next = page.Next
	}
	for user := range b.allocations {
		b.readBids(t, url, user)
	}
	return b
}

func (b *marketBooks) readBids(t *testing.T, url, user string) {
	t.Helper()
	for next := "0"; next != ""; {
		var page struct {
			Bids []marketBid
			Next string
		}
		fetch(t, url+"/bids?limit=100&after="+next+"&username="+user, &page)
		for _, bid := range page.Bids {
			if other, twice := b.owner[bid.ID]; twice {
				t.Errorf("bid %d is open for %s and %s", bid.ID, other, user)
			}
			b.bids[bid.ID], b.owner[bid.ID] = bid, user
		}
		next = page.Next
	}
}

// A ledger is what traders were told, added up.
type ledger struct {
	t         *testing.T
	bought    map[uint64]trade // by id
	sold      uint64
	sales     uint64
	matched   uint64           // what the answers to bids and sales said was allocated
	cancelled map[uint64]trade // by the id of the bid
	filled    map[uint64]uint64
	got       map[string]uint64
	fills     uint64 // their volume
}

// newLedger enters what was answered and the fills that were told. Every order was answered, so nothing else may be in the market.
func newLedger(t *testing.T, trades []trade, fills []marketFill) *ledger {
	l := &ledger{t: t, bought: map[uint64]trade{}, cancelled: map[uint64]trade{}, filled: map[uint64]uint64{}, got: map[string]uint64{}}
	for _, d := range trades {
		switch d.kind {
		case "buy":
			if _, twice := l.bought[d.answer.id]; twice {
				t.Errorf("two bids are called %d", d.answer.id)
			}
			l.bought[d.answer.id] = d
			l.got[d.user] += 0
			l.matched += d.answer.allocated
		case "sell":
			l.sold += d.volume
			l.sales++
			l.matched += d.answer.allocated
		case "cancel":
			l.cancelled[d.id] = d
		}
	}
	for _, f := range fills {
		l.enter(f)
	}
	return l
}

func (l *ledger) enter(f marketFill) {
	d, ok := l.bought[f.Bid]
	if !ok || d.user != f.Username || d.price != f.Price {
		l.t.Errorf("fill %+v is of the bid %v", f, d.marketOp)
	}
	l.filled[f.Bid] += f.Volume
	l.got[f.Username] += f.Volume
	l.fills += f.Volume
	if open := d.volume - l.filled[f.Bid]; l.filled[f.Bid] > d.volume || f.Open != open {
		l.t.Errorf("fill %+v leaves %d of %d open", f, open, d.volume)
	}
}

// check holds the ledger against a market at rest: nothing that was answered is lost, nothing is there twice.
func (l *ledger) check(b marketBooks) {
	l.t.Helper()
	for id, d := range l.bought {
		l.checkBid(b, id, d)
	}
	for id, bid := range b.bids {
		if _, ok := l.bought[id]; !ok {
			l.t.Errorf("nobody was told of the open bid %+v of %s", bid, b.owner[id])
		}
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"allocations by user", fmt.Sprint(b.allocations), fmt.Sprint(l.got)},
		{"bids", b.totals.Bids, uint64(len(l.bought))},
		{"sales", b.totals.Sales, l.sales},
		{"volume sold", b.totals.Sold, l.sold},
		{"volume sold, allocated or left", b.totals.Allocated + b.totals.Left, l.sold},
		{"volume allocated, by the fills", b.totals.Allocated, l.fills},
		{"volume allocated, by the answers", b.totals.Allocated, l.matched},
		{"left or open", min(b.totals.Left, b.totals.Open), uint64(0)},
		{"the levels of the book", fmt.Sprint(b.depth), fmt.Sprint(b.plain().depth())},
	} {
		if c.got != c.want {
			l.t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	l.checkCancelled(b)
}

// checkBid: what was bid for is open, allocated or cancelled.
func (l *ledger) checkBid(b marketBooks, id uint64, d trade) {
	l.t.Helper()
	open, filled := b.bids[id].Open, l.filled[id]
	var cancelled uint64
	if c, asked := l.cancelled[id]; asked {
		switch {
		case c.answer.status == http.StatusOK && (c.answer.id != id || c.answer.allocated != filled || c.answer.rest == 0):
			l.t.Errorf("the cancelled bid %d got %d, and the answer was %s", id, filled, c.body)
		case c.answer.status == http.StatusOK:
			cancelled = c.answer.rest
		case c.unsure: // an attempt whose answer was lost may have cancelled it
			cancelled = d.volume - filled
		}
	}
	if open+filled+cancelled != d.volume || filled < d.answer.allocated {
		l.t.Errorf("%v: %d open, %d filled, %d cancelled; answered %s, cancelled %+v", d.marketOp, open, filled, cancelled, d.body, l.cancelled[id])
	}
	if bid, ok := b.bids[id]; ok && (bid.Price != d.price || bid.Volume != d.volume || b.owner[id] != d.user) {
		l.t.Errorf("%v is in the book as %+v of %s", d.marketOp, bid, b.owner[id])
	}
}

func (l *ledger) checkCancelled(b marketBooks) {
	l.t.Helper()
	var sure, unsure uint64
	for _, c := range l.cancelled {
		if c.answer.status == http.StatusOK {
			sure++
		} else if c.unsure {
			unsure++
		}
	}
	if n := b.totals.Cancelled; n < sure || n > sure+unsure {
		l.t.Errorf("%d bids were cancelled, want %d, and at most %d more", n, sure, unsure)
	}
}

// plain is the open bids and the supply as a plain book.
func (b marketBooks) plain() (p plainBook) {
	p.left = b.totals.Left
	for id, bid := range b.bids {
		p.bids = append(p.bids, plainBid{bid, b.owner[id]})
	}
	return p
}

// checkAgain repeats orders that were answered: the answers are the same.
func checkAgain(t *testing.T, url string, trades []trade) {
	t.Helper()
	client := newClient(t)
	for _, d := range trades {
		if d.key == "" {
			continue
		}
		if _, body, err := perform(client, url, d.marketOp); err != nil || body != d.body {
			t.Errorf("%v was answered %s, and then %s, %v", d.marketOp, d.body, body, err)
		}
	}
}

// sample returns about n of the trades, evenly spread.
func sample(trades []trade, n int) (some []trade) {
	for i := 0; i < len(trades); i += 1 + len(trades)/n {
		some = append(some, trades[i])
	}
	return some
}

// String says where the log is.
func (t marketTotals) String() string {
	return "sequence " + strconv.FormatUint(t.Sequence, 10) + ", hash " + t.Hash
}
