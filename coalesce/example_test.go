package coalesce_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
)

// Eight requests for the same thing make one call.
func Example() {
	group := coalesce.New[string, string](coalesce.Config{})
	opt := &coalesce.Options[string, string]{
		Policy:   flush.Timer{After: time.Second},
		Hold:     time.Second,
		MaxBatch: 8, // the eighth doesn't let them wait any longer
		Fetch: func(_ context.Context, c *coalesce.Call[string, string]) (string, error) {
			fmt.Println("a call for", len(c.Items()))
			return strings.ToUpper(c.Items()[0]), nil
		},
	}
	answers := make([]string, 8)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			answers[i], _, _ = group.Do(context.Background(), "GET /api/resource", "resource", opt)
		})
	}
	wg.Wait()
	fmt.Println(answers)
	if err := group.Close(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// a call for 8
	// [RESOURCE RESOURCE RESOURCE RESOURCE RESOURCE RESOURCE RESOURCE RESOURCE]
}

// An answer that is for its leader only. The next request makes its own call.
func ExampleCall_PublishPrivate() {
	group := coalesce.New[string, string](coalesce.Config{})
	opt := &coalesce.Options[string, string]{
		Fetch: func(_ context.Context, c *coalesce.Call[string, string]) (string, error) {
			c.PublishPrivate("Set-Cookie: session=" + c.Items()[0])
			return "", nil
		},
	}
	for _, client := range []string{"alice", "bob"} {
		answer, outcome, err := group.Do(context.Background(), "GET /login", client, opt)
		fmt.Printf("%s: %q, %v, %v\n", client, answer, outcome.Role, err)
	}
	// Output:
	// alice: "Set-Cookie: session=alice", leader, <nil>
	// bob: "", alone, coalesce: the answer is not shareable
}

// An answer that is handed out when its call has only begun: here the lines of a file, which can be waited for.
func ExampleCall_Publish() {
	group := coalesce.New[string, <-chan string](coalesce.Config{})
	opt := &coalesce.Options[string, <-chan string]{
		Fetch: func(_ context.Context, c *coalesce.Call[string, <-chan string]) (<-chan string, error) {
			lines := make(chan string)
			c.Publish(lines)
			for i := range 3 {
				lines <- fmt.Sprint("line ", i+1)
			}
			close(lines)
			return lines, nil
		},
	}
	lines, _, err := group.Do(context.Background(), "file", "", opt)
	if err != nil {
		fmt.Println(err)
		return
	}
	for line := range lines {
		fmt.Println(line)
	}
	// Output:
	// line 1
	// line 2
	// line 3
}

// Events tell how many calls were saved.
func ExampleFlush() {
	events := make(chan coalesce.Flush, 10)
	group := coalesce.New[int, string](coalesce.Config{Observe: func(f coalesce.Flush) { events <- f }})
	opt := &coalesce.Options[int, string]{
		Policy: flush.Size{N: 3}, Hold: time.Minute, Tag: "/prices",
		Fetch: func(context.Context, *coalesce.Call[int, string]) (string, error) { return "42", nil },
	}
	for i := range 3 {
		go group.Do(context.Background(), "price", i, opt)
	}
	f := <-events
	fmt.Printf("%v: %d requests, served by %v, %d calls saved\n", f.Tag, f.Size, f.Reason, f.Answered-1)
	// Output:
	// /prices: 3 requests, served by policy, 2 calls saved
}

// Requests that differ go out as one array.
func ExampleGather() {
	g := coalesce.NewGather[string, int](coalesce.Config{})
	opt := &coalesce.GatherOptions[string, int]{
		Policy: flush.Size{N: 3}, Hold: time.Minute,
		Fetch: func(_ context.Context, words []string) ([]coalesce.Result[int], error) {
			fmt.Println("a batch of", len(words))
			results := make([]coalesce.Result[int], len(words))
			for i, w := range words {
				results[i].Value = len(w)
			}
			return results, nil
		},
	}
	words := []string{"a", "quick", "fox"}
	lengths := make([]int, len(words))
	var wg sync.WaitGroup
	for i, w := range words {
		wg.Go(func() { lengths[i], _, _ = g.Do(context.Background(), "length", w, opt) })
	}
	wg.Wait()
	fmt.Println(lengths)
	// Output:
	// a batch of 3
	// [1 5 3]
}
