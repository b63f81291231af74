package cache_test

import (
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/cache"
)

// TestLifeOfAResponse stores a response, answers with it while it is fresh, and has it confirmed when it is stale.
func TestLifeOfAResponse(t *testing.T) {
	c := open(t, anHour)
	req := request("GET /a?b")
	if !keep(t, c, req, response(t, "200 OK", "Date: "+date(start), "Cache-Control: max-age=10", `ETag: "1"`), "body", start) {
		t.Fatal("not stored")
	}
	now := start.Add(9 * time.Second)
	e, state := c.Lookup(plan(c, req, now), now)
	if state != cache.Fresh || string(e.Body()) != "body" || e.Age(now) != 9*time.Second {
		t.Fatalf("after 9 s: %v, %+v", state, e)
	}
	now = start.Add(10 * time.Second)
	p := plan(c, req, now)
	e, state = c.Lookup(p, now)
	if etag, _ := e.Validators(); state != cache.Revalidate || string(etag) != `"1"` {
		t.Fatalf("after 10 s: %v, %+v", state, e)
	}
	next, v := c.Refresh(e, response(t, "304 Not Modified", "Date: "+date(now), `ETag: "1"`), p, at(now))
	if next == nil || !v.Share || !v.Store || !c.Put(&v, next) {
		t.Fatalf("not confirmed: %+v, %+v", next, v)
	}
	if e, state = c.Lookup(plan(c, req, now), now); state != cache.Fresh || e.Age(now) != 0 || string(e.Body()) != "body" {
		t.Fatalf("confirmed: %v, %+v", state, e)
	}
}
