package redislimit_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/redislimit"
	"github.com/sluicegate/sluice/test/redistest"
)

// A decider is what every mode is.
type decider interface {
	Decide(ctx context.Context, requests []redislimit.Request) (allowed bool, err error)
	Peek(ctx context.Context, requests []redislimit.Request) (allowed bool, err error)
	Refund(ctx context.Context, requests []redislimit.Request) error
}

// local is the mode without Redis.
type local struct{ *gcra.Limiter[string] }

func newLocal(t *testing.T) local {
	l, err := gcra.New[string](gcra.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return local{l}
}

func (l local) each(requests []redislimit.Request) []gcra.Request[string] {
	all := make([]gcra.Request[string], len(requests))
	for k, r := range requests {
		all[k] = gcra.Request[string]{Limiter: l.WithLimit(r.Limit), Key: strconv.Quote(r.Rule) + r.Key, N: r.N}
	}
	return all
}

func (l local) Decide(_ context.Context, requests []redislimit.Request) (bool, error) {
	now, err := l.Now()
	all := l.each(requests)
	allowed := gcra.All(now, all)
	for k := range requests {
		requests[k].Decision = all[k].Decision
	}
	return allowed, err
}

func (l local) Peek(_ context.Context, requests []redislimit.Request) (allowed bool, err error) {
	allowed = true
	for k, r := range l.each(requests) {
		if requests[k].Decision, err = r.Limiter.Peek(r.Key, r.N); err != nil {
			return false, err
		}
		allowed = allowed && requests[k].Decision.Allowed
	}
	return allowed, nil
}

func (l local) Refund(_ context.Context, requests []redislimit.Request) error {
	for _, r := range l.each(requests) {
		if _, err := r.Limiter.Refund(r.Key, r.N); err != nil {
			return err
		}
	}
	return nil
}

// newLease returns a leasing limiter that ends with the test, before its link does.
func newLease(t testing.TB, link *redislimit.Link) *redislimit.Lease {
	l := redislimit.NewLease(link, 0)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestConformance(t *testing.T) {
	conform(t, "local", func(t *testing.T) decider { return newLocal(t) })
	conform(t, "strict", func(t *testing.T) decider { return redislimit.NewStrict(open(t, redistest.Start(t))) })
	conform(t, "lease", func(t *testing.T) decider { return newLease(t, open(t, redistest.Start(t))) })
	cluster := func(t *testing.T) *redislimit.Link {
		s := startCluster(t)
		return open(t, s, func(c *redislimit.Config) { c.Options.IsClusterMode = true })
	}
	conform(t, "strict on a cluster", func(t *testing.T) decider { return redislimit.NewStrict(cluster(t)) })
	conform(t, "lease on a cluster", func(t *testing.T) decider { return newLease(t, cluster(t)) })
	conform(t, "lease without room for keys", func(t *testing.T) decider {
		link := open(t, redistest.Start(t))
		l := redislimit.NewLease(link, 1)
		t.Cleanup(func() { l.Close() })
		return l
	})
}

// startCluster starts a cluster of one server, which refuses scripts over several slots as any cluster does.
func startCluster(t *testing.T) *redistest.Server {
	s := redistest.Start(t, "--cluster-enabled", "yes")
	c := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer c.Close()
	if err := c.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); c.Set(t.Context(), "up", 1, 0).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the cluster doesn't come up")
		}
	}
	return s
}

// conform is what holds for every mode.
func conform(t *testing.T, mode string, start func(t *testing.T) decider) {
	t.Run(mode, func(t *testing.T) {
		t.Parallel()
		d := start(t)
		for name, story := range map[string]func(*testing.T, decider){
			"BurstThenOneByOne": burstThenOneByOne, "Costs": costs, "AllOrNothing": allOrNothing, "Refund": refund, "SameKeyTwice": sameKeyTwice,
			"Separate": separate, "RetryAfter": retryAfter, "ManyAtOnce": manyAtOnce, "ZeroLimit": zeroLimit,
		} {
			t.Run(name, func(t *testing.T) { story(t, d) })
		}
	})
}

// hourly has so much time between its tokens that none comes back during a test.
var hourly = gcra.MustLimit(1, time.Hour, 4)

func decide(t *testing.T, d decider, requests ...redislimit.Request) (bool, []redislimit.Request) {
	t.Helper()
	allowed, err := d.Decide(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	return allowed, requests
}

func request(key string, limit gcra.Limit, n int64) redislimit.Request {
	return redislimit.Request{Rule: "rule", Key: key, Limit: limit, N: n}
}

func burstThenOneByOne(t *testing.T, d decider) {
	for left := int64(4); left >= 0; left-- {
		allowed, r := decide(t, d, request("burst", hourly, 1))
		if got := r[0].Decision; !allowed || !got.Allowed || got.Limit != 5 || got.Remaining != left || got.RetryAfter != 0 || got.ResetAfter <= 0 {
			t.Fatalf("with %d left: %v, %+v", left, allowed, got)
		}
	}
	allowed, r := decide(t, d, request("burst", hourly, 1))
	if got := r[0].Decision; allowed || got.Allowed || got.Remaining != 0 || got.RetryAfter <= 59*time.Minute || got.RetryAfter > time.Hour+time.Second || got.ResetAfter <= 4*time.Hour {
		t.Fatalf("the sixth: %v, %+v", allowed, got)
	}
}

func costs(t *testing.T, d decider) {
	for _, c := range []struct {
		n       int64
		allowed bool
		left    int64
		retry   time.Duration // at most
	}{{6, false, 5, gcra.Never}, {-1, false, 5, gcra.Never}, {0, true, 5, 0}, {3, true, 2, 0}, {3, false, 2, time.Hour + time.Second}, {0, true, 2, 0}, {2, true, 0, 0}, {0, true, 0, 0}} {
		peeked, err := d.Peek(t.Context(), []redislimit.Request{request("costs", hourly, c.n)})
		if err != nil || peeked != c.allowed {
			t.Errorf("cost %d: Peek = %v, %v", c.n, peeked, err)
		}
		allowed, r := decide(t, d, request("costs", hourly, c.n))
		got := r[0].Decision
		if allowed != c.allowed || got.Allowed != c.allowed || got.Remaining != c.left || got.RetryAfter > c.retry || (got.RetryAfter == 0) != c.allowed {
			t.Errorf("cost %d: %v, %+v", c.n, allowed, got)
		}
		if c.retry == gcra.Never && got.RetryAfter != gcra.Never {
			t.Errorf("cost %d may never come, but is told %v", c.n, got.RetryAfter)
		}
	}
}

func allOrNothing(t *testing.T, d decider) {
	two := gcra.MustLimit(1, time.Hour, 1)
	both := func() (bool, []redislimit.Request) {
		return decide(t, d, redislimit.Request{Rule: "wide", Key: "all", Limit: hourly, N: 1}, redislimit.Request{Rule: "narrow", Key: "all", Limit: two, N: 1})
	}
	for i := range 2 {
		if allowed, r := both(); !allowed {
			t.Fatalf("request %d: %+v", i, r)
		}
	}
	for range 3 {
		allowed, r := both()
		if allowed || r[0].Decision.Remaining != 3 || r[0].Decision.RetryAfter != 0 || r[1].Decision.Remaining != 0 || r[1].Decision.RetryAfter == 0 {
			t.Fatalf("the narrow rule is spent: %v, %+v", allowed, r)
		}
	}
	if allowed, r := decide(t, d, redislimit.Request{Rule: "wide", Key: "all", Limit: hourly, N: 3}); !allowed {
		t.Errorf("refused requests have spent something: %+v", r)
	}
}

func refund(t *testing.T, d decider) {
	if allowed, _ := decide(t, d, request("refund", hourly, 5)); !allowed {
		t.Fatal("refused")
	}
	for _, c := range []struct{ back, want int64 }{{2, 2}, {100, 5}} {
		if err := d.Refund(t.Context(), []redislimit.Request{request("refund", hourly, c.back)}); err != nil {
			t.Fatal(err)
		}
		// A leasing node doesn't wait until Redis has it.
		eventually(t, "what was refunded can be spent again", func() bool {
			peeked, err := d.Peek(t.Context(), []redislimit.Request{request("refund", hourly, c.want)})
			return err == nil && peeked
		})
		if peeked, _ := d.Peek(t.Context(), []redislimit.Request{request("refund", hourly, c.want+1)}); peeked {
			t.Errorf("after a refund of %d more than %d fit", c.back, c.want)
		}
	}
}

func sameKeyTwice(t *testing.T, d decider) {
	if allowed, r := decide(t, d, request("twice", hourly, 3), request("twice", hourly, 3)); allowed {
		t.Errorf("3 and 3 of 5: %+v", r)
	}
	if allowed, r := decide(t, d, request("twice", hourly, 3), request("twice", hourly, 2)); !allowed || r[1].Decision.Remaining != 0 {
		t.Errorf("3 and 2 of 5: %+v", r)
	}
}

func separate(t *testing.T, d decider) {
	for _, who := range [][2]string{{"r", "a:b"}, {"r:a", "b"}, {"r%3Aa", "b"}, {"s", "a:b"}, {"r", "a:b "}, {"r", "{x}"}, {"r", ""}, {"r", "\x00\xff\r\n"}} {
		if allowed, r := decide(t, d, redislimit.Request{Rule: who[0], Key: who[1], Limit: hourly, N: 5}); !allowed {
			t.Errorf("%q is taken for another: %+v", who, r)
		}
	}
}

// retryAfter waits as long as it is told, again and again: a client that is alone is always allowed then.
func retryAfter(t *testing.T, d decider) {
	for _, limit := range []gcra.Limit{gcra.MustLimit(100, time.Second, 0), gcra.MustLimit(1000, time.Second, 9)} {
		for range 20 {
			key := limit.String()
			for {
				allowed, r := decide(t, d, request(key, limit, 1))
				if allowed {
					continue
				}
				time.Sleep(r[0].Decision.RetryAfter)
				break
			}
			if allowed, r := decide(t, d, request(key, limit, 1)); !allowed {
				t.Fatalf("%v: waited and was refused: %+v", limit, r)
			}
		}
	}
}

func manyAtOnce(t *testing.T, d decider) {
	limit := gcra.MustLimit(1, time.Hour, 99)
	var admitted atomic.Int64
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for range 30 {
				allowed, err := d.Decide(t.Context(), []redislimit.Request{request("many", limit, 1)})
				if err != nil {
					t.Error(err)
					return
				}
				if allowed {
					admitted.Add(1)
				}
			}
		})
	}
	clients.Wait()
	for {
		allowed, _ := decide(t, d, request("many", limit, 1))
		if !allowed {
			break
		}
		admitted.Add(1)
	}
	if admitted.Load() != 100 {
		t.Errorf("%d of 100 were admitted", admitted.Load())
	}
}

func zeroLimit(t *testing.T, d decider) {
	for n := range int64(2) {
		if allowed, r := decide(t, d, request("zero", gcra.Limit{}, n)); allowed || r[0].Decision != (gcra.Decision{RetryAfter: gcra.Never}) {
			t.Errorf("cost %d: %+v", n, r)
		}
	}
}

// eventually waits for something to come true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}
