//go:build !race

// The race detector allocates by itself.

package gateway

import (
	"bufio"
	"bytes"
	"net"
	"testing"
)

// An answer as an origin gives it that may be kept for long.
const cacheable = "HTTP/1.1 200 OK\r\nDate: Tue, 01 Jul 2025 10:00:00 GMT\r\nCache-Control: max-age=2000000000\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"n\": 123456}"

// lean is a gateway in front of an origin that allocates nothing, on three routes that share differently.
func lean(t testing.TB) *gate {
	addr := target(t, func(nc net.Conn, r *bufio.Reader) {
		answer := []byte(cacheable)
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) == 2 {
				nc.Write(answer)
			}
		}
	})
	return start(t, parse(t, `
upstreams:
	origin: {targets: ["http://%s"]}
routes:
	- {path: /alone, upstream: origin}
	- {path: /shared, upstream: origin, coalesce: {policy: immediate, freshness: relaxed}}
	- {path: /kept, upstream: origin, coalesce: {policy: immediate, freshness: relaxed}, cache: {}}
`, addr))
}

// asker asks for one path again and again, and allocates nothing either.
type asker struct {
	nc      net.Conn
	r       *bufio.Reader
	request []byte
	body    []byte // of the last answer
}

func newAsker(t testing.TB, g *gate, path string) *asker {
	nc, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &asker{nc: nc, r: bufio.NewReader(nc), request: []byte(get(path)), body: make([]byte, 13)}
}

// ask sends the request, reads the answer, and reports whether that came from the store.
func (a *asker) ask(t testing.TB) (hit bool) {
	a.nc.Write(a.request)
	line, err := a.r.ReadSlice('\n')
	if err != nil || !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		t.Fatalf("%q, %v", line, err)
	}
	for len(line) > 2 && err == nil {
		line, err = a.r.ReadSlice('\n')
		hit = hit || bytes.HasPrefix(line, []byte("Cache-Status: sluice; hit"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.body {
		if a.body[i], err = a.r.ReadByte(); err != nil {
			t.Fatal(err)
		}
	}
	return hit
}

// A hit is the fast path: nothing is allocated between the request and its answer.
func TestHitAllocatesNothing(t *testing.T) {
	a := newAsker(t, lean(t), "/kept")
	a.ask(t)
	if !a.ask(t) {
		t.Fatal("the second request was not answered from the store")
	}
	// Averages are rounded down: what the rest of the process allocates now and then doesn't count, but one allocation for each request does.
	if n := testing.AllocsPerRun(2000, func() { a.ask(t) }); n > 0 {
		t.Errorf("%v allocations for each hit", n)
	}
}

// A lone request on each route, over loopback, with client and origin in the same process: the differences count.
func BenchmarkLone(b *testing.B) {
	g := lean(b)
	for _, path := range []string{"/alone", "/shared", "/kept"} {
		b.Run(path[1:], func(b *testing.B) {
			a := newAsker(b, g, path)
			b.ReportAllocs()
			for b.Loop() {
				a.ask(b)
			}
		})
	}
}
