package e2e_test

import (
	"fmt"
	"testing"

	"github.com/sluicegate/sluice/test/redistest"
)

// holds reports whether a Redis holds something.
func holds(t *testing.T, server *redistest.Server) bool {
	t.Helper()
	c := dial(t, server.Addr)
	defer c.Close()
	c.send("DBSIZE\r\n")
	line, err := c.br.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line != ":0\r\n"
}

// A stale answer is replaced behind the client's back although the nodes' common store has the same one.
func TestStaleWhileRevalidateOfAllNodes(t *testing.T) {
	t.Parallel()
	server, o := redistest.Start(t), newHeldOrigin(t)
	g := serve(t, "redis: redis://"+server.Addr+"/0\n"+sharingOf(o.url, "cache: {max_ttl: 1h, shared: true}"))
	var paths []string
	await(t, "an answer in Redis", func() bool { // one whose key Redis was not quick enough to look up is not put there
		paths = append(paths, fmt.Sprint("/", len(paths)))
		fill(t, g, o, paths[len(paths)-1], "one", stale(", stale-while-revalidate=1000", "ETag", `"1"`)...)
		return holds(t, server)
	})
	for _, path := range paths {
		visit(t, "GET", g.url+path).expect(200, "one").cacheStatus(t, "hit")
		o.next().answer("two", "Cache-Control", "max-age=1000")
		await(t, "the new answer", func() bool { return visit(t, "GET", g.url+path).reply().body == "two" })
	}
	o.expectNone()
}
