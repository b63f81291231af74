package coalesce

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Config says what a [Group] is to keep within. The zero value is good for most.
type Config struct {
	MaxWaiters int   // requests that wait, in all slots and calls together; 0 means 65,536
	MaxKeys    int   // slots and calls under way; 0 means 16,384
	MaxBytes   int64 // bytes that results hold, as told by Call.Hold; 0 means 64 MiB
	MaxIdle    int   // keys remembered that have no slot or call, for some 300 bytes beside the key each; 0 means 32,768

	// Remember is how long a key counts as not shareable after an answer that was private; 0 means 120 s.
	Remember time.Duration
	// Observe, if not nil, is told each event, by the goroutine where it happens and without a lock: it should be quick.
	Observe func(Flush)
}

// Options say how a request is coalesced. They belong to a route, say. The first waiter of a slot determines those of the slot and its call;
// of the others only Relaxed counts. They must not change while in use: take new ones instead, at any time.
type Options[I, V any] struct {
	// Policy decides when a slot is served; nil means at once.
	Policy Policy
	// Hold is the longest that a slot waits, whatever the policy says; 0 means not at all.
	Hold time.Duration
	// MaxBatch is the most waiters of a slot: when they are there it is served, whatever the policy says; 0 means no such cap.
	MaxBatch int
	// Relaxed lets a request join a call that is in flight. If not, it is strict: it is answered by a call that began after it came.
	Relaxed bool
	// Fetch makes the call, in a goroutine of its own. Its context is that of the group: it ends when nobody waits for the answer any more,
	// when the group is closed in haste, and when Fetch has returned; of the waiters' contexts it knows nothing. What it returns is the
	// answer, unless it has published one.
	Fetch func(ctx context.Context, c *Call[I, V]) (V, error)
	// Tag is handed on to [Flush].
	Tag any
}

// A Group coalesces requests by key. It is safe for concurrent use; the zero value is not usable, see [New].
type Group[I, V any] struct {
	cfg          Config
	idlePerShard int
	seed         maphash.Seed
	start        time.Time
	latency      sharedLatency
	shards       [shardCount]shard[I, V]

	ctx     context.Context // of all calls
	cancel  context.CancelCauseFunc
	running sync.WaitGroup // goroutines of the group; only added to under the lock of a shard that isn't closed

	_       [64]byte // what follows is written with every request
	waiters atomic.Int64
	keys    atomic.Int64 // slots and calls
	calls   atomic.Int64
	bytes   atomic.Int64
	short   atomic.Bool // bytes were not to be had since some were given back last
}

// New returns a group without keys. Close it to get rid of its goroutines.
func New[I, V any](cfg Config) *Group[I, V] {
	cfg.MaxWaiters = or(cfg.MaxWaiters, 1<<16)
	cfg.MaxKeys = or(cfg.MaxKeys, 1<<14)
	cfg.MaxBytes = or(cfg.MaxBytes, 64<<20)
	cfg.MaxIdle = or(cfg.MaxIdle, 1<<15)
	cfg.Remember = or(cfg.Remember, 120*time.Second)
	g := &Group[I, V]{cfg: cfg, seed: maphash.MakeSeed(), start: time.Now()}
	g.idlePerShard = max(1, cfg.MaxIdle/shardCount)
	g.ctx, g.cancel = context.WithCancelCause(context.Background())
	for i := range g.shards {
		g.shards[i].init()
	}
	return g
}

// or returns v, or the default if v is 0.
func or[T ~int | ~int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

func (g *Group[I, V]) now() time.Duration { return time.Since(g.start) }

func (g *Group[I, V]) at(t time.Duration) time.Time { return g.start.Add(t) }

// reserve adds n to what is there, unless that would exceed limit.
func reserve(there *atomic.Int64, n, limit int64) bool {
	for {
		now := there.Load()
		if n > limit-now {
			return false
		}
		if there.CompareAndSwap(now, now+n) {
			return true
		}
	}
}

func (g *Group[I, V]) shardOf(hash uint64) *shard[I, V] { return &g.shards[hash%shardCount] }

// Do returns the answer of a call for the key that may answer this request: it waits in a slot, or joins a call (see [Options]).
//
// It returns early if ctx ends, with ctx.Err(), unless the answer is there at that moment. With [ErrOverflow], [ErrNotShared] and [ErrClosed]
// the request was not coalesced, and the caller makes its own call. Any other error is that of the call, and all its waiters get the same; a
// fetch that panicked is a [*PanicError].
//
// The key is copied if it is kept. All requests of a key must mean the same to Fetch; what tells requests apart belongs in the key.
func (g *Group[I, V]) Do(ctx context.Context, key string, item I, opt *Options[I, V]) (V, Outcome, error) {
	if err := ctx.Err(); err != nil {
		var none V
		return none, Outcome{}, err
	}
	w := &waiter[I]{item: item, arrived: g.now()}
	hash := maphash.String(g.seed, key)
	p, err := g.place(hash, key, w, opt)
	if err != nil {
		return g.pass(hash, w, opt, 0, err)
	}
	if p.ask {
		p.call.consult(p.state, p.number)
	}
	v, o, err := p.call.wait(ctx, w, p.joined)
	if errors.Is(err, ErrNotShared) {
		return g.pass(hash, w, opt, o.Waited, err)
	}
	if p.joined {
		g.single(hash, w, opt, JoinedCall, o, err)
	}
	return v, o, err
}

// pass is what Do returns for a request that makes its own call.
func (g *Group[I, V]) pass(hash uint64, w *waiter[I], opt *Options[I, V], waited time.Duration, err error) (V, Outcome, error) {
	var none V
	o := Outcome{Role: Alone, Reason: Passthrough, Waited: waited}
	g.single(hash, w, opt, Passthrough, o, err)
	return none, o, err
}

// single tells the event of a single request.
func (g *Group[I, V]) single(hash uint64, w *waiter[I], opt *Options[I, V], r Reason, o Outcome, err error) {
	if g.cfg.Observe == nil {
		return
	}
	g.cfg.Observe(Flush{
		Key: hash, Tag: opt.Tag, Reason: r, Size: 1, Waiting: o.Waited, Err: err,
		Opened: g.at(w.arrived), Ended: g.at(w.arrived + o.Waited),
	})
}
