package limit_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluicegate/sluice/internal/limit"
)

// Many ask at once, and the configuration is replaced meanwhile: what passes is exactly what the rules allow at one instant, and
// nothing of one rule is lost to another that refuses.
func TestConcurrent(t *testing.T) {
	const limits = "limits: {global: {rate: 1/h, burst: 149, per: global}, client: {rate: 1/h, burst: 49}}"
	w := newWorld(t, limits)
	var sets atomic.Pointer[limit.Set]
	sets.Store(w.set)
	var passed [4]atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			grant := new(limit.Grant)
			q := request(from(fmt.Sprint("client", i%4)))
			q.Time = w.now
			for n := range 1000 {
				if sets.Load().Decide(grant, &q) != limit.Passed {
					continue
				}
				if n%2 == 0 {
					grant.Refund()
				} else {
					passed[i%4].Add(1)
				}
			}
		})
	}
	wg.Go(func() {
		for range 100 {
			c := parse(t, limits)
			sets.Store(w.stage.Apply(c).Set(c.LimitNames))
			w.stage.List()
		}
	})
	wg.Wait()
	sum := int64(0)
	for i := range passed {
		n := passed[i].Load()
		if n > 50 {
			t.Errorf("client %d: %d passed", i, n)
		}
		sum += n
	}
	for i := range 4 { // whatever is left can be had
		for w.ask(from(fmt.Sprint("client", i))) == limit.Passed {
			sum++
		}
	}
	if sum != 150 {
		t.Errorf("%d passed, want 150", sum)
	}
}
