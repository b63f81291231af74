package limit_test

import (
	"testing"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/rate"
)

// What somebody else says of a client goes before the rule, changes with what they say, and leaves others alone.
func TestOverrideBy(t *testing.T) {
	stage := limit.New(nil)
	defer stage.Close()
	most := map[string]int64{"a": 5}
	stage.OverrideBy(func(client, rule string) (l gcra.Limit, ok bool) {
		n, ok := most[client]
		if !ok || rule != "user" {
			return l, false
		}
		l, err := gcra.NewLimit(n, time.Minute, n-1)
		return l, err == nil
	})
	l := &config.Limit{
		Name: "user", Rate: rate.Rate{Count: 2, Period: time.Minute}, Burst: 1, Per: config.PerClient, Cost: config.Cost{Fixed: 1},
		Mode: config.ModeLocal, MaxKeys: 10,
	}
	set := stage.Apply(&config.Config{Limits: map[string]*config.Limit{"user": l}, LimitNames: []string{"user"}}).Set([]string{"user"})
	now := time.Now()
	passed := func(client string) (n int) {
		for range 20 {
			var g limit.Grant
			if set.Decide(&g, &limit.Request{Client: []byte(client), HTTP: &http1.Request{}, Time: now}) == limit.Passed {
				n++
			}
		}
		return n
	}
	if a, b := passed("a"), passed("b"); a != 5 || b != 2 {
		t.Errorf("%d and %d passed, want 5 and 2", a, b)
	}
	most["a"] = 10
	now = now.Add(30 * time.Second)
	if a, b := passed("a"), passed("b"); a != 5 || b != 1 {
		t.Errorf("%d and %d more passed in half a minute, want 5 and 1", a, b)
	}
}
