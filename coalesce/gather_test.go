package coalesce_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/coalesce"
)

type (
	gather        = coalesce.Gather[int, string]
	gatherOptions = coalesce.GatherOptions[int, string]
	result        = coalesce.Result[string]
)

var errOdd = errors.New("odd")

// double answers each item with its double, and odd ones with an error.
func double(_ context.Context, items []int) (rs []result, err error) {
	for _, i := range items {
		r := result{Value: fmt.Sprint(2 * i)}
		if i%2 == 1 {
			r = result{Err: errOdd}
		}
		rs = append(rs, r)
	}
	return rs, nil
}

// A gathered request.
type gathered struct {
	item  int
	value string
	err   error
}

// gatherAll sends the items at once, lets what happen meanwhile, and returns the answers in the order of the items. Items below 0 leave
// after 5 ms.
func gatherAll(t *testing.T, g *gather, opt *gatherOptions, items ...int) []gathered {
	answers := make([]gathered, len(items))
	var wg sync.WaitGroup
	for i, item := range items {
		wg.Go(func() {
			ctx := t.Context()
			if item < 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 5*ms)
				defer cancel()
			}
			v, _, err := g.Do(ctx, "key", item, opt)
			answers[i] = gathered{item, v, err}
		})
		synctest.Wait() // so that they arrive in this order
	}
	wg.Wait()
	return answers
}

// batches notes the batches that a fetch has got.
type batches struct {
	mu  sync.Mutex
	all [][]int
}

func (b *batches) add(items []int) {
	b.mu.Lock()
	b.all = append(b.all, items)
	b.mu.Unlock()
}

func TestGatherHandsBackByPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.NewGather[int, string](coalesce.Config{})
		var sent batches
		opt := &gatherOptions{Policy: wait{}, Hold: 10 * ms, MaxBatch: 5, Fetch: func(ctx context.Context, items []int) ([]result, error) {
			sent.add(items)
			return double(ctx, items)
		}}
		for _, a := range gatherAll(t, g, opt, 2, 4, 5, -6, 8, 10, 12) {
			switch {
			case a.item < 0:
				if !errors.Is(a.err, context.DeadlineExceeded) && a.value != "-12" {
					t.Errorf("%+v", a)
				}
			case a.item%2 == 1:
				if a.err != errOdd || a.value != "" {
					t.Errorf("%+v", a)
				}
			case a.value != fmt.Sprint(2*a.item) || a.err != nil:
				t.Errorf("%+v", a)
			}
		}
		if got := fmt.Sprint(sent.all); got != "[[2 4 5 -6 8] [10 12]]" {
			t.Errorf("batches %v", got)
		}
		if s := g.Stats(); s.Calls != 0 || s.Keys != 1 {
			t.Errorf("%+v", s)
		}
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if _, _, err := g.Do(t.Context(), "key", 1, opt); !errors.Is(err, coalesce.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestGatherLeavesOutWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.NewGather[int, string](coalesce.Config{})
		var sent batches
		opt := &gatherOptions{Policy: wait{}, Hold: 10 * ms, Fetch: func(ctx context.Context, items []int) ([]result, error) {
			sent.add(items)
			return double(ctx, items)
		}}
		as := gatherAll(t, g, opt, -2, 4, -6, 8)
		if as[1].value != "8" || as[3].value != "16" || !errors.Is(as[0].err, context.DeadlineExceeded) || !errors.Is(as[2].err, context.DeadlineExceeded) {
			t.Errorf("%+v", as)
		}
		if got := fmt.Sprint(sent.all); got != "[[4 8]]" {
			t.Errorf("batches %v", got)
		}
	})
}

// TestGatherWithABatchThatFailed: all get the error, or each its own.
func TestGatherWithABatchThatFailed(t *testing.T) {
	down := errors.New("down")
	for name, fail := range map[string]func([]int) ([]result, error){
		"failed":   func([]int) ([]result, error) { return nil, down },
		"too few":  func(items []int) ([]result, error) { return make([]result, len(items)-1), nil },
		"too many": func(items []int) ([]result, error) { return make([]result, len(items)+1), nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := coalesce.NewGather[int, string](coalesce.Config{})
				var sent batches
				var now, most atomic.Int32
				fetch := func(ctx context.Context, items []int) ([]result, error) {
					sent.add(items)
					if len(items) > 1 || items[0] == 0 {
						return fail(items)
					}
					if n := now.Add(1); n > most.Load() {
						most.Store(n)
					}
					defer now.Add(-1)
					time.Sleep(ms)
					return double(ctx, items)
				}
				all := &gatherOptions{MaxBatch: 5, Policy: wait{}, Hold: time.Second, Fetch: fetch}
				for _, a := range gatherAll(t, g, all, 1, 2, 3, 4, 5) {
					if a.value != "" || !errors.Is(a.err, down) && !errors.Is(a.err, coalesce.ErrLength) {
						t.Errorf("%+v", a)
					}
				}
				each := &gatherOptions{MaxBatch: 5, Policy: wait{}, Hold: time.Second, Fetch: fetch, OneByOne: true, Parallel: 2}
				sent.all = nil
				as := gatherAll(t, g, each, 1, 2, 0, 4, 6)
				for i, want := range []string{"", "4", "", "8", "12"} {
					if as[i].value != want || (as[i].err == nil) != (want != "") {
						t.Errorf("%+v, want %q", as[i], want)
					}
				}
				if as[0].err != errOdd || !errors.Is(as[2].err, down) && !errors.Is(as[2].err, coalesce.ErrLength) {
					t.Errorf("%+v", as)
				}
				if len(sent.all) != 6 || most.Load() != 2 {
					t.Errorf("batches %v, %d at once", sent.all, most.Load())
				}
			})
		})
	}
}

// TestGatherLoneItemIsNotSentTwice: a batch of one that failed has nothing to be taken apart.
func TestGatherLoneItemIsNotSentTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.NewGather[int, string](coalesce.Config{})
		var sent batches
		opt := &gatherOptions{OneByOne: true, Fetch: func(_ context.Context, items []int) ([]result, error) {
			sent.add(items)
			return nil, errOdd
		}}
		if as := gatherAll(t, g, opt, 2); as[0].err != errOdd || len(sent.all) != 1 {
			t.Errorf("%+v, batches %v", as, sent.all)
		}
	})
}

// TestGatherOneByOne: who has left meanwhile is not sent again, and a panic is the error of one.
func TestGatherOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.NewGather[int, string](coalesce.Config{})
		var sent batches
		opt := &gatherOptions{MaxBatch: 4, Policy: wait{}, Hold: time.Second, OneByOne: true, Parallel: 1}
		opt.Fetch = func(ctx context.Context, items []int) ([]result, error) {
			time.Sleep(10 * ms)
			sent.add(items)
			switch {
			case len(items) > 1:
				return nil, errOdd
			case items[0] == 4:
				panic("four")
			}
			return double(ctx, items)
		}
		as := gatherAll(t, g, opt, 2, -2, 4, 6)
		if as[0].value != "4" || !errors.Is(as[1].err, context.DeadlineExceeded) || !isPanic(as[2].err) || as[3].value != "12" {
			t.Errorf("%+v", as)
		}
		if got := fmt.Sprint(sent.all); got != "[[2 -2 4 6] [2] [4] [6]]" {
			t.Errorf("batches %v", got)
		}
	})
}

// TestGatherPanics: a batch that panics is not tried again; a worker that goes away leaves errors behind.
func TestGatherPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.NewGather[int, string](coalesce.Config{})
		var sent batches
		opt := &gatherOptions{MaxBatch: 2, Policy: wait{}, Hold: time.Second, OneByOne: true, Fetch: func(_ context.Context, items []int) ([]result, error) {
			sent.add(items)
			panic("oops")
		}}
		as := gatherAll(t, g, opt, 2, 4)
		if !isPanic(as[0].err) || !isPanic(as[1].err) || len(sent.all) != 1 {
			t.Errorf("%+v, batches %v", as, sent.all)
		}
		exits := &gatherOptions{MaxBatch: 3, Policy: wait{}, Hold: time.Second, OneByOne: true, Parallel: 1}
		exits.Fetch = func(ctx context.Context, items []int) ([]result, error) {
			if len(items) > 1 {
				return nil, errOdd
			}
			if items[0] == 4 {
				runtime.Goexit()
			}
			return double(ctx, items)
		}
		as = gatherAll(t, g, exits, 2, 4, 6)
		if as[0].value != "4" || !errors.Is(as[1].err, coalesce.ErrGoexit) || !errors.Is(as[2].err, coalesce.ErrGoexit) {
			t.Errorf("%+v", as)
		}
	})
}

// TestGatherAnyItems: each gets the answer to its own, whatever batches they are in, and whoever leaves.
func TestGatherAnyItems(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		items := rapid.SliceOfN(rapid.IntRange(-20, 100), 1, 40).Draw(rt, "items")
		broken := rapid.IntRange(0, 3).Draw(rt, "broken")
		opt := &gatherOptions{
			Policy: anyPolicy(rapid.Uint64().Draw(rt, "policy")), Hold: 10 * ms,
			MaxBatch: rapid.IntRange(0, 7).Draw(rt, "max batch"), OneByOne: true, Parallel: 3,
		}
		opt.Fetch = func(ctx context.Context, batch []int) ([]result, error) {
			time.Sleep(time.Duration(batch[0]&3) * ms)
			if len(batch) > 1 && batch[0]&3 < broken {
				return nil, errOdd
			}
			return double(ctx, batch)
		}
		synctest.Test(t, func(t *testing.T) {
			g := coalesce.NewGather[int, string](coalesce.Config{})
			for _, a := range gatherAll(t, g, opt, items...) {
				left := a.item < 0 && errors.Is(a.err, context.DeadlineExceeded)
				odd := a.item%2 == 1 && a.err == errOdd && a.value == ""
				right := a.item%2 != 1 && a.err == nil && a.value == fmt.Sprint(2*a.item)
				if !left && !odd && !right {
					rt.Errorf("%+v", a)
				}
			}
			if err := g.Close(t.Context()); err != nil {
				rt.Error(err)
			}
		})
	})
}
