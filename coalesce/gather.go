package coalesce

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// ErrLength means that a batch of [Gather] was answered with more or fewer results than it has items.
var ErrLength = errors.New("coalesce: wrong number of results")

// A Result is the answer to one item.
type Result[O any] struct {
	Value O
	Err   error
}

// GatherOptions say how requests are gathered into batches. They must not be copied or changed once they are in use.
type GatherOptions[I, O any] struct {
	Policy   Policy        // see Options
	Hold     time.Duration // see Options
	MaxBatch int           // see Options
	Tag      any           // see Options

	// Fetch sends a batch. It must return one result for each item, in the same order. The items are in the order of arrival.
	Fetch func(ctx context.Context, items []I) ([]Result[O], error)
	// OneByOne makes the items of a batch that failed as a whole, or has the wrong number of results, be fetched again, each in a batch of its
	// own; they are answered when all are done. Only say so if an item may be sent twice. If not, and if Fetch panicked, all waiters of the
	// batch get the error.
	OneByOne bool
	// Parallel is how many items are fetched at once then; 0 means 8.
	Parallel int

	once  sync.Once
	inner Options[*ticket[I], []Result[O]]
}

// A ticket is an item and its place in the batch.
type ticket[I any] struct {
	item  I
	place int         // set by the fetch before it answers
	left  atomic.Bool // nobody waits for it any more
}

// A Gather merges distinct requests of a key into batches: each waits in a slot like those of a [Group], but all that wait are sent, as one
// array, and each gets its own result. It is safe for concurrent use; the zero value is not usable, see [NewGather].
//
// There is no relaxed mode, because a batch that was sent can't be joined, and nothing is remembered as not shareable.
type Gather[I, O any] struct {
	group *Group[*ticket[I], []Result[O]]
}

// NewGather returns a Gather without keys. MaxBytes and Remember of cfg have no meaning.
func NewGather[I, O any](cfg Config) *Gather[I, O] {
	return &Gather[I, O]{group: New[*ticket[I], []Result[O]](cfg)}
}

// Do returns the result of the item. A key is what batches are made for: requests with the same key may be in the same. If ctx ends before the
// batch is sent the item is not in it. Errors are as in [Group.Do]; with [ErrOverflow] and [ErrClosed] the item was not sent.
func (g *Gather[I, O]) Do(ctx context.Context, key string, item I, opt *GatherOptions[I, O]) (O, Outcome, error) {
	opt.once.Do(opt.prepare)
	t := &ticket[I]{item: item}
	results, outcome, err := g.group.Do(ctx, key, t, &opt.inner)
	if err != nil {
		t.left.Store(true)
		var none O
		return none, outcome, err
	}
	r := results[t.place]
	return r.Value, outcome, r.Err
}

// Stats returns what the Gather has at hand.
func (g *Gather[I, O]) Stats() Stats { return g.group.Stats() }

// Close ends it as [Group.Close] does.
func (g *Gather[I, O]) Close(ctx context.Context) error { return g.group.Close(ctx) }

func (opt *GatherOptions[I, O]) prepare() {
	opt.inner = Options[*ticket[I], []Result[O]]{
		Policy: opt.Policy, Hold: opt.Hold, MaxBatch: opt.MaxBatch, Tag: opt.Tag,
		Fetch: func(ctx context.Context, c *Call[*ticket[I], []Result[O]]) ([]Result[O], error) {
			return opt.fetch(ctx, c.Items())
		},
	}
}

// fetch sends the batch. Those who have left between the flush and now are not in it.
func (opt *GatherOptions[I, O]) fetch(ctx context.Context, tickets []*ticket[I]) ([]Result[O], error) {
	present := make([]*ticket[I], 0, len(tickets))
	items := make([]I, 0, len(tickets))
	for _, t := range tickets {
		if !t.left.Load() {
			t.place = len(items)
			present = append(present, t)
			items = append(items, t.item)
		}
	}
	if len(items) == 0 {
		return nil, ctx.Err()
	}
	results, err := opt.send(ctx, items)
	if err == nil || !opt.OneByOne || len(items) == 1 || ctx.Err() != nil {
		return results, err
	}
	return opt.sendEach(ctx, present), nil
}

// send sends one batch and checks the number of results.
func (opt *GatherOptions[I, O]) send(ctx context.Context, items []I) ([]Result[O], error) {
	results, err := opt.Fetch(ctx, items)
	if err != nil {
		return nil, err
	}
	if len(results) != len(items) {
		return nil, fmt.Errorf("%w: %d for %d items", ErrLength, len(results), len(items))
	}
	return results, nil
}

// sendEach sends each item in a batch of its own, some of them at once, and leaves out those that nobody waits for.
func (opt *GatherOptions[I, O]) sendEach(ctx context.Context, tickets []*ticket[I]) []Result[O] {
	results := make([]Result[O], len(tickets))
	for i := range results {
		results[i].Err = &PanicError{Value: ErrGoexit} // stays if that takes the worker away
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(or(opt.Parallel, 8), len(tickets)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(tickets)); i = next.Add(1) - 1 {
				if !tickets[i].left.Load() {
					results[i] = opt.sendOne(ctx, tickets[i].item)
				}
			}
		})
	}
	workers.Wait()
	return results
}

// sendOne sends one item. A panic is that item's error.
func (opt *GatherOptions[I, O]) sendOne(ctx context.Context, item I) (r Result[O]) {
	defer func() {
		if value := recover(); value != nil {
			r.Err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	results, err := opt.send(ctx, []I{item})
	if err != nil {
		return Result[O]{Err: err}
	}
	return results[0]
}
