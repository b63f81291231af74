package cache_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sluicegate/sluice/internal/cache"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/test/redistest"
)

// node is one of several gateways on one Redis.
type node struct {
	*cache.Cache
	shared *cache.Shared
}

func newNode(t *testing.T, addr, route string) node {
	return nodeOf(t, addr, route, cache.Route{MaxTTL: time.Hour})
}

func nodeOf(t *testing.T, addr, name string, route cache.Route) node {
	shared := cache.OpenShared(cache.SharedConfig{Options: redis.UniversalOptions{Addrs: []string{addr}}})
	t.Cleanup(func() { shared.Close() })
	c := cache.New(route, cache.Options{MaxBytes: 1 << 20, Shared: shared, Name: name})
	t.Cleanup(c.Close)
	return node{c, shared}
}

// eventually asks again until it holds. A test that waits here for long fails; one that passes does not wait.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// ask looks the request up in both levels and returns the body, "" for none. The plan is that of the lookups.
func (n node) ask(t *testing.T, req *http1.Request, now time.Time) (string, *cache.Plan) {
	t.Helper()
	p := plan(n.Cache, req, now)
	e, state := n.Lookup(p, now)
	if state == cache.Miss {
		e, state = n.LookupShared(t.Context(), p, req, now)
	}
	if !state.Usable() {
		return "", p
	}
	return string(e.Body()), p
}

// answer stores the answer to a request that found none.
func (n node) answer(req *http1.Request, p *cache.Plan, resp *http1.Response, body string, now time.Time) bool {
	v := n.Judge(req, resp, p, at(now))
	n.Learn(p, &v, now)
	return n.Put(&v, v.Entry([]byte(body)))
}

// fetch asks until Redis has answered, and stores an answer.
func (n node) fetch(t *testing.T, req *http1.Request, resp *http1.Response, body string, now time.Time) {
	t.Helper()
	var p *cache.Plan
	eventually(t, "Redis answers", func() bool {
		before := n.shared.Stats()
		_, p = n.ask(t, req, now)
		after := n.shared.Stats()
		return after.Misses > before.Misses
	})
	if !n.answer(req, p, resp, body, now) {
		t.Fatal("not stored")
	}
}

// TestOtherNodes finds on one node what another stored, until a third writes.
func TestOtherNodes(t *testing.T) {
	server := redistest.Start(t)
	a, b, c := newNode(t, server.Addr, "r"), newNode(t, server.Addr, "r"), newNode(t, server.Addr, "r")
	other := newNode(t, server.Addr, "another route")
	req := request("GET /a?b", "Accept: x")
	a.fetch(t, req, response(t, "200 OK", "Cache-Control: max-age=60", `ETag: "1"`, "Vary: Accept"), "body", start)
	now := start.Add(20 * time.Second)
	eventually(t, "another node finds it", func() bool { body, _ := b.ask(t, req, now); return body == "body" })
	if e, state := b.Lookup(plan(b.Cache, req, now), now); state != cache.Fresh || e.Age(now) != 20*time.Second || e.TTL(now) != 40*time.Second {
		t.Errorf("in its own memory: %v", state)
	}
	if body, _ := b.ask(t, request("GET /a?b", "Accept: y"), now); body != "" {
		t.Errorf("another variant: %q", body)
	}
	eventually(t, "another route is asked for", func() bool { other.ask(t, req, now); return other.shared.Stats().Misses > 0 })
	if body, _ := other.ask(t, req, now); body != "" {
		t.Errorf("another route: %q", body)
	}
	w, _ := cache.WriteOf(request("PUT /a?b"), response(t, "200 OK"))
	eventually(t, "the write is told", func() bool { return other.shared.Invalidate(t.Context(), &w) == nil })
	for range 3 {
		eventually(t, "Redis answers", func() bool {
			before := c.shared.Stats().Misses
			if body, _ := c.ask(t, req, now); body != "" {
				t.Fatalf("after the write: %q", body)
			}
			return c.shared.Stats().Misses > before
		})
	}
}

// TestOtherRules finds nothing that was stored by other rules of who may share: those of a node with another configuration, or of this one
// before its configuration was mended.
func TestOtherRules(t *testing.T) {
	server := redistest.Start(t)
	rules := func(r cache.Route) node {
		r.MaxTTL = time.Hour
		return nodeOf(t, server.Addr, "r", r)
	}
	req := request("GET /a", "X-A: 1", "X-B: 1")
	a := rules(cache.Route{ShareBy: []string{"X-A"}})
	a.fetch(t, req, response(t, "200 OK", hour), "body", start)
	eventually(t, "another node finds it", func() bool {
		body, _ := rules(cache.Route{ShareBy: []string{"x-a"}}).ask(t, req, start)
		return body == "body"
	})
	for _, r := range []cache.Route{
		{ShareBy: []string{"X-B"}}, {ShareBy: []string{"X-A"}, Credentials: []string{"X-B"}}, {ShareBy: []string{"X-A"}, ShareAcross: []string{"X-B"}},
	} {
		n := rules(r)
		eventually(t, "Redis answers", func() bool {
			p := plan(n.Cache, req, start)
			if e, _ := n.LookupShared(t.Context(), p, req, start); e != nil {
				t.Fatalf("%+v: found %q", r, e.Body())
			}
			return n.shared.Stats().Misses > 0
		})
	}
}

// TestFenceOfNodes has one node write while another's call is under way: the answer is not found on any third.
func TestFenceOfNodes(t *testing.T) {
	server := redistest.Start(t)
	a, b, c := newNode(t, server.Addr, "r"), newNode(t, server.Addr, "r"), newNode(t, server.Addr, "r")
	req, resp := request("GET /a"), response(t, "200 OK", hour)
	var p *cache.Plan
	eventually(t, "Redis answers", func() bool { _, p = a.ask(t, req, start); return a.shared.Stats().Misses > 0 })
	w, _ := cache.WriteOf(request("PUT /a"), response(t, "200 OK"))
	eventually(t, "the write is told", func() bool { return b.shared.Invalidate(t.Context(), &w) == nil })
	if !a.answer(req, p, resp, "old", start) {
		t.Fatal("not stored in its own memory, which knows of no write")
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	eventually(t, "the record is there", func() bool { return client.Exists(t.Context(), a.RecordKey(p)).Val() == 1 })
	eventually(t, "Redis answers", func() bool {
		if body, _ := c.ask(t, req, start); body != "" {
			t.Fatalf("found %q", body)
		}
		return c.shared.Stats().Misses > 0
	})
}

// TestDamagedRecord is a miss.
func TestDamagedRecord(t *testing.T) {
	server := redistest.Start(t)
	a, b := newNode(t, server.Addr, "r"), newNode(t, server.Addr, "r")
	req := request("GET /a")
	a.fetch(t, req, response(t, "200 OK", hour), "body", start)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	key := a.RecordKey(plan(a.Cache, req, start))
	eventually(t, "the record is there", func() bool { return client.Exists(t.Context(), key).Val() == 1 })
	record := client.Get(t.Context(), key).Val()
	for _, bad := range []string{"", "x", record[:len(record)-1], "\x00" + record[1:], record[:20] + "~" + record[21:]} {
		client.Set(t.Context(), key, bad, 0)
		before := b.shared.Stats()
		eventually(t, "Redis answers", func() bool {
			if body, _ := b.ask(t, req, start); body != "" {
				t.Fatalf("%q: %q", bad, body)
			}
			return b.shared.Stats().Misses > before.Misses
		})
	}
	if b.shared.Stats().Damaged < 4 {
		t.Errorf("%+v", b.shared.Stats())
	}
}

// TestRedisAway takes Redis away in two ways: answers are stored and found as without it, nothing is asked of it after a few
// failures, and when it is back it is used again.
func TestRedisAway(t *testing.T) {
	for name, way := range map[string]struct{ begin, end func(*redistest.Server) }{
		"dead":    {(*redistest.Server).Kill, (*redistest.Server).Restart},
		"hanging": {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			n := newNode(t, server.Addr, "r")
			req := request("GET /a")
			eventually(t, "Redis answers", func() bool { n.ask(t, req, start); return n.shared.Stats().Misses > 0 })
			way.begin(server)
			eventually(t, "the breaker opens", func() bool { n.ask(t, req, start); return !n.shared.Available() })
			w, _ := cache.WriteOf(request("PUT /b"), response(t, "200 OK"))
			if n.shared.Invalidate(t.Context(), &w) == nil {
				t.Error("a write was told to nobody")
			}
			before := n.shared.Stats().Failures
			var took time.Duration
			for range 1000 {
				began := time.Now()
				_, p := n.ask(t, request("GET /none"), start)
				took = max(took, time.Since(began))
				if p.Pass != cache.NoReason {
					t.Fatal(p.Pass)
				}
			}
			t.Logf("while it is away a miss takes %v at most", took)
			if asked := n.shared.Stats().Failures - before; asked > 5 {
				t.Errorf("%d requests asked a Redis that is away", asked)
			}
			_, p := n.ask(t, req, start)
			if !n.answer(req, p, response(t, "200 OK", hour), "body", start) {
				t.Error("not stored without Redis")
			}
			if body, _ := n.ask(t, req, start); body != "body" {
				t.Errorf("%q without Redis", body)
			}
			way.end(server)
			eventually(t, "Redis is used again", func() bool {
				before := n.shared.Stats().Misses
				n.ask(t, request("GET /none"), start)
				return n.shared.Stats().Misses > before
			})
		})
	}
}

// FuzzRecord reads whatever may be in Redis: it is refused, or read as what was written.
func FuzzRecord(f *testing.F) {
	c := cache.New(anHour, cache.Options{MaxBytes: 1 << 20})
	defer c.Close()
	for _, fields := range [][]string{{hour}, {hour, `ETag: "a"`, "Last-Modified: " + date(start), "Cache-Control: public, must-revalidate, stale-if-error=5"}} {
		req := request("GET /a?b")
		v := c.Judge(req, response(f, "200 OK", fields...), plan(c, req, start), at(start))
		f.Add(cache.Encode(v.Entry([]byte("body")))[5:])
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		record := cache.Seal(content)
		again, err := cache.Decode(record)
		if err != nil {
			return
		}
		twice, err := cache.Decode(again)
		if err != nil || !bytes.Equal(twice, again) {
			t.Fatalf("%v\n%q\n%q", err, again, twice)
		}
	})
}

// TestRecord writes and reads an entry without a change.
func TestRecord(t *testing.T) {
	c := open(t, anHour)
	req := request("GET /a?b")
	v := c.Judge(req, response(t, "404 Gone Fishing", hour, `ETag: "a"`, "X: y"), plan(c, req, start), at(start))
	record := cache.Encode(v.Entry([]byte("body")))
	again, err := cache.Decode(record)
	if err != nil || !bytes.Equal(again, record) {
		t.Errorf("%v\n%q\n%q", err, record, again)
	}
}

// TestRecordOfNonsense refuses a record whose checksum is right and whose fields are none.
func TestRecordOfNonsense(t *testing.T) {
	c := open(t, anHour)
	req := request("GET /a")
	v := c.Judge(req, response(t, "200 OK", hour, "X: y"), plan(c, req, start), at(start))
	record := cache.Encode(v.Entry([]byte("body")))
	for _, bad := range []string{"X;;y\r\n", " : y\r\n", "X: y\n\n", "X: \x00\r\n"} {
		broken := bytes.Replace(record, []byte("X: y\r\n"), []byte(bad), 1)
		if _, err := cache.Decode(cache.Seal(broken[5:])); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
