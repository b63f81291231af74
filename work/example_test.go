package work_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluicegate/sluice/work"
)

// One tenant has much to do, another a little, and it doesn't wait for all the other's.
func Example() {
	p := work.New(work.Options[string]{
		Run:   func(_ context.Context, task string) { fmt.Println(task) },
		Queue: 100,
	})
	p.Resize(0) // so that all are in the queue before the first starts
	ctx := context.Background()
	for i := range 4 {
		if err := p.Submit(ctx, "large", fmt.Sprint("large ", i)); err != nil {
			fmt.Println(err)
		}
	}
	if err := p.Submit(ctx, "small", "small 0"); err != nil {
		fmt.Println(err)
	}
	p.Resize(1)
	if err := p.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// large 0
	// small 0
	// large 1
	// large 2
	// large 3
}

// Who pays gets three times as much.
func ExampleOptions_weight() {
	var order strings.Builder
	p := work.New(work.Options[string]{
		Run: func(_ context.Context, task string) { order.WriteString(task) },
		Weight: func(tenant string) int {
			if tenant == "paying" {
				return 3
			}
			return 1
		},
	})
	p.Resize(0)
	ctx := context.Background()
	for range 6 {
		_ = p.Submit(ctx, "free", "f")
		_ = p.Submit(ctx, "paying", "P")
	}
	p.Resize(1)
	_ = p.Close(ctx)
	fmt.Println(&order)
	// Output: fPPPfPPPffff
}

// There is a place for who has few tasks, at the cost of who has many.
func ExampleOptions_shed() {
	p := work.New(work.Options[string]{
		Run:   func(_ context.Context, task string) { fmt.Println("run:", task) },
		Queue: 3,
		Full:  work.Shed,
		OnDrop: func(tenant, task string, why error) {
			fmt.Printf("dropped: %s of %s, as %v\n", task, tenant, why)
		},
	})
	p.Resize(0)
	ctx := context.Background()
	for _, task := range []string{"first", "second", "third", "fourth"} {
		if err := p.Submit(ctx, "greedy", task); err != nil {
			fmt.Println("not taken:", task)
		}
	}
	if err := p.Submit(ctx, "modest", "only"); err != nil {
		fmt.Println(err)
	}
	p.Resize(1)
	_ = p.Close(ctx)
	// Output:
	// not taken: fourth
	// dropped: third of greedy, as work: the queue is full
	// run: first
	// run: only
	// run: second
}

// With Block, who submits waits for a place as long as the context allows.
func ExamplePool_Submit() {
	p := work.New(work.Options[int]{Run: func(context.Context, int) {}, Queue: 1})
	p.Resize(0)
	fmt.Println(p.Submit(context.Background(), "tenant", 1))
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	fmt.Println(p.Submit(ctx, "tenant", 2))
	p.Resize(1)
	fmt.Println(p.Close(context.Background()))
	// Output:
	// <nil>
	// context deadline exceeded
	// <nil>
}

// The deadline is before the end of the work. The task that is running is asked to stop, and waited for with a second call.
func ExamplePool_Close() {
	running := make(chan struct{})
	p := work.New(work.Options[string]{
		Workers: 1,
		Run: func(ctx context.Context, task string) {
			close(running)
			<-ctx.Done()
			fmt.Println(task, "stops:", context.Cause(ctx))
		},
		OnDrop: func(_, task string, why error) { fmt.Println(task, "was not run:", why) },
	})
	for _, task := range []string{"one", "two"} {
		_ = p.Submit(context.Background(), "tenant", task)
	}
	<-running
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	err := p.Close(ctx)
	var unfinished *work.UnfinishedError
	if errors.As(p.Close(context.Background()), &unfinished) {
		fmt.Println(unfinished.NotRun, "not run,", unfinished.Cancelled, "cancelled")
	}
	fmt.Println(err)
	// Unordered output:
	// two was not run: work: closed
	// one stops: work: closed
	// 1 not run, 1 cancelled
	// work: closed with 1 tasks not run and 1 cancelled: context deadline exceeded
}

// What a dashboard shows.
func ExamplePool_Stats() {
	p := work.New(work.Options[int]{
		Workers: 2,
		Run:     func(_ context.Context, task int) { _ = 1 / task },
		OnPanic: func(tenant string, task int, value any, _ []byte) {
			fmt.Printf("task %d of %s: %v\n", task, tenant, value)
		},
	})
	for task := range 3 {
		_ = p.Submit(context.Background(), "tenant", task)
	}
	_ = p.Close(context.Background())
	s := p.Stats()
	fmt.Println(s.Accepted, "accepted,", s.Done, "done,", s.Panics, "panicked")
	// Output:
	// task 0 of tenant: runtime error: integer divide by zero
	// 3 accepted, 3 done, 1 panicked
}
