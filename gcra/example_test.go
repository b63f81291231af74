package gcra_test

import (
	"fmt"
	"time"

	"github.com/sluicegate/sluice/gcra"
)

func Example() {
	// 100 per second, and bursts of 21.
	limit, err := gcra.NewLimit(100, time.Second, 20)
	if err != nil {
		fmt.Println(err)
		return
	}
	limiter, err := gcra.New[string](gcra.Config{Limit: limit})
	if err != nil {
		fmt.Println(err)
		return
	}
	d, err := limiter.Allow("client-7")
	fmt.Println(d.Allowed, d.Remaining, "of", d.Limit, err)
	// Output: true 20 of 21 <nil>
}

// The time may be passed, as a duration since the limiter's start: here a client tries three times, and then waits as long as it is told.
func ExampleLimiter_AllowAt() {
	limiter, err := gcra.New[string](gcra.Config{Limit: gcra.MustLimit(7, time.Second, 1)})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := 10 * time.Second
	for range 3 {
		d := limiter.AllowAt("a", now)
		fmt.Println(d.Allowed, d.Remaining, d.RetryAfter)
		now += d.RetryAfter
	}
	fmt.Println(limiter.AllowAt("a", now).Allowed)
	// Output:
	// true 1 0s
	// true 0 0s
	// false 0 142.857143ms
	// true
}

// The cost of a download is known when it is over.
func ExampleLimiter_Charge() {
	perSecond := gcra.MustLimit(1_000_000, time.Second, 4_999_999) // bytes
	limiter, err := gcra.New[string](gcra.Config{Limit: perSecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	before := limiter.PeekAt("a", 0, 1)
	after := limiter.ChargeAt("a", 0, 8_000_000)
	fmt.Println(before.Allowed, before.Remaining)
	fmt.Println(after.Allowed, after.RetryAfter)
	// Output:
	// true 5000000
	// false 3s
}

// A client with a limit of its own, and a limit that changes while the program runs.
func ExampleLimiter_WithLimit() {
	limiter, err := gcra.New[string](gcra.Config{Limit: gcra.MustLimit(10, time.Second, 9)})
	if err != nil {
		fmt.Println(err)
		return
	}
	special := map[string]*gcra.Limiter[string]{
		"partner": limiter.WithLimit(gcra.MustLimit(1000, time.Second, 999)),
	}
	of := func(client string) *gcra.Limiter[string] {
		if l, ok := special[client]; ok {
			return l
		}
		return limiter
	}
	fmt.Println(of("partner").AllowNAt("partner", 0, 500).Remaining)
	fmt.Println(of("guest").AllowNAt("guest", 0, 10).Remaining)

	limiter = limiter.WithLimit(gcra.MustLimit(20, time.Second, 9)) // from now on
	fmt.Println(of("guest").PeekAt("guest", 0, 10).RetryAfter)      // what was spent is not forgotten
	// Output:
	// 500
	// 0
	// 1s
}

func ExampleAll() {
	limiter, err := gcra.New[string](gcra.Config{Limit: gcra.MustLimit(100, time.Second, 99)})
	if err != nil {
		fmt.Println(err)
		return
	}
	perClient := limiter.WithLimit(gcra.MustLimit(1, time.Second, 0))
	now := 5 * time.Second
	for range 2 {
		requests := []gcra.Request[string]{
			{Limiter: limiter, Key: "everybody", N: 1},
			{Limiter: perClient, Key: "client 7", N: 1},
		}
		fmt.Println(gcra.All(now, requests), requests[0].Decision.Remaining, requests[1].Decision.RetryAfter)
	}
	// Output:
	// true 99 0s
	// false 99 1s
}

// The owner of a limiter gives back memory now and then, a slice at a time.
func ExampleLimiter_Sweep() {
	limiter, err := gcra.New[int](gcra.Config{Limit: gcra.MustLimit(1, time.Second, 0)})
	if err != nil {
		fmt.Println(err)
		return
	}
	for client := range 1500 {
		limiter.AllowAt(client, 0)
	}
	now := time.Hour
	for more := true; more; {
		var forgotten int
		forgotten, more = limiter.Sweep(now-time.Minute, 1000) // and wait for the next tick of a time.Ticker
		fmt.Println(forgotten, more)
	}
	fmt.Println(limiter.Stats().Keys)
	// Output:
	// 1000 true
	// 500 false
	// 0
}

// States may be kept elsewhere: the decision is a pure function.
func ExampleLimit_Decide() {
	limit := gcra.MustLimit(3, 24*time.Hour, 0)
	var client gcra.State
	client, d := limit.Decide(client, time.Minute, 1)
	fmt.Println(client.TAT, d.Allowed)
	_, d = limit.Decide(client, time.Hour, 1)
	fmt.Println(d.Allowed, d.RetryAfter)
	// Output:
	// 8h1m0s true
	// false 7h1m0s
}
