package work_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/work"
)

// paused returns a pool without workers.
func paused(opt options) *pool {
	p := work.New(opt)
	p.Resize(0)
	return p
}

// TestOneRound: who comes after 100,000 tasks of another is served within a round, with as many workers as there may be.
func TestOneRound(t *testing.T) {
	const many = 100_000
	for _, workers := range []int{1, 8} {
		for _, weight := range []int{1, 3} {
			t.Run(fmt.Sprintf("workers=%d/weight=%d", workers, weight), func(t *testing.T) {
				weights := map[string]int{"a": weight}
				opt := options{Workers: workers, Queue: many + 10, Weight: func(tenant string) int { return weights[tenant] }}
				bubble(t, opt, func(t *testing.T, p *pool, f *floor) {
					for i := range many {
						submit(t, p, "a", i)
					}
					f.next(5) // somewhere in a turn of a
					submit(t, p, "b", -1, -2, -3)
					for _, b := range []int{-1, -2, -3} {
						if started := f.next(weight + 1); !slices.Contains(started, b) {
							t.Errorf("%v were started, not %d", started, b)
						}
					}
				})
			})
		}
	}
}

// TestShares: as long as all have tasks, each round starts as many of each as its weight says.
func TestShares(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const rounds = 10
		weights := rapid.SliceOfN(rapid.IntRange(1, 9), 1, 8).Draw(rt, "weights")
		var submitted, started []int
		for tenant, w := range weights {
			submitted = append(submitted, slices.Repeat([]int{tenant}, w*rounds)...)
		}
		p := paused(options{
			Queue:  len(submitted),
			Weight: func(tenant string) int { return weights[tenant[0]-'a'] },
			Run:    func(_ context.Context, tenant int) { started = append(started, tenant) },
		})
		for _, tenant := range rapid.Permutation(submitted).Draw(rt, "order") {
			submit(t, p, string('a'+rune(tenant)), tenant)
		}
		p.Resize(1)
		if err := p.Close(t.Context()); err != nil {
			rt.Fatal(err)
		}
		for r, size := 0, len(submitted)/rounds; r < rounds; r++ {
			for tenant, w := range weights {
				if n := count(started[r*size:(r+1)*size], tenant); n != w {
					rt.Fatalf("round %d started %d of tenant %d, want %d", r, n, tenant, w)
				}
			}
		}
	})
}

func count(in []int, v int) (n int) {
	for _, w := range in {
		if w == v {
			n++
		}
	}
	return n
}

// TestTurnsAreNotSavedUp: a tenant that had nothing to do for long gets no more than its weight in a round afterwards.
func TestTurnsAreNotSavedUp(t *testing.T) {
	bubble(t, options{Workers: 1, Weight: func(string) int { return 2 }}, func(t *testing.T, p *pool, f *floor) {
		submit(t, p, "a", 0, 1, 2, 3, 4, 5, 6, 7)
		f.next(3) // b has nothing
		submit(t, p, "b", -1)
		f.next(3) // b had one of its two
		submit(t, p, "b", -2, -3, -4)
		want := []int{0, 1, 2, 3, 4, 5, -1, 6, 7, -2}
		f.next(3)
		if !slices.Equal(f.order(), want) {
			t.Errorf("%v, want %v", f.order(), want)
		}
	})
}

// TestBlockedInOneRound: with a thousand calls of Submit of a tenant waiting for a place, one of another tenant is let in next.
func TestBlockedInOneRound(t *testing.T) {
	bubble(t, options{Workers: 1, Queue: 2}, func(t *testing.T, p *pool, f *floor) {
		submit(t, p, "a", 0)
		f.now()
		submit(t, p, "a", 1, 2)
		for i := range 1000 {
			call(t, p, "a", 3+i)
		}
		b := call(t, p, "b", -1)
		if s := p.Stats(); s.Blocked != 1001 || s.Depth != 2 || b.done {
			t.Fatalf("%+v", s)
		}
		f.next(2)
		if !b.done || b.err != nil {
			t.Fatalf("done %v, error %v", b.done, b.err)
		}
		if started := f.next(2); !slices.Contains(started, -1) {
			t.Errorf("%v were started", started)
		}
	})
}

// TestWeightOfNow: a weight that changes is heeded from the next Submit on.
func TestWeightOfNow(t *testing.T) {
	weight := 1
	bubble(t, options{Workers: 1, Weight: func(tenant string) int {
		if tenant == "a" {
			return weight
		}
		return -5 // counts as 1
	}}, func(t *testing.T, p *pool, f *floor) {
		submit(t, p, "a", 1)
		f.now() // which has forgotten a
		submit(t, p, "b", -1, -2, -3, -4)
		submit(t, p, "a", 2, 3, 4)
		f.next(2)
		weight = 2
		submit(t, p, "a", 5)
		f.next(5)
		if want := []int{1, -1, 2, -2, 3, 4, -3, 5}; !slices.Equal(f.order(), want) {
			t.Errorf("%v, want %v", f.order(), want)
		}
	})
}
