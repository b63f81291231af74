package jobs_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/jobs"
)

// Three nodes of which one after the other crashes and comes back, under load: all that was accepted is done, in as many attempts as were begun, and
// the nodes agree.
func TestNodesThatCrash(t *testing.T) {
	url := natsServer(t)
	var begun sync.Map // by job: how many attempts
	often := func(o *setup) { o.every = 200 }
	paths := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	nodes := make([]*node, len(paths))
	open := func(i int) {
		n := dialed(t, paths[i], url, quickly, often)
		n.Handle("q", jobs.HandlerFunc(func(ctx context.Context, c *jobs.Claim) jobs.Result {
			count, _ := begun.LoadOrStore(c.ID, new(atomic.Int64))
			count.(*atomic.Int64).Add(1)
			if p, err := c.Payload(); ctx.Err() == nil && (err != nil || len(p) == 0) {
				return jobs.Result{Verdict: jobs.Fail, Error: fmt.Sprint("no payload: ", err)}
			}
			if rand.IntN(10) == 0 {
				return jobs.Result{After: time.Millisecond}
			}
			return jobs.Result{Verdict: jobs.Succeed}
		}), 4)
		nodes[i] = n
	}
	var mu sync.RWMutex // held to read while a node is asked
	for i := range nodes {
		open(i)
	}
	const each = 60
	var all sync.WaitGroup
	accepted := make(chan jobs.ID, 6*each)
	for g := range 6 {
		all.Go(func() {
			for k := range each {
				spec := jobs.Spec{
					ID: jobs.NewID(time.Now()), Queue: "q", Tenant: fmt.Sprint(g), Ordered: g%2 == 0, Payload: payload(k), MaxAttempts: 1000, Key: fmt.Sprint(g, k),
				}
				eventually(t, "a job to be accepted", func() bool {
					mu.RLock()
					defer mu.RUnlock()
					_, _, err := nodes[rand.IntN(len(nodes))].Enqueue(t.Context(), spec)
					return err == nil
				})
				accepted <- spec.ID
			}
		})
	}
	for round := range 6 {
		eventually(t, "some to be accepted", func() bool { return len(accepted) >= (round+1)*each/2 })
		mu.Lock()
		nodes[round%3].crash()
		open(round % 3)
		mu.Unlock()
	}
	all.Wait()
	close(accepted)
	for id := range accepted {
		v := nodes[0].await(id, jobs.Done)
		count, ok := begun.Load(id)
		if !ok || int64(v.Attempts) < count.(*atomic.Int64).Load() {
			t.Errorf("the log has %d attempts of a job that was begun %v times", v.Attempts, count)
		}
	}
	agree(t, nodes[0], nodes[1])
	agree(t, nodes[1], nodes[2])
}
