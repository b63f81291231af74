// Package arrivals records when requests arrive, for a sample of keys, so that a flush policy can be trained on the traffic it is to serve.
//
// # What is sampled
//
// What is held is a fixed number of keys, each with its latest arrivals. Which keys those are decides what is learned, so the rule is meant to be
// fair in two ways:
//
//   - Of the requests in an interval whose keys are not held one is drawn, each with the same chance, and its key is held from the end of the
//     interval on. So a key is drawn in proportion to its traffic, which is how much it matters to the cost of a policy: busy keys soon are
//     held, and those that are rarely asked for are there as often as all of them together have requests. A burst counts with all its
//     requests.
//   - It takes the place of a key that is held, each again with the same chance. So how long a key is held does not depend on its arrivals,
//     and what is recorded of it is no more regular, and no busier, than what is not. Forgetting the quietest key, say, would leave
//     only keys without pauses to learn from.
//
// As long as there is room every key is held. With 64 keys and 10 s, the defaults, and more keys than that, one is held for some ten minutes.
//
// # Identity
//
// Keys are hashes that the caller seeds anew in each process: they tell keys apart within one dump, and nothing about requests. Nothing else of a
// request is kept but the time and the route, which is from the configuration.
package arrivals

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Options bound a recorder, which takes at most 8 bytes for each time of each key. Zero values mean the defaults.
type Options struct {
	Keys  int           // keys that are held; 64
	Times int           // arrivals of each, the latest; 8192
	Every time.Duration // the interval of which one key is drawn; 10 s
}

// Recorder holds arrivals. Make one with New; its methods are safe for concurrent use.
type Recorder struct {
	keys, times int
	every       time.Duration
	start       time.Time
	random      func(n uint64) uint64 // one of 0 to n−1, each as likely; safe for concurrent use

	held   atomic.Pointer[map[uint64]*recording] // never changed, only replaced
	passed atomic.Uint64                         // requests of this interval whose keys are not held
	due    atomic.Int64                          // when the interval ends, since start; long ago while there is room

	mu    sync.Mutex // held while held is replaced
	drawn candidate
	order []uint64 // the keys of held
}

// A candidate is the request that is drawn, as far as the interval has come.
type candidate struct {
	there bool
	key   uint64
	route string
}

// A recording is a ring of the arrivals of a key.
type recording struct {
	route string

	mu    sync.Mutex
	times []time.Duration // since the recorder's start; grows up to the bound, then goes round
	next  int             // the oldest, once it has gone round
}

// New returns a recorder that holds nothing.
func New(opts Options) *Recorder {
	r := &Recorder{keys: 64, times: 8192, every: 10 * time.Second, start: time.Now(), random: rand.Uint64N}
	if opts.Keys > 0 {
		r.keys = opts.Keys
	}
	if opts.Times > 0 {
		r.times = opts.Times
	}
	if opts.Every > 0 {
		r.every = opts.Every
	}
	r.held.Store(&map[uint64]*recording{})
	r.due.Store(math.MinInt64)
	return r
}

// Note records that a request for the key has arrived. It is O(1), and allocates only while a recording grows to its bound. The route is that of
// the first request noted of a key.
func (r *Recorder) Note(key uint64, route string, now time.Time) {
	at := now.Sub(r.start)
	if rec, ok := (*r.held.Load())[key]; ok {
		rec.add(at, r.times)
		return
	}
	r.pass(key, route, at)
}

// pass lets a request whose key is not held take part in the draw: the i-th takes the place of the candidate with a chance of 1/i, and so in
// the end each is the candidate with the same chance (Vitter's algorithm R with a reservoir of one).
func (r *Recorder) pass(key uint64, route string, at time.Duration) {
	if int64(at) >= r.due.Load() && r.turn(key, route, at) {
		return
	}
	if r.random(r.passed.Add(1)) != 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drawn = candidate{there: true, key: key, route: route}
}

// turn ends the interval, unless another request has done so. While there is room it holds the key of this request at once, and reports true.
func (r *Recorder) turn(key uint64, route string, at time.Duration) (held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.order) < r.keys {
		r.holdLocked(key, route).add(at, r.times)
		return true
	}
	if int64(at) < r.due.Load() {
		return false
	}
	if r.drawn.there {
		r.holdLocked(r.drawn.key, r.drawn.route)
	}
	r.drawn = candidate{}
	r.passed.Store(0)
	r.due.Store(int64(at + r.every))
	return false
}

// holdLocked makes the key held, and returns its recording. The map is copied: that is rare, and looking a key up stays free of locks.
func (r *Recorder) holdLocked(key uint64, route string) *recording {
	old := *r.held.Load()
	if rec, ok := old[key]; ok {
		return rec
	}
	next := make(map[uint64]*recording, r.keys)
	for k, rec := range old {
		next[k] = rec
	}
	if len(r.order) < r.keys {
		r.order = append(r.order, key)
	} else {
		i := r.random(uint64(r.keys))
		delete(next, r.order[i])
		r.order[i] = key
	}
	rec := &recording{route: route}
	next[key] = rec
	r.held.Store(&next)
	return rec
}

func (rec *recording) add(at time.Duration, most int) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(rec.times) < most {
		rec.times = append(rec.times, at)
		return
	}
	rec.times[rec.next] = at
	rec.next = (rec.next + 1) % most
}
