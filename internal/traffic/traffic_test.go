package traffic_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluicegate/sluice/internal/traffic"
)

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func newGenerator(t *testing.T, opts traffic.Options) *traffic.Generator {
	t.Helper()
	g, err := traffic.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// runUntil runs g until stop is closed.
func runUntil(t *testing.T, g *traffic.Generator, stop <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := g.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
}

// What arrives is what the script says: its first n requests are all among what the server sees.
func TestSendsTheScript(t *testing.T) {
	const n, patience = 300, 20
	missing := map[string]int{}
	for _, r := range script(7, 1000, n) {
		missing[fmt.Sprintln(r.Method, r.Path, r.User, r.Body)]++
	}
	var mu sync.Mutex // guards missing and seen
	seen := 0
	enough, once := make(chan struct{}), sync.Once{}
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("User-Agent") != "sluice-traffic" || (len(body) > 0) != (r.Header.Get("Content-Type") == "application/json") {
			t.Errorf("%s: header %v", r.URL, r.Header)
		}
		mu.Lock()
		defer mu.Unlock()
		line := fmt.Sprintln(r.Method, r.URL.RequestURI(), r.Header.Get("X-User"), string(body))
		if missing[line]--; missing[line] <= 0 { // also for what comes after the first n
			delete(missing, line)
		}
		if seen++; len(missing) == 0 || seen == patience*n {
			once.Do(func() { close(enough) })
		}
	})
	g := newGenerator(t, traffic.Options{BaseURL: url + "/", Rate: 1000, Seed: 7, MaxInFlight: 100_000})
	runUntil(t, g, enough)
	mu.Lock()
	defer mu.Unlock()
	if len(missing) > 0 {
		t.Errorf("not sent: %v", missing)
	}
	if st := g.Stats(); st.Skipped != 0 || st.Failed != 0 || st.OK+st.Canceled != st.Started || st.Started < n {
		t.Errorf("%+v", st)
	}
}

func TestOutcomes(t *testing.T) {
	var n atomic.Int64
	enough := make(chan struct{})
	statuses := []int{200, 204, 302, 404, 429, 503}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		i := int(n.Add(1)) - 1
		if i == 700 {
			close(enough)
		}
		if i %= len(statuses) + 1; i < len(statuses) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(statuses[i])
			return
		}
		w.Header().Set("Content-Length", "10") // and sends none of it: the answer breaks off
		w.WriteHeader(200)
	})
	g := newGenerator(t, traffic.Options{BaseURL: url, Rate: 2000})
	runUntil(t, g, enough)
	st := g.Stats()
	sum := st.OK + st.Redirected + st.Limited + st.ClientError + st.ServerError + st.Failed + st.Canceled
	if sum != st.Started {
		t.Errorf("%d outcomes of %d requests: %+v", sum, st.Started, st)
	}
	for name, c := range map[string]struct{ got, share int64 }{
		"ok": {st.OK, 2}, "redirected": {st.Redirected, 1}, "limited": {st.Limited, 1},
		"client error": {st.ClientError, 1}, "server error": {st.ServerError, 1}, "failed": {st.Failed, 1},
	} {
		if low, high := c.share*n.Load()/7-st.Canceled-1, c.share*(n.Load()/7+1); c.got < low || c.got > high {
			t.Errorf("%s: %d, expected %d to %d", name, c.got, low, high)
		}
	}
}

// A server that holds every request sees MaxInFlight of them and no more; the rest are skipped. Run then stops although
// none of them is answered.
func TestBoundAndStop(t *testing.T) {
	var inFlight, most atomic.Int64
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then does net/http notice that the client has gone
		n := inFlight.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-r.Context().Done()
		inFlight.Add(-1)
	})
	g := newGenerator(t, traffic.Options{BaseURL: url, Rate: traffic.MaxRate, MaxInFlight: 5})
	stop := make(chan struct{})
	go func() {
		for g.Stats().Skipped < 100 || most.Load() < 5 {
			runtime.Gosched()
		}
		close(stop)
	}()
	runUntil(t, g, stop)
	if st := g.Stats(); most.Load() != 5 || st.Started != 5 || st.Canceled != 5 || st.Skipped < 100 {
		t.Errorf("most in flight %d, %+v", most.Load(), st)
	}
}

func TestUnreachableGatewayIsCounted(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	g := newGenerator(t, traffic.Options{BaseURL: server.URL, Rate: 5000})
	stop := make(chan struct{})
	go func() {
		for g.Stats().Failed < 20 {
			runtime.Gosched()
		}
		close(stop)
	}()
	runUntil(t, g, stop)
	if st := g.Stats(); st.Failed+st.Canceled != st.Started || st.OK != 0 {
		t.Errorf("%+v", st)
	}
}

func TestEndedContextSendsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := newGenerator(t, traffic.Options{BaseURL: "http://127.0.0.1:1", Rate: traffic.MaxRate})
	if err := g.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if st := g.Stats(); st != (traffic.Stats{}) {
		t.Errorf("%+v", st)
	}
}

func TestBadOptions(t *testing.T) {
	const base = "http://127.0.0.1:1"
	for _, bad := range []traffic.Options{
		{}, {BaseURL: "127.0.0.1:8080"}, {BaseURL: "ftp://h"}, {BaseURL: "http://"}, {BaseURL: "http://h/?q=1"}, {BaseURL: "http://h/%zz"},
		{BaseURL: base, Rate: -1}, {BaseURL: base, Rate: math.NaN()}, {BaseURL: base, Rate: traffic.MaxRate + 1},
		{BaseURL: base, MaxInFlight: -1}, {BaseURL: base, Timeout: -1},
	} {
		if _, err := traffic.New(bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}
