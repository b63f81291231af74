package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// places are the addresses of a market's nodes, "" for one that is away. Safe for concurrent use.
type places struct{ urls []atomic.Pointer[string] }

func newPlaces(n int) *places { return &places{make([]atomic.Pointer[string], n)} }

func (p *places) set(i int, url string) { p.urls[i].Store(&url) }

// at returns the address of node i or, if that is away, of one after it.
func (p *places) at(i int) string {
	for k := range p.urls {
		if url := p.urls[(i+k)%len(p.urls)].Load(); url != nil && *url != "" {
			return *url
		}
	}
	return ""
}

// A trade is an order or a cancellation, and what was answered in the end.
type trade struct {
	marketOp
	answer marketAnswer
	body   string
	unsure bool // an earlier attempt may have had an effect: only a cancellation can't be repeated safely
}

// A trader sends orders one after the other. Each has a key and is repeated until it is answered, by whichever node is there.
type trader struct {
	t      *testing.T
	name   string
	number int
	places *places
	client *http.Client
	rand   *rand.Rand
	score  *atomic.Int64 // answers, of all traders
	trades []trade
	open   []uint64 // own bids that were open when they were answered
}

// A bourse is traders at work.
type bourse struct {
	t        *testing.T
	places   *places
	traders  []*trader
	answered atomic.Int64
	all      sync.WaitGroup
	stop     context.CancelFunc
}

// startBourse lets n traders work until finish.
func startBourse(t *testing.T, n int, p *places) *bourse {
	ctx, cancel := context.WithCancel(context.Background())
	c := &bourse{t: t, places: p, stop: cancel}
	t.Cleanup(func() { c.stop() })
	for i := range n {
		tr := &trader{t: t, name: fmt.Sprint("trader-", i), number: i, places: p, client: newClient(t),
			rand: rand.New(rand.NewPCG(uint64(i), rand.Uint64())), score: &c.answered}
		tr.client.Timeout = patience / 2
		c.traders = append(c.traders, tr)
		c.all.Go(func() {
			for ctx.Err() == nil && !t.Failed() {
				tr.trade()
			}
		})
	}
	return c
}

// progress waits for so many further answers.
func (c *bourse) progress(answers int64) {
	c.t.Helper()
	want := c.answered.Load() + answers
	await(c.t, fmt.Sprint(answers, " further answers"), func() bool { return c.t.Failed() || c.answered.Load() >= want })
}

// finish waits until all that was asked is answered, which takes a node that is there.
func (c *bourse) finish() []trade {
	c.stop()
	c.all.Wait()
	var all []trade
	for _, tr := range c.traders {
		all = append(all, tr.trades...)
	}
	return all
}

func (tr *trader) trade() {
	o := marketOp{kind: "buy", user: tr.name, volume: 1 + tr.rand.Uint64N(100), price: tr.rand.Uint64N(10)}
	switch k := tr.rand.IntN(20); {
	case k < 8:
		o = marketOp{kind: "sell", volume: 1 + tr.rand.Uint64N(120)}
	case k < 10 && len(tr.open) > 0:
		i := tr.rand.IntN(len(tr.open))
		o = marketOp{kind: "cancel", id: tr.open[i]}
		tr.open[i] = tr.open[len(tr.open)-1]
		tr.open = tr.open[:len(tr.open)-1]
	}
	if o.kind != "cancel" {
		o.key = fmt.Sprintf("%s-%d", tr.name, len(tr.trades))
	}
	done, ok := tr.insist(o)
	if !ok {
		return
	}
	tr.trades = append(tr.trades, done)
	tr.score.Add(1)
	if o.kind == "buy" && done.answer.rest > 0 {
		tr.open = append(tr.open, done.answer.id)
	}
	if o.key != "" && tr.rand.IntN(8) == 0 {
		tr.again(done)
	}
}

// insist repeats an operation until it is answered. Only a lost connection and a problem with status 503 are no answers.
func (tr *trader) insist(o marketOp) (trade, bool) {
	unsure := false
	deadline := time.Now().Add(2 * patience)
	for attempt := 0; !tr.t.Failed(); attempt++ {
		if time.Now().After(deadline) {
			tr.t.Errorf("%v is not answered", o)
			break
		}
		url := tr.places.at(tr.number + attempt)
		if url == "" {
			time.Sleep(time.Millisecond)
			continue
		}
		a, body, err := perform(tr.client, url, o)
		if err == nil && a.status != http.StatusServiceUnavailable {
			return tr.judge(trade{o, a, body, unsure})
		}
		if err == nil && !strings.Contains(body, `"type":`) {
			tr.t.Errorf("%v: 503 without a problem: %s", o, body)
		}
		unsure = true
		time.Sleep(time.Duration(1+tr.rand.IntN(4)) * time.Millisecond)
	}
	return trade{}, false
}

// judge checks what an answer says by itself.
func (tr *trader) judge(d trade) (trade, bool) {
	switch {
	case d.kind == "cancel" && d.answer.status == http.StatusNotFound:
	case d.answer.status != http.StatusOK:
		tr.t.Errorf("%v: %d %s", d.marketOp, d.answer.status, d.body)
		return d, false
	case d.kind != "cancel" && d.answer.allocated+d.answer.rest != d.volume:
		tr.t.Errorf("%v: the parts are not the whole: %s", d.marketOp, d.body)
	case d.kind != "sell" && d.answer.id == 0:
		tr.t.Errorf("%v: no id: %s", d.marketOp, d.body)
	}
	return d, true
}

// again repeats an order that was answered, under its key.
func (tr *trader) again(d trade) {
	if got, ok := tr.insist(d.marketOp); ok && got.body != d.body {
		tr.t.Errorf("%v was answered %s, and then %s", d.marketOp, d.body, got.body)
	}
}

// A marketFill is an event of GET /events.
type marketFill struct {
	Sequence, Time, Bid, Price, Volume, Open uint64
	Username                                 string
}

// A listener follows GET /events over nodes that come and go, and keeps every fill.
type listener struct {
	t      *testing.T
	places *places
	client *http.Client
	last   atomic.Uint64
	fills  []marketFill // fill n at n-1; the follower's own until it has ended
	done   chan struct{}
}

// listen follows the fills until the test or stop ends.
func listen(t *testing.T, p *places) (l *listener, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	l = &listener{t: t, places: p, client: newClient(t), done: make(chan struct{})}
	l.client.Timeout = 0
	go func() {
		defer close(l.done)
		for i := 0; ctx.Err() == nil; i++ {
			l.follow(ctx, p.at(i))
			time.Sleep(time.Millisecond)
		}
	}()
	stop = func() { cancel(); <-l.done }
	t.Cleanup(stop)
	return l, stop
}

// follow listens to one node from a few fills before the last, so that it sees what a restart made of them.
func (l *listener) follow(ctx context.Context, url string) {
	if url == "" {
		return
	}
	req, err := http.NewRequestWithContext(ctx, "GET", url+"/events", nil)
	if err != nil {
		l.t.Error(err)
		return
	}
	last := l.last.Load()
	req.Header.Set("Last-Event-ID", strconv.FormatUint(last-min(last, 3), 10))
	resp, err := l.client.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		l.t.Errorf("GET /events after %d: %s", last, resp.Status)
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan() && resp.StatusCode == http.StatusOK; {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			l.hear(data)
		}
	}
}

func (l *listener) hear(data string) {
	var f marketFill
	if err := json.Unmarshal([]byte(data), &f); err != nil {
		return // the end of the node cut it off
	}
	known := uint64(len(l.fills))
	switch {
	case f.Sequence == known+1:
		l.fills = append(l.fills, f)
		l.last.Store(f.Sequence)
	case f.Sequence == 0 || f.Sequence > known:
		l.t.Errorf("after fill %d came %s", known, data)
	case l.fills[f.Sequence-1] != f:
		l.t.Errorf("fill %d was %+v, and then %s", f.Sequence, l.fills[f.Sequence-1], data)
	}
}
