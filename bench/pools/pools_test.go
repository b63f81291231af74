package pools

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/panjf2000/ants/v2"

	"github.com/sluicegate/sluice/work"
)

const queue = 65_536

// A contender runs tasks with workers. submit waits for a place; wait returns when all that was submitted has been run, and ends the workers.
type contender struct {
	name string
	new  func(tb testing.TB, workers int, run func(int)) (submit func(int), wait func())
}

var contenders = []contender{
	{"work", newWork(1)},
	{"work-1000-tenants", newWork(1000)},
	{"channel", newChannel},
	{"ants", newAnts},
}

func newWork(tenants int) func(testing.TB, int, func(int)) (func(int), func()) {
	names := make([]string, tenants)
	for i := range names {
		names[i] = fmt.Sprintf("tenant-%04d", i)
	}
	return func(tb testing.TB, workers int, run func(int)) (func(int), func()) {
		p := work.New(work.Options[int]{Run: func(_ context.Context, i int) { run(i) }, Workers: workers, Queue: queue})
		ctx := context.Background()
		return func(i int) { check(tb, p.Submit(ctx, names[i%tenants], i)) }, func() { check(tb, p.Close(ctx)) }
	}
}

// newChannel is the pool that one writes in ten lines. It contains panics too, so that this costs all the same.
func newChannel(_ testing.TB, workers int, run func(int)) (func(int), func()) {
	tasks := make(chan int, queue)
	contained := func(i int) {
		defer func() { _ = recover() }()
		run(i)
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range tasks {
				contained(i)
			}
		})
	}
	return func(i int) { tasks <- i }, func() {
		close(tasks)
		wg.Wait()
	}
}

// newAnts is a pool of ants for a given function, which is the fastest that it has. It has no queue: who submits waits for a worker.
func newAnts(tb testing.TB, workers int, run func(int)) (func(int), func()) {
	var left sync.WaitGroup
	p, err := ants.NewPoolWithFuncGeneric(workers, func(i int) {
		defer left.Done()
		run(i)
	})
	check(tb, err)
	return func(i int) {
			left.Add(1)
			check(tb, p.Invoke(i))
		}, func() {
			left.Wait()
			p.Release()
		}
}

func check(tb testing.TB, err error) {
	if err != nil {
		tb.Helper()
		tb.Error(err)
	}
}

// TestContendersRun makes sure that what is compared does its job: each task is run once.
func TestContendersRun(t *testing.T) {
	const tasks = 100_000
	for _, c := range contenders {
		t.Run(c.name, func(t *testing.T) {
			var ran [tasks]atomic.Int32
			submit, wait := c.new(t, 8, func(i int) { ran[i].Add(1) })
			for i := range tasks {
				submit(i)
			}
			wait()
			for i := range ran {
				if n := ran[i].Load(); n != 1 {
					t.Fatalf("task %d ran %d times", i, n)
				}
			}
		})
	}
}

// BenchmarkNoop submits tasks that do nothing from as many goroutines as -cpu says, until all have been run.
func BenchmarkNoop(b *testing.B) {
	for _, workers := range []int{2, 8, 64, 1000} {
		for _, c := range contenders {
			b.Run(fmt.Sprintf("workers=%d/%s", workers, c.name), func(b *testing.B) {
				submit, wait := c.new(b, workers, func(int) {})
				b.ReportAllocs()
				defer cpuTime(b)()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						submit(i)
					}
				})
				wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
			})
		}
	}
}
