package upstream_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// A request whose body has been passed on is not repeated: there is nothing left to send behind its head, and the next
// request on the connection would be taken for the body.
func TestConsumedBodiesAreNotRepeated(t *testing.T) {
	for name, head := range map[string]string{
		"long":    "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000),
		"chunked": "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"empty":   "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var puts atomic.Int64
			f := newFront(t, settings(target(t, func(w *wire) {
				for {
					r, err := http.ReadRequest(w.r)
					if err != nil {
						return
					}
					io.Copy(io.Discard, r.Body)
					if r.Method == "PUT" {
						puts.Add(1)
						return // without an answer
					}
					w.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			})))
			f.ask(get)
			f.idle(1) // the PUT goes out on a kept connection, which may be replaced
			if got := f.ask("%s", head); got.kind != "lost" {
				t.Errorf("%+v, want lost", got)
			}
			if n := puts.Load(); n != 1 {
				t.Errorf("the target got the request %d times", n)
			}
		})
	}
}
