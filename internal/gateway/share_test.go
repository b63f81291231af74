package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// origin is an upstream that a test scripts.
func origin(t *testing.T, answer http.HandlerFunc) string {
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s.URL
}

// shareGate is a gateway with one route.
func shareGate(t *testing.T, url, how string) *gate {
	return start(t, parse(t, "upstreams: {u: {targets: [%q]}}\nroutes: [{path: /*, upstream: u, %s}]\n", url, how))
}

// A request that was to be merged and is sent by itself has no part in what is kept for others.
func TestNotMergedIsNotKept(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, r.Method+" "+r.URL.Path)
	})
	g := shareGate(t, url, "cache: {}, merge: {}")
	for i := range 50 {
		path := fmt.Sprint("/", i)
		g.ask(t, get(path))
		g.ask(t, "POST /write HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\nno!")
		if _, body := g.ask(t, get(path)); body != "GET "+path {
			t.Fatalf("%s is answered by %q", path, body)
		}
	}
}
