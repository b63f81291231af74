// Package sim runs many nodes of the lease protocol in virtual time, without sockets: messages take time and get lost, nodes are cut off,
// die and come back without a memory, and their clocks show what they like.
package sim

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/lease"
)

// Config is a world. All of it is required.
type Config struct {
	Seed     uint64
	Nodes    int
	Keys     int
	Limit    func(key int) gcra.Limit
	Rate     float64 // requests per second, over all keys
	Zipf     float64 // exponent of the popularity of keys, above 1
	Spread   int     // how many nodes a key's requests come in on
	Duration time.Duration
	Latency  time.Duration // of a message, one way, at most
	Timeout  time.Duration // after which a node gives a call up
	// Trouble is how many nodes at a time, out of a thousand, are cut off from the ledger, and how many die per second.
	Trouble int
}

// Result is what happened.
type Result struct {
	Requests, Admitted, Refused int64
	Failed                      int64 // requests that a node could neither admit nor refuse, because its call got no answer
	Died                        int64 // requests that waited in a node that died
	Over                        int64 // tokens spent beyond the limit, in any window of time
	Ideal                       int64 // tokens that one limiter, asked at once and always, would have admitted
	BusyAdmitted, BusyIdeal     int64 // the same of keys asked for at least half more than they may have
	Calls                       int64 // messages to the ledger
	Elapsed                     time.Duration
	Deaths                      int64
}

// Unspent is the share of what could have been admitted and was not.
func Unspent(admitted, ideal int64) float64 {
	if ideal == 0 {
		return 0
	}
	return 1 - float64(admitted)/float64(ideal)
}

const micro = time.Microsecond

// world is the state of a run. Time advances in whole microseconds, as the ledger's does.
type world struct {
	Config
	rnd    *rand.Rand
	now    time.Duration
	events events
	seq    int64
	nodes  []*node
	keys   []key
	result Result
}

type key struct {
	limit       gcra.Limit
	interval    lease.Interval
	entry       lease.Entry
	spent       gcra.State // of all tokens spent anywhere, at the times they were
	ideal       gcra.State
	asked       int64
	admitted    int64
	wouldAdmit  int64
	initialized bool
}

type node struct {
	accounts map[int]*account
	offset   time.Duration // what its clock shows beyond the true time
	drift    float64       // and how much too fast it goes
	cut      bool
	life     int // how often it has died
}

// clock is what the node's clock shows.
func (n *node) clock(now time.Duration) time.Duration {
	return n.offset + now + time.Duration(float64(now)*n.drift)
}

type account struct {
	lease.Account
	waiting []int64
	call    int64 // number of the present call; a reply to another one comes too late
	prepaid int64 // tokens that were booked as spent when the ledger granted them
	watched bool  // a due event is under way
}

// An event happens at a time; those of the same time in the order they were made.
type event struct {
	at  time.Duration
	seq int64
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// Run plays the world to its end.
func Run(c Config) Result {
	w := &world{Config: c, rnd: rand.New(rand.NewPCG(c.Seed, 1)), keys: make([]key, c.Keys)}
	for range c.Nodes {
		w.nodes = append(w.nodes, &node{
			accounts: map[int]*account{},
			offset:   2*time.Hour + time.Duration(w.rnd.Int64N(int64(2*time.Hour)))/micro*micro,
			drift:    (w.rnd.Float64() - 0.5) / 1000,
		})
	}
	zipf := rand.NewZipf(w.rnd, c.Zipf, 1, uint64(c.Keys-1))
	w.after(0, w.trouble)
	w.after(time.Second, w.sweep)
	for next := time.Duration(0); next < c.Duration; next += w.gap() {
		w.runUntil(next)
		w.now = next
		w.request(int(zipf.Uint64()))
	}
	w.runUntil(c.Duration)
	return w.sum()
}

func (w *world) gap() time.Duration {
	return time.Duration(w.rnd.ExpFloat64() / w.Rate * float64(time.Second)).Round(micro)
}

func (w *world) runUntil(end time.Duration) {
	for len(w.events) > 0 && w.events[0].at <= end {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{w.now + d, w.seq, do})
}

func (w *world) sum() Result {
	r := &w.result
	r.Elapsed = w.Duration
	for i := range w.keys {
		k := &w.keys[i]
		r.Admitted += k.admitted
		r.Ideal += k.wouldAdmit
		if 2*k.asked >= 3*k.wouldAdmit && k.asked > 0 {
			r.BusyAdmitted += k.admitted
			r.BusyIdeal += k.wouldAdmit
		}
	}
	return *r
}

// key returns the state of key id.
func (w *world) key(id int) *key {
	k := &w.keys[id]
	if !k.initialized {
		interval, err := lease.NewInterval(w.Limit(id))
		if err != nil {
			panic(err)
		}
		*k = key{limit: w.Limit(id), interval: interval, initialized: true}
	}
	return k
}

// spend books n tokens of a key as spent at the present time.
func (w *world) spend(k *key, n int64) {
	var d gcra.Decision
	if k.spent, d = k.limit.Decide(k.spent, w.now, n); !d.Allowed {
		w.result.Over += n
	}
}
