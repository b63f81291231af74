package e2e_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// heldOrigin is an origin whose calls the test answers, one by one, when it wants to.
type heldOrigin struct {
	t     *testing.T
	url   string
	calls chan *heldCall
}

type heldCall struct {
	*http.Request
	answers chan http.HandlerFunc
	gone    chan struct{} // closed when the gateway has given the call up
}

func newHeldOrigin(t *testing.T) *heldOrigin {
	o := &heldOrigin{t: t, calls: make(chan *heldCall, 1000)}
	o.url = serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		c := &heldCall{r, make(chan http.HandlerFunc, 1), make(chan struct{})}
		o.calls <- c
		select {
		case answer := <-c.answers:
			answer(w, r)
		case <-r.Context().Done():
			close(c.gone)
		}
	})
	return o
}

// next waits for a call.
func (o *heldOrigin) next() *heldCall {
	o.t.Helper()
	return receive(o.t, "a call at the origin", o.calls)
}

// expectNone fails the test if a call has come that it has not taken. It can only be told of requests that have been answered.
func (o *heldOrigin) expectNone() {
	o.t.Helper()
	select {
	case c := <-o.calls:
		o.t.Fatalf("a call too many: %s %s %v", c.Method, c.RequestURI, c.Header)
	default:
	}
}

// answer ends the call with 200 and a body. fields are pairs of names and values.
func (c *heldCall) answer(body string, fields ...string) { c.answerStatus(200, body, fields...) }

func (c *heldCall) answerStatus(status int, body string, fields ...string) {
	c.answers <- func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(fields); i += 2 {
			w.Header().Add(fields[i], fields[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// stream begins the answer with a first piece, and returns a function that ends it with the second.
func (c *heldCall) stream(first string, fields ...string) (end func(second string)) {
	rest := make(chan string, 1)
	c.answers <- func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(fields); i += 2 {
			w.Header().Add(fields[i], fields[i+1])
		}
		io.WriteString(w, first)
		w.(http.Flusher).Flush()
		select {
		case second := <-rest:
			io.WriteString(w, second)
		case <-r.Context().Done():
			close(c.gone)
		}
	}
	return func(second string) { rest <- second }
}

// breakOff ends the call by closing its connection.
func (c *heldCall) breakOff() {
	c.answers <- func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
}

// visitor is a request that waits for its answer.
type visitor struct {
	t       *testing.T
	replies chan reply
	leave   context.CancelFunc
}

// visit sends a request on a connection of its own, and does not wait for the answer. fields are pairs.
func visit(t *testing.T, method, url string, fields ...string) *visitor {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	v := &visitor{t, make(chan reply, 1), cancel}
	client := newClient(t)
	go func() {
		resp, err := client.Do(req)
		if err != nil {
			close(v.replies)
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			body = append(body, " …"+err.Error()...)
		}
		v.replies <- reply{resp, string(body)}
	}()
	return v
}

// reply waits for the answer.
func (v *visitor) reply() reply {
	v.t.Helper()
	select {
	case r, ok := <-v.replies:
		if !ok {
			v.t.Fatal("no answer")
		}
		return r
	case <-time.After(patience):
		v.t.Fatal("waited in vain for an answer")
	}
	panic("unreachable")
}

// expect waits for the answer, which must be this one.
func (v *visitor) expect(status int, body string) reply {
	v.t.Helper()
	r := v.reply()
	if r.StatusCode != status || r.body != body {
		v.t.Fatalf("got %s with %.300q, expected %d with %q", r.Status, r.body, status, body)
	}
	return r
}

// answered reports whether the answer has come; it stays to be had.
func (v *visitor) answered() bool { return len(v.replies) > 0 }

// awaitUnderWay waits until so many requests are being worked on.
func (g *gateway) awaitUnderWay(n int) {
	g.t.Helper()
	await(g.t, "requests to be under way", func() bool { return g.metric("sluice_requests_in_flight") == float64(n) })
}

// cacheStatus fails the test unless the reply says so of the cache.
func (r reply) cacheStatus(t *testing.T, want string) {
	t.Helper()
	if got := r.Header.Get("Cache-Status"); !strings.Contains(got, want) {
		t.Errorf("Cache-Status is %q, expected %q", got, want)
	}
}
