package e2e_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// trading is a gateway whose clients spend what they bought, 10 requests a unit, and its market.
func trading(t *testing.T, origin, dir string) (g *gateway, market string) {
	t.Helper()
	g = serve(t, upstream([]string{origin})+fmt.Sprintf(`data_dir: %s
market: {listen: 127.0.0.1:0}
identify: {sources: [{header: X-User}]}
limits: {capacity: {from: market, requests_per_unit: 10}}
routes: [{path: /free/*, upstream: app}, {path: /*, upstream: app, limits: [capacity]}]
`, dir))
	g.awaitOutput(&g.stderr, `"msg":"the market is serving".*\n`)
	market, _ = g.logged("the market is serving")[0]["listen"].(string)
	return g, market
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	g, market := trading(t, serveHTTP(t, echo), dir)
	get(t, g.url+"/x", "X-User", "u1").expect(t, 429, `"balance":0`)
	get(t, g.url+"/free/x", "X-User", "u1").expect(t, 200, "")
	do(t, "POST", market+"/buy", `{"username":"u1","volume":2,"price":3}`).expect(t, 200, `"open":2`)
	get(t, g.url+"/x", "X-User", "u1").expect(t, 429, `"balance":0`) // a bid is nothing to spend yet
	do(t, "POST", market+"/sell", `{"volume":2}`).expect(t, 200, `"allocated":2`)
	for i := range 20 {
		r := get(t, g.url+"/x", "X-User", "u1")
		r.expect(t, 200, "")
		if want := fmt.Sprintf(`"capacity";r=%d`, 19-i); r.Header.Get("RateLimit") != want {
			t.Fatalf("RateLimit: %s, expected %s", r.Header.Get("RateLimit"), want)
		}
	}
	r := get(t, g.url+"/x", "X-User", "u1")
	r.expect(t, 429, `"violated-policies":["capacity"]`)
	if after := r.Header.Get("Retry-After"); after != "" {
		t.Errorf("Retry-After: %s, although only buying helps", after)
	}
	get(t, g.url+"/x", "X-User", "u2").expect(t, 429, "")

	g.signal(syscall.SIGTERM)
	if code := g.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	g, market = trading(t, serveHTTP(t, echo), dir)
	get(t, market+"/balance?username=u1").expect(t, 200, `"spent":2,"leased":0,"balance":0`)
	get(t, g.url+"/x", "X-User", "u1").expect(t, 429, "")
}

// However often a gateway is killed while its client spends, the client never spends more than it was allocated.
func TestCapacityKilled(t *testing.T) {
	t.Parallel()
	origin, dir := serveHTTP(t, echo), filepath.Join(t.TempDir(), "state")
	g, market := trading(t, origin, dir)
	do(t, "POST", market+"/sell", `{"volume":40}`).expect(t, 200, "")
	do(t, "POST", market+"/buy", `{"username":"u1","volume":40,"price":1}`).expect(t, 200, `"allocated":40`)
	var passed atomic.Int64
	for range 5 {
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() {
				for range 15 {
					if r := get(t, g.url+"/x", "X-User", "u1"); r.StatusCode == 200 {
						passed.Add(1)
					}
				}
			})
		}
		clients.Wait()
		g.signal(syscall.SIGKILL)
		g.endedBy(syscall.SIGKILL)
		g, market = trading(t, origin, dir)
	}
	for range 500 {
		if get(t, g.url+"/x", "X-User", "u1").StatusCode != 200 {
			break
		}
		passed.Add(1)
	}
	if n := passed.Load(); n > 400 || n < 100 {
		t.Errorf("%d requests passed of 400 that were bought", n)
	}
	get(t, market+"/balance?username=u1").expect(t, 200, `"balance":0`)
}
