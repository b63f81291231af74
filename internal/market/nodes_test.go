package market_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicegate/sluice/internal/market"
)

// natsServer starts a server in this process, and stops it with the test. dir and port are those of an earlier one, or "" and 0.
func natsServer(t *testing.T, dir string, port int) (s *server.Server, url string) {
	t.Helper()
	if port == 0 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port = l.Addr().(*net.TCPAddr).Port
		l.Close()
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "n", Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncAlways: true, JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 30,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s, fmt.Sprintf("nats://127.0.0.1:%d", port)
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// The same key with the same order gets the same answer after a restart, and nothing is done twice.
func TestKeysSurviveARestart(t *testing.T) {
	for _, every := range []uint64{1, 1000} { // from a snapshot, and from the log
		path := t.TempDir()
		often := func(o *market.Options) { o.SnapshotEvery = every }
		n := serve(t, path, often)
		n.sell(30)
		const key = "8d7a"
		first := n.buy("u1", 100, 3, "Idempotency-Key", key)
		first.is(t, 200, `{"id":1,"allocated":30,"open":70}`)
		n.sell(10)
		n.stop()
		n = serve(t, path, often)
		n.buy("u1", 100, 3, "Idempotency-Key", key).is(t, 200, strings.TrimSpace(first.body))
		n.ask("POST", "/buy", `{ "price":3, "volume":100, "username":"u1" }`, "Idempotency-Key", key).is(t, 200, strings.TrimSpace(first.body))
		n.buy("u1", 101, 3, "Idempotency-Key", key).problem(t, 422, "idempotency-key-reused")
		n.sell(100, "Idempotency-Key", key).problem(t, 422, "idempotency-key-reused")
		n.get("/allocation?username=u1").is(t, 200, "40")
	}
}

// The clock that keys are kept by is the one that commands carry.
func TestKeysExpire(t *testing.T) {
	now := time.UnixMilli(1e12)
	n := serve(t, t.TempDir(), func(o *market.Options) { o.Now = func() time.Time { return now } })
	n.sell(1, "Idempotency-Key", "k")
	now = now.Add(24*time.Hour - time.Millisecond)
	n.sell(2, "Idempotency-Key", "k").problem(t, 422, "idempotency-key-reused")
	now = now.Add(time.Millisecond)
	n.sell(2, "Idempotency-Key", "k").is(t, 200, `{"allocated":0,"left":2}`)
}

// Many clients that repeat one order under one key at the same time place it once.
func TestOneKeyAtOnce(t *testing.T) {
	n := serve(t, t.TempDir())
	var all sync.WaitGroup
	bodies := make([]string, 50)
	for i := range bodies {
		all.Go(func() { bodies[i] = n.buy("u1", 5, 1, "Idempotency-Key", "k").body })
	}
	all.Wait()
	for _, body := range bodies {
		if body != bodies[0] {
			t.Errorf("answered %s and %s", bodies[0], body)
		}
	}
	n.get("/book").is(t, 200, `{"left":0,"open":5,"bids":1,"prices":1,"levels":[{"price":1,"volume":5,"bids":1}]}`)
}

// Two nodes on one log: each shows what it answered, both come to the same, and a key is known to both.
func TestTwoNodes(t *testing.T) {
	_, url := natsServer(t, t.TempDir(), 0)
	a, b := join(t, t.TempDir(), url), join(t, t.TempDir(), url)
	var all sync.WaitGroup
	for i, n := range []*node{a, b} {
		for g := range 8 {
			all.Go(func() {
				name := fmt.Sprintf("user-%d-%d", i, g)
				for k := range 20 {
					n.buy(name, 5, uint64(k%3), "Idempotency-Key", fmt.Sprint(name, k))
					n.sell(1)
					if got := n.get("/allocation?username=" + name); got.status != 200 {
						t.Errorf("the node that took a bid of %s answers %d %s", name, got.status, got.body)
					}
				}
			})
		}
	}
	all.Wait()
	agree(t, a, b)
	stats := a.get("/stats").body
	if !strings.Contains(stats, `"bids":320,"sales":320,`) || !strings.Contains(stats, `"sold":320,"allocated":320,`) {
		t.Errorf("there are %s", stats)
	}
	first := a.buy("user-0-0", 5, 0, "Idempotency-Key", "user-0-00")
	b.buy("user-0-0", 5, 0, "Idempotency-Key", "user-0-00").is(t, 200, strings.TrimSpace(first.body))
	b.sell(1, "Idempotency-Key", "user-0-00").problem(t, 422, "idempotency-key-reused")
	l := b.listen("?after=319")
	l.fill(320, "}")

	// One goes, and comes back to what the other did meanwhile.
	path := t.TempDir()
	c := join(t, path, url)
	agree(t, a, c)
	c.stop()
	a.sell(100)
	c = join(t, path, url)
	b.buy("late", 1, 9)
	agree(t, a, b, c)
}

// agree waits until the nodes are at one sequence, and compares all that they show.
func agree(t *testing.T, nodes ...*node) {
	t.Helper()
	eventually(t, "the nodes to be at one sequence", func() bool {
		for _, n := range nodes {
			if n.market.Status().Sequence != nodes[0].market.Status().Sequence {
				return false
			}
		}
		return true
	})
	for _, path := range []string{"/stats", "/book", "/allocations"} {
		for _, n := range nodes {
			n.get(path).is(t, 200, strings.TrimSpace(nodes[0].get(path).body))
		}
	}
}

// Without its log a node refuses orders, says whether they may take effect, and works again when the log is back.
func TestTheLogIsAway(t *testing.T) {
	dir := t.TempDir()
	s, url := natsServer(t, dir, 0)
	port := s.Addr().(*net.TCPAddr).Port
	n := join(t, t.TempDir(), url, func(o *market.Options) { o.AppendTimeout = 200 * time.Millisecond })
	n.buy("u1", 10, 1)
	s.Shutdown()
	s.WaitForShutdown()
	const key = "k1"
	a := n.sell(4, "Idempotency-Key", key)
	if a.status != 503 || a.head.Get("Retry-After") != "1" {
		t.Errorf("answered %d with Retry-After %q: %s", a.status, a.head.Get("Retry-After"), a.body)
	}
	switch {
	case strings.Contains(a.body, "#outcome-unknown"):
		if !strings.Contains(a.body, "same Idempotency-Key") {
			t.Errorf("answered %s, want it to say how to go on", a.body)
		}
	case strings.Contains(a.body, "#market-unavailable"):
		if !strings.Contains(a.body, "had no effect and never will") {
			t.Errorf("answered %s, want it to say that it had no effect", a.body)
		}
	default:
		t.Errorf("answered %s", a.body)
	}
	n.get("/allocation?username=u1").is(t, 200, "0") // what was there can be read
	if n.server.Ready() == nil {
		t.Error("the node says that it is ready")
	}
	natsServer(t, dir, port)
	eventually(t, "an order to be taken", func() bool { return n.sell(4, "Idempotency-Key", key).status == 200 })
	n.sell(4, "Idempotency-Key", key).is(t, 200, `{"allocated":4,"left":0}`)
	n.get("/allocation?username=u1").is(t, 200, "4")
	if err := n.server.Ready(); err != nil {
		t.Errorf("the node says that it isn't ready: %v", err)
	}
}

// What the texts of errors promise, for each error that a journal has.
func TestErrorsOfTheLog(t *testing.T) {
	n := serve(t, t.TempDir())
	if err := n.market.Close(); err != nil {
		t.Fatal(err)
	}
	n.sell(1, "Idempotency-Key", "k").problem(t, 503, "market-unavailable", "this node has stopped", "had no effect")
	n.get("/book").problem(t, 503, "market-unavailable", "this node has stopped")
	if n.server.Ready() == nil {
		t.Error("a node whose journal is closed says that it is ready")
	}
}
