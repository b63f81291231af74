package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// batches is an upstream that answers arrays as a test says, and remembers what it got.
type batches struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	heads  []http.Header
}

func newBatches(t *testing.T, answer func(values []json.RawMessage) (int, string)) *batches {
	b := new(batches)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.bodies, b.heads = append(b.bodies, string(body)), append(b.heads, r.Header)
		b.mu.Unlock()
		var values []json.RawMessage
		json.Unmarshal(body, &values)
		status, text := answer(values)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, text)
	}))
	t.Cleanup(b.Close)
	return b
}

// count is how many calls it has got.
func (b *batches) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.bodies)
}

// doubled answers each number by its double.
func doubled(values []json.RawMessage) (int, string) {
	out := []string{}
	for _, v := range values {
		var n int
		if json.Unmarshal(v, &n) != nil {
			return 400, `{"error":"no number"}`
		}
		out = append(out, fmt.Sprint(2*n))
	}
	return 200, "[" + strings.Join(out, ",") + "]"
}

func mergingGate(t *testing.T, b *batches, merge string) *gate {
	return start(t, parse(t, "upstreams: {u: {targets: [%q]}}\nroutes: [{path: /*, upstream: u, merge: {policy: timer, %s}}]\n", b.URL, merge))
}

// post sends bodies at once and returns the answers to them, as "status body".
func (g *gate) post(t *testing.T, bodies []string, fields ...string) []string {
	t.Helper()
	answers := make([]string, len(bodies))
	var all sync.WaitGroup
	for i, body := range bodies {
		all.Go(func() {
			req, _ := http.NewRequest("POST", "http://"+g.addr+"/embed?model=a", strings.NewReader(body))
			req.Header.Set("Content-Type", "application/json; charset=utf-8")
			for f := 0; f+1 < len(fields); f += 2 {
				req.Header.Set(fields[f], fields[f+1])
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			answers[i] = fmt.Sprint(resp.StatusCode, " ", string(text))
		})
	}
	all.Wait()
	return answers
}

func TestMerge(t *testing.T) {
	b := newBatches(t, doubled)
	g := mergingGate(t, b, "hold: 1m, max_batch: 4")
	got := g.post(t, []string{"1", "2", "3", "4"}, "User-Agent", "one of them", "Accept-Language", "de")
	if want := []string{"200 2", "200 4", "200 6", "200 8"}; !slices.Equal(got, want) {
		t.Errorf("got %q, expected %q", got, want)
	}
	if len(b.bodies) != 1 {
		t.Fatalf("the upstream got %q, expected one call", b.bodies)
	}
	if h := b.heads[0]; h.Get("User-Agent") == "one of them" || h.Get("Accept-Language") != "" || h.Get("Content-Type") != "application/json" {
		t.Errorf("the call has the fields of one of its parts: %v", h)
	}
}

func TestMergeAlone(t *testing.T) {
	for name, c := range map[string]struct {
		body, want, call string
		fields           []string
	}{
		"after the hold time":  {"21", "200 42", "[21]", nil},
		"with credentials":     {"21", "200 []", "21", []string{"Authorization", "Basic eDp5"}},
		"with a cookie":        {"21", "200 []", "21", []string{"Cookie", "a=b"}},
		"not JSON":             {"{", "200 []", "{", nil},
		"not said to be JSON":  {"21", "200 []", "21", []string{"Content-Type", "text/plain"}},
		"compressed":           {"21", "200 []", "21", []string{"Content-Encoding", "gzip"}},
		"too large":            {`"` + strings.Repeat("x", 2000) + `"`, "200 []", `"` + strings.Repeat("x", 2000) + `"`, nil},
		"refused by itself":    {`"x"`, `400 {"error":"no number"}`, `["x"]`, nil},
		"merged by credential": {"21", "200 42", "[21]", []string{"X-Tenant", "t"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBatches(t, doubled)
			g := mergingGate(t, b, "hold: 1ms, max_item: 1KiB, share_by: [X-Tenant]")
			if got := g.post(t, []string{c.body}, c.fields...); got[0] != c.want {
				t.Errorf("got %q, expected %q", got[0], c.want)
			}
			if len(b.bodies) != 1 || b.bodies[0] != c.call {
				t.Errorf("the upstream got %q, expected %q", b.bodies, c.call)
			}
		})
	}
}

func TestMergeFailures(t *testing.T) {
	lost := func(values []json.RawMessage) (int, string) {
		if len(values) > 1 {
			return 200, "[1]"
		}
		return doubled(values)
	}
	for name, c := range map[string]struct {
		answer  func([]json.RawMessage) (int, string)
		onError string
		bodies  []string
		want    []string
		calls   int
	}{
		"too few values":             {lost, "fail", []string{"1", "2"}, []string{"502", "502"}, 1},
		"too few values, each again": {lost, "each", []string{"1", "2"}, []string{"200 2", "200 4"}, 3},
		"one is wrong":               {doubled, "fail", []string{"1", `"x"`}, []string{"200 2", "400 "}, 3},
		"no array":                   {func([]json.RawMessage) (int, string) { return 200, "{}" }, "fail", []string{"1", "2"}, []string{"502", "502"}, 1},
		"failed":                     {func([]json.RawMessage) (int, string) { return 500, "{}" }, "fail", []string{"1", "2"}, []string{"502", "502"}, 1},
		"failed, each again":         {func([]json.RawMessage) (int, string) { return 500, "{}" }, "each", []string{"1", "2"}, []string{"500", "500"}, 3},
		"an error for one of them": {func(v []json.RawMessage) (int, string) {
			if string(v[0]) == "1" {
				return 200, `[1,{"error":"no","status":422}]`
			}
			return 200, `[{"error":"no","status":422},1]`
		}, "fail", []string{"1", "2"}, []string{"200 1", `422 {"error":"no","status":422}`}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBatches(t, c.answer)
			g := mergingGate(t, b, "hold: 1m, max_batch: 2, on_error: "+c.onError)
			for i, got := range g.post(t, c.bodies) {
				if !strings.HasPrefix(got, c.want[i]) {
					t.Errorf("request %d got %q, expected %q", i, got, c.want[i])
				}
			}
			if len(b.bodies) != c.calls {
				t.Errorf("the upstream got %q, expected %d calls", b.bodies, c.calls)
			}
		})
	}
}

// Requests are in one batch if they agree in the fields that the upstream gets: not one that their Connection field takes away.
func TestNominatedFieldsMergeNothing(t *testing.T) {
	b := newBatches(t, doubled)
	g := mergingGate(t, b, "share_by: [X-Tenant], hold: 1m, max_batch: 2")
	post := func(value, more string) string {
		return "POST /embed HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 1\r\nX-Tenant: a\r\n" + more + "\r\n" + value
	}
	const nominated = "Connection: X-Tenant\r\n"
	var all sync.WaitGroup
	for i, raw := range []string{post("1", nominated), post("2", ""), post("1", nominated), post("2", "")} {
		all.Go(func() { g.ask(t, raw) })
		for i < 2 && g.merged.Stats().Waiters <= i && b.count() == 0 { // one after the other
			runtime.Gosched()
		}
	}
	all.Wait()
	for i, body := range b.bodies {
		if want := map[string]string{"[1,1]": "", "[2,2]": "a"}; len(b.bodies) != 2 || b.heads[i].Get("X-Tenant") != want[body] || !strings.Contains("[1,1][2,2]", body) {
			t.Errorf("sent %s for %q", body, b.heads[i].Get("X-Tenant"))
		}
	}
}

// What a merged request has changed is not answered from what was kept before.
func TestMergedWritesInvalidate(t *testing.T) {
	n := 0
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			n++
			io.WriteString(w, "[1]")
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, n)
	})
	g := start(t, parse(t, "upstreams: {u: {targets: [%q]}}\nroutes: [{path: /*, methods: [POST], upstream: u, merge: {}}, {path: /*, upstream: u, cache: {}}]\n", url))
	g.ask(t, get("/x"))
	g.ask(t, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1")
	if _, body := g.ask(t, get("/x")); body != "1" {
		t.Errorf("after the write: %s", body)
	}
}

// Keys of any kind and conditions are somebody's own, and a body that is too long for the route is refused.
func TestMergeTakesNothingPersonal(t *testing.T) {
	b := newBatches(t, doubled)
	g := start(t, parse(t, "upstreams: {u: {targets: [%q]}}\nroutes: [{path: /*, upstream: u, max_body: 10B, merge: {hold: 0}}]\n", b.URL))
	post := "POST /embed HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
	for _, name := range []string{"X-Api-Key", "Api-Key", "X-Auth-Token", "If-Match"} {
		g.ask(t, post+name+": secret\r\nContent-Length: 1\r\n\r\n1")
		if last := len(b.bodies) - 1; b.bodies[last] != "1" || b.heads[last].Get(name) != "secret" {
			t.Errorf("%s: the upstream got %s %v", name, b.bodies[last], b.heads[last])
		}
	}
	if resp, _ := g.ask(t, post+"Content-Length: 11\r\n\r\n12345678901"); resp.StatusCode != 413 {
		t.Errorf("a body that is too long got %s", resp.Status)
	}
}
