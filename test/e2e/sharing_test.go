package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder is an origin that numbers its calls and answers each with that number and the X-Who of the request that it was sent for.
type recorder struct {
	url string

	mu    sync.Mutex
	calls map[string][]*http.Request // by path
	plays map[string]*play
}

// play is how the origin answers the calls of a path. The zero value answers 200 at once.
type play struct {
	status int
	fields []string // of the answer, in pairs
	meet   int      // so many calls must be under way at once before any of them is answered
	after  int      // but for the first so many, which are answered at once
	all    chan struct{}
}

func newRecorder(t *testing.T) *recorder {
	o := &recorder{calls: make(map[string][]*http.Request), plays: make(map[string]*play)}
	o.url = serveHTTP(t, o.answer)
	return o
}

// play says how the calls of a path are answered.
func (o *recorder) play(path string, p play) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p.all = make(chan struct{})
	o.plays[path] = &p
}

// count is how many calls of a path the origin has seen.
func (o *recorder) count(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.calls[path])
}

func (o *recorder) answer(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.calls[r.URL.Path] = append(o.calls[r.URL.Path], r)
	n, p := len(o.calls[r.URL.Path]), o.plays[r.URL.Path]
	if p == nil {
		p = &play{}
	}
	if n == p.after+p.meet && p.meet > 0 {
		close(p.all)
	}
	o.mu.Unlock()
	if n > p.after && p.meet > 0 {
		select {
		case <-p.all:
		case <-r.Context().Done():
		case <-time.After(patience):
		}
	}
	for i := 0; i < len(p.fields); i += 2 {
		w.Header().Add(p.fields[i], p.fields[i+1])
	}
	w.Header().Set("X-Called-For", fmt.Sprint(n, " ", r.Header.Get("X-Who")))
	w.WriteHeader(max(p.status, 200))
	if p.status != 304 && p.status != 204 {
		fmt.Fprint(w, n, " ", r.Header.Get("X-Who"))
	}
}

// asker is one of several clients that ask at once.
type asker struct {
	query, host, body string
	fields            []string
}

// alike are n clients who send the same fields.
func alike(n int, fields ...string) []asker { return slices.Repeat([]asker{{fields: fields}}, n) }

// each are clients who differ in the value of one field.
func each(name string, values ...string) []asker {
	var all []asker
	for _, v := range values {
		all = append(all, asker{fields: []string{name, v}})
	}
	return all
}

// queries are clients who differ in what stands behind the path.
func queries(values ...string) []asker {
	var all []asker
	for _, v := range values {
		all = append(all, asker{query: v})
	}
	return all
}

// withBody are n clients who send a body.
func withBody(n int) []asker { return slices.Repeat([]asker{{body: "body"}}, n) }

// ask sends the requests at once, each on a connection of its own and with its index as X-Who, and returns the answers in the same order.
func ask(t *testing.T, method, url string, askers []asker) []reply {
	t.Helper()
	replies := make([]reply, len(askers))
	var all sync.WaitGroup
	for i, a := range askers {
		all.Go(func() {
			r, err := a.ask(t, method, url, strconv.Itoa(i))
			if err != nil {
				t.Errorf("client %d: %v", i, err)
				r.Response = &http.Response{Header: http.Header{}}
			}
			replies[i] = r
		})
	}
	all.Wait()
	return replies
}

func (a *asker) ask(t *testing.T, method, url, who string) (reply, error) {
	req, err := http.NewRequestWithContext(t.Context(), method, url+a.query, strings.NewReader(a.body))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(a.fields); i += 2 {
		req.Header.Add(a.fields[i], a.fields[i+1])
	}
	req.Header.Set("X-Who", who)
	req.Host = a.host
	resp, err := newClient(t).Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp, string(body)}, err
}

// sharingCase is a row of the matrix.
type sharingCase struct {
	name    string
	route   string // which of sharingRoutes, /three without
	method  string // GET without
	askers  []asker
	status  int      // of the origin's answer, 200 without
	answer  []string // its fields
	groups  []int    // who shares with whom: clients with the same number get one answer; nil: all share one
	apart   bool     // nobody shares
	told    bool     // it is the answer that tells that it must not be shared: the first call comes before the others
	problem int      // the gateway's own answer instead, without a call
}

// On these routes a call is made exactly when so many requests have come, however long that takes; but for the last, where it is made
// after a moment, too, for those whose second attempt finds nobody to wait with.
const sharingRoutes = `identify: {sources: [{header: X-Api-Key}, {header: X-Client}, {address: {ipv6_prefix: 64}}]}
routes:
  - {path: /three/*, upstream: app, coalesce: {policy: timer, hold: 1m, max_batch: 3}}
  - {path: /two/*, upstream: app, coalesce: {policy: timer, hold: 1m, max_batch: 2}}
  - {path: /by/*, upstream: app, coalesce: {policy: timer, hold: 1m, max_batch: 2, share_by: [X-Api-Key, Authorization, cookie]}}
  - {path: /across/*, upstream: app, coalesce: {policy: timer, hold: 1m, max_batch: 3, share_across: [X-Api-Key, X-Client]}}
  - {path: /moment/*, upstream: app, coalesce: {policy: timer, hold: 200ms, max_batch: 3}}
`

const someDate = "Wed, 21 Oct 2015 07:28:00 GMT"

var pairs = []int{0, 0, 1, 1}

var sharingMatrix = []sharingCase{
	// What is shared.
	{name: "plain", askers: alike(3)},
	{name: "no-cache of the request", askers: alike(3, "Cache-Control", "no-cache")},
	{name: "Pragma of the request", askers: alike(3, "Pragma", "no-cache")},
	{name: "max-age=0 of the request", askers: alike(3, "Cache-Control", "max-age=0")},
	{name: "other fields that differ", askers: each("User-Agent", "a", "b", "c")},
	{name: "host in another case", askers: []asker{{host: "e2e.example"}, {host: "E2E.Example"}, {host: "e2e.example"}}},
	{name: "X-Forwarded-For of strangers", askers: each("X-Forwarded-For", "192.0.2.1", "192.0.2.2", "192.0.2.3")},
	{name: "max-age", askers: alike(3), answer: []string{"Cache-Control", "max-age=60"}},
	{name: "max-age=0", askers: alike(3), answer: []string{"Cache-Control", "max-age=0, must-revalidate"}},
	{name: "Expires in the past", askers: alike(3), answer: []string{"Expires", "0"}},
	{name: "404", askers: alike(3), status: 404},
	{name: "301", askers: alike(3), status: 301, answer: []string{"Location", "/elsewhere"}},
	{name: "500", askers: alike(3), status: 500},
	{name: "503", askers: alike(3), status: 503, answer: []string{"Retry-After", "1"}},
	{name: "204", askers: alike(3), status: 204},
	{name: "Vary with equal values", askers: alike(3, "X-Flavour", "sweet"), answer: []string{"Vary", "X-Flavour"}},
	{name: "Vary on nothing that was sent", askers: alike(3), answer: []string{"Vary", "X-Flavour, Accept"}},
	{name: "lists that mean the same", askers: each("Accept-Encoding", "gzip, br", "br,gzip", "BR , gzip"), answer: []string{"Vary", "Accept-Encoding"}},

	// What the key tells apart.
	{name: "query", route: "/two", askers: queries("?a", "?a", "?b", "?b"), groups: pairs},
	{name: "empty query", route: "/two", askers: queries("", "", "?", "?"), groups: pairs},
	{name: "path", route: "/two", askers: queries("", "", "/", "/"), groups: pairs},
	{name: "spelling of the path", route: "/two", askers: queries("/a", "/a", "/%61", "/%61"), groups: pairs},
	{name: "host", route: "/two", askers: []asker{{host: "a.example"}, {host: "a.example"}, {host: "b.example"}, {host: "b.example"}}, groups: pairs},
	{name: "X-Original-URL", route: "/two", askers: each("X-Original-URL", "/a", "/a", "/b", "/b"), groups: pairs},
	{name: "X-Forwarded-Scheme", route: "/two", askers: each("X-Forwarded-Scheme", "http", "http", "https", "https"), groups: pairs},
	{name: "X-HTTP-Method-Override", route: "/two", askers: each("X-HTTP-Method-Override", "PUT", "PUT", "DELETE", "DELETE"), groups: pairs},

	// What the request forbids.
	{name: "HEAD", method: "HEAD", askers: alike(3), apart: true},
	{name: "POST", method: "POST", askers: withBody(3), apart: true},
	{name: "POST without a body", method: "POST", askers: alike(3), apart: true},
	{name: "PUT", method: "PUT", askers: withBody(3), apart: true},
	{name: "DELETE", method: "DELETE", askers: alike(3), apart: true},
	{name: "OPTIONS", method: "OPTIONS", askers: alike(3), apart: true},
	{name: "get in lower case", method: "get", askers: alike(3), apart: true},
	{name: "GET with a body", askers: withBody(3), apart: true},
	{name: "Upgrade", askers: alike(3, "Connection", "upgrade", "Upgrade", "e2e"), apart: true},
	{name: "Authorization", askers: alike(3, "Authorization", "Bearer same"), apart: true},
	{name: "Cookie", askers: alike(3, "Cookie", "a=same"), apart: true},
	{name: "X-Api-Key", askers: alike(3, "X-Api-Key", "same"), apart: true},
	{name: "a field that names clients", askers: alike(3, "X-Client", "same"), apart: true},
	{name: "X-Auth-Token", askers: alike(3, "X-Auth-Token", "same"), apart: true},
	{name: "Range", askers: alike(3, "Range", "bytes=0-1"), apart: true},
	{name: "If-Range", askers: alike(3, "If-Range", `"a"`), apart: true},
	{name: "If-None-Match", askers: alike(3, "If-None-Match", `"a"`), apart: true},
	{name: "If-Modified-Since", askers: alike(3, "If-Modified-Since", someDate), apart: true},
	{name: "If-Match", askers: alike(3, "If-Match", `"a"`), apart: true},
	{name: "If-Unmodified-Since", askers: alike(3, "If-Unmodified-Since", someDate), apart: true},
	{name: "no-store of the request", askers: alike(3, "Cache-Control", "No-Store"), apart: true},
	{name: "only-if-cached", askers: alike(3, "Cache-Control", "only-if-cached"), problem: 504},

	// What the answer forbids.
	{name: "private", askers: alike(3), answer: []string{"Cache-Control", "private"}, apart: true, told: true},
	{name: "private fields", askers: alike(3), answer: []string{"Cache-Control", `private="X-Called-For"`}, apart: true, told: true},
	{name: "no-store", askers: alike(3), answer: []string{"Cache-Control", "max-age=60, No-Store"}, apart: true, told: true},
	{name: "no-cache", askers: alike(3), answer: []string{"Cache-Control", "no-cache"}, apart: true, told: true},
	{name: "no-cache fields", askers: alike(3), answer: []string{"Cache-Control", `max-age=60, no-cache="X-Called-For"`}, apart: true, told: true},
	{name: "a second Cache-Control", askers: alike(3), answer: []string{"Cache-Control", "public, max-age=60", "Cache-Control", "private"}, apart: true, told: true},
	{name: "Pragma", askers: alike(3), answer: []string{"Pragma", "no-cache"}, apart: true, told: true},
	{name: "Set-Cookie", askers: alike(3), answer: []string{"Set-Cookie", "a=b", "Cache-Control", "public, max-age=60"}, apart: true, told: true},
	{name: "Vary: *", askers: alike(3), answer: []string{"Vary", "Accept, *"}, apart: true, told: true},
	{name: "Vary: X-Forwarded-For", askers: alike(3), answer: []string{"Vary", "X-Forwarded-For"}, apart: true, told: true},
	{name: "Vary that is malformed", askers: alike(3), answer: []string{"Vary", "a b"}, apart: true, told: true},
	{name: "206", askers: alike(3), status: 206, answer: []string{"Content-Range", "bytes 0-2/10"}, apart: true, told: true},
	{name: "Content-Range with 200", askers: alike(3), answer: []string{"Content-Range", "bytes 0-2/10"}, apart: true, told: true},
	{name: "401", askers: alike(3), status: 401, answer: []string{"WWW-Authenticate", "Basic"}, apart: true, told: true},
	{name: "407", askers: alike(3), status: 407, apart: true, told: true},
	{name: "WWW-Authenticate with 200", askers: alike(3), answer: []string{"WWW-Authenticate", "Negotiate"}, apart: true, told: true},
	{name: "Authentication-Info", askers: alike(3), answer: []string{"Authentication-Info", "x=y"}, apart: true, told: true},
	{name: "304 that nobody asked for", askers: alike(3), status: 304, apart: true, told: true},

	// What the answer varies by. Who differs asks once more, and finds nobody.
	{name: "Vary", route: "/moment", askers: each("X-Flavour", "sweet", "sour", "salty"), answer: []string{"Vary", "X-Flavour"}, apart: true},
	{name: "Vary on absence", route: "/moment", askers: []asker{{}, {fields: []string{"X-Flavour", ""}}, {fields: []string{"X-Flavour", "sour"}}}, answer: []string{"Vary", "X-Flavour"}, apart: true},
	{name: "Vary by spelling", route: "/moment", askers: each("X-Flavour", "sweet", "Sweet", "sweet "), answer: []string{"Vary", "x-flavour"}, groups: []int{0, 1, 0}},
	{name: "Content-Encoding", route: "/moment", askers: each("Accept-Encoding", "gzip", "br", "identity"), answer: []string{"Content-Encoding", "e2e"}, apart: true},
	{name: "Access-Control-Allow-Origin", route: "/moment", askers: each("Origin", "http://a", "http://b", "http://c"), answer: []string{"Access-Control-Allow-Origin", "http://a"}, apart: true},

	// What the route says.
	{name: "share_by key", route: "/by", askers: each("X-Api-Key", "a", "a", "b", "b"), groups: pairs},
	{name: "share_by Authorization", route: "/by", askers: each("Authorization", "Basic a", "Basic a", "Basic b", "Basic b"), groups: pairs},
	{name: "share_by Cookie", route: "/by", askers: each("Cookie", "a=a", "a=a", "a=b", "a=b"), groups: pairs},
	{name: "share_by a credential or none", route: "/by", askers: []asker{{}, {}, {fields: []string{"X-Api-Key", ""}}, {fields: []string{"X-Api-Key", ""}}}, groups: pairs},
	{name: "share_by two fields", route: "/by", askers: []asker{
		{fields: []string{"X-Api-Key", "a", "Cookie", "b"}}, {fields: []string{"Cookie", "b", "X-Api-Key", "a"}},
		{fields: []string{"X-Api-Key", "b", "Cookie", "a"}}, {fields: []string{"X-Api-Key", "b", "Cookie", "a"}},
	}, groups: pairs},
	{name: "share_by another credential", route: "/by", askers: alike(3, "X-Client", "same"), apart: true},
	{name: "share_by with private", route: "/by", askers: alike(2, "X-Api-Key", "a"), answer: []string{"Cache-Control", "private"}, apart: true, told: true},
	{name: "share_across keys", route: "/across", askers: each("X-Api-Key", "a", "b", "c")},
	{name: "share_across names", route: "/across", askers: each("X-Client", "a", "b", "c")},
	{name: "share_across and Authorization", route: "/across", askers: alike(3, "X-Api-Key", "a", "Authorization", "Basic a"), apart: true},
	{name: "share_across and another credential", route: "/across", askers: alike(3, "X-Auth-Token", "a"), apart: true},
	{name: "share_across with private", route: "/across", askers: each("X-Api-Key", "a", "b", "c"), answer: []string{"Cache-Control", "private"}, apart: true, told: true},
}

// Requests that come at once share one call exactly if they may: nobody gets the answer to another one that it must not have.
func TestSharingMatrix(t *testing.T) {
	t.Parallel()
	o := newRecorder(t)
	g := serve(t, upstream([]string{o.url}, "retries: {max: 0}")+sharingRoutes)
	for i := range sharingMatrix {
		c := &sharingMatrix[i]
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, g, o, i)
		})
	}
}

func (c *sharingCase) run(t *testing.T, g *gateway, o *recorder, row int) {
	route, method := c.route, c.method
	if route == "" {
		route = "/three"
	}
	if method == "" {
		method = "GET"
	}
	calls := c.calls()
	path := fmt.Sprint(route, "/", row)
	p := play{status: c.status, fields: c.answer}
	switch {
	case c.told:
		p.after, p.meet = 1, calls-1
	case c.apart && route != "/moment":
		p.meet = calls
	}
	for _, a := range c.askers { // the path may go on in what the row calls a query
		sub, _, _ := strings.Cut(a.query, "?")
		o.play(path+strings.ReplaceAll(sub, "%61", "a"), p)
	}
	replies := ask(t, method, g.url+path, c.askers)
	if t.Failed() {
		return
	}
	if n := o.under(path); n != calls {
		t.Errorf("the origin was called %d times, expected %d", n, calls)
	}
	for i, r := range replies {
		c.check(t, replies, i, r)
	}
}

// under counts the calls of a path and of those below it.
func (o *recorder) under(path string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for p, calls := range o.calls {
		if p == path || strings.HasPrefix(p, path+"/") {
			n += len(calls)
		}
	}
	return n
}

// group is the number of those with whom a client shares.
func (c *sharingCase) group(client int) int {
	switch {
	case c.groups != nil:
		return c.groups[client]
	case c.apart:
		return client
	}
	return 0
}

func (c *sharingCase) calls() int {
	if c.problem != 0 {
		return 0
	}
	groups := map[int]bool{}
	for i := range c.askers {
		groups[c.group(i)] = true
	}
	return len(groups)
}

// check looks whether a client got the answer to a request of its own group, and the same as the others of it.
func (c *sharingCase) check(t *testing.T, replies []reply, client int, r reply) {
	t.Helper()
	if c.problem != 0 {
		r.expectProblem(t, c.problem, "not-cached")
		return
	}
	if r.StatusCode != max(c.status, 200) {
		t.Fatalf("client %d got %s, expected %d", client, r.Status, max(c.status, 200))
	}
	calledFor := r.Header.Get("X-Called-For")
	if c.method != "HEAD" && c.status != 204 && c.status != 304 && r.body != calledFor {
		t.Errorf("client %d got the body %q with the head of %q", client, r.body, calledFor)
	}
	_, who, _ := strings.Cut(calledFor, " ")
	other, err := strconv.Atoi(who)
	if err != nil || c.group(other) != c.group(client) {
		t.Fatalf("client %d got the answer to client %q", client, who)
	}
	for i := range replies[:client] {
		if same := replies[i].Header.Get("X-Called-For") == calledFor; same != (c.group(i) == c.group(client)) {
			t.Errorf("clients %d and %d got %q and %q", i, client, replies[i].Header.Get("X-Called-For"), calledFor)
		}
	}
	if collapsed := strings.Contains(r.Header.Get("Cache-Status"), "collapsed"); collapsed != (other != client) {
		t.Errorf("client %d, who got the answer to client %d, got Cache-Status %q", client, other, r.Header.Get("Cache-Status"))
	}
}

// Once it is known what a resource varies by, only those share who agree in it.
func TestSharingOfVariants(t *testing.T) {
	t.Parallel()
	o := newRecorder(t)
	g := serve(t, upstream([]string{o.url})+sharingRoutes)
	o.play("/two/v", play{fields: []string{"Vary", "X-Flavour"}})
	ask(t, "GET", g.url+"/two/v", each("X-Flavour", "sweet", "sweet"))
	c := sharingCase{askers: each("X-Flavour", "sweet", "sour", "sweet", "sour"), groups: []int{0, 1, 0, 1}}
	replies := ask(t, "GET", g.url+"/two/v", c.askers)
	for i, r := range replies {
		c.check(t, replies, i, r)
	}
	if n := o.count("/two/v"); n != 3 {
		t.Errorf("%d calls, expected 1 and then 2", n)
	}
}

// storingCase is one request after another on a route that keeps answers.
type storingCase struct {
	name          string
	method        string // of the first, GET without
	first, second []string
	status        int
	answer        []string
	kept          bool
}

var storingMatrix = []storingCase{
	{name: "max-age", answer: []string{"Cache-Control", "max-age=60"}, kept: true},
	{name: "s-maxage", answer: []string{"Cache-Control", "max-age=0, s-maxage=60"}, kept: true},
	{name: "Expires", answer: []string{"Expires", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}, kept: true},
	{name: "404 with max-age", status: 404, answer: []string{"Cache-Control", "max-age=60"}, kept: true},
	{name: "204 with max-age", status: 204, answer: []string{"Cache-Control", "max-age=60"}, kept: true},
	{name: "302 with max-age", status: 302, answer: []string{"Cache-Control", "max-age=60", "Location", "/"}, kept: true},
	{name: "public to Authorization", first: []string{"Authorization", "Basic a"}, second: []string{"Authorization", "Basic b"}, answer: []string{"Cache-Control", "public, max-age=60"}, kept: true},
	{name: "s-maxage to Cookie", first: []string{"Cookie", "a=a"}, answer: []string{"Cache-Control", "s-maxage=60"}, kept: true},
	{name: "Vary with equal values", first: []string{"X-Flavour", "sour"}, second: []string{"X-Flavour", "sour"}, answer: []string{"Cache-Control", "max-age=60", "Vary", "X-Flavour"}, kept: true},
	{name: "max-stale has no say over fresh", second: []string{"Cache-Control", "max-stale"}, answer: []string{"Cache-Control", "max-age=60"}, kept: true},

	{name: "nothing stated"},
	{name: "max-age=0", answer: []string{"Cache-Control", "max-age=0"}},
	{name: "s-maxage=0", answer: []string{"Cache-Control", "max-age=60, s-maxage=0"}},
	{name: "Expires: 0", answer: []string{"Expires", "0"}},
	{name: "as old as it may be", answer: []string{"Cache-Control", "max-age=60", "Age", "60"}},
	{name: "private", answer: []string{"Cache-Control", "private, max-age=60"}},
	{name: "no-store", answer: []string{"Cache-Control", "no-store, max-age=60"}},
	{name: "no-cache", answer: []string{"Cache-Control", "no-cache, max-age=60"}},
	{name: "Set-Cookie", answer: []string{"Cache-Control", "max-age=60", "Set-Cookie", "a=b"}},
	{name: "Vary: *", answer: []string{"Cache-Control", "max-age=60", "Vary", "*"}},
	{name: "Vary", first: []string{"X-Flavour", "sweet"}, second: []string{"X-Flavour", "sour"}, answer: []string{"Cache-Control", "max-age=60", "Vary", "X-Flavour"}},
	{name: "206", status: 206, answer: []string{"Cache-Control", "max-age=60", "Content-Range", "bytes 0-2/10"}},
	{name: "401", status: 401, answer: []string{"Cache-Control", "max-age=60", "WWW-Authenticate", "Basic"}},
	{name: "500", status: 500, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "503", status: 503, answer: []string{"Cache-Control", "public, max-age=60"}},
	{name: "429", status: 429, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "max-age to Authorization", first: []string{"Authorization", "Basic a"}, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "max-age to Authorization, then to Authorization", first: []string{"Authorization", "Basic a"}, second: []string{"Authorization", "Basic a"}, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "max-age, then to Authorization", second: []string{"Authorization", "Basic a"}, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "max-age to Cookie", first: []string{"Cookie", "a=a"}, second: []string{"Cookie", "a=a"}, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "max-age to X-Api-Key", first: []string{"X-Api-Key", "a"}, second: []string{"X-Api-Key", "a"}, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "max-age, then to X-Api-Key", second: []string{"X-Api-Key", "a"}, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "no-store of the request", first: []string{"Cache-Control", "no-store"}, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "no-store of the second request", second: []string{"Cache-Control", "no-store"}, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "no-cache of the second request", second: []string{"Cache-Control", "no-cache"}, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "Pragma of the second request", second: []string{"Pragma", "no-cache"}, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "max-age=0 of the second request", second: []string{"Cache-Control", "max-age=0"}, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "min-fresh of the second request", second: []string{"Cache-Control", "min-fresh=100"}, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "Range of the first request", first: []string{"Range", "bytes=0-"}, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "If-None-Match of the first request", first: []string{"If-None-Match", `"a"`}, answer: []string{"Cache-Control", "max-age=60"}},
	{name: "If-Match of the second request", second: []string{"If-Match", `"a"`}, answer: []string{"Cache-Control", "max-age=60", "ETag", `"a"`}},
	{name: "HEAD", method: "HEAD", answer: []string{"Cache-Control", "max-age=60"}},
	{name: "POST", method: "POST", answer: []string{"Cache-Control", "public, max-age=60"}},
	{name: "X-Original-URL of the first request", first: []string{"X-Original-URL", "/admin"}, answer: []string{"Cache-Control", "public, max-age=60"}},
	{name: "X-Forwarded-Port of the first request", first: []string{"X-Forwarded-Port", "1"}, answer: []string{"Cache-Control", "public, max-age=60"}},
}

// An answer is kept, and given to the next who asks, exactly if it may be.
func TestStoringMatrix(t *testing.T) {
	t.Parallel()
	o := newRecorder(t)
	g := serve(t, upstream([]string{o.url}, "retries: {max: 0}")+"routes: [{path: /*, upstream: app, cache: {max_ttl: 1h}}]\n")
	for i := range storingMatrix {
		c := &storingMatrix[i]
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, g, o, fmt.Sprint("/", i))
		})
	}
}

func (c *storingCase) run(t *testing.T, g *gateway, o *recorder, path string) {
	o.play(path, play{status: c.status, fields: c.answer})
	method := c.method
	if method == "" {
		method = "GET"
	}
	first := do(t, method, g.url+path, "", append([]string{"X-Who", "first"}, c.first...)...)
	second := get(t, g.url+path, append([]string{"X-Who", "second"}, c.second...)...)
	calls, want := 2, "2 second"
	if c.kept {
		calls, want = 1, "1 first"
	}
	status := second.Header.Get("Cache-Status")
	if got := second.Header.Get("X-Called-For"); got != want || second.StatusCode != first.StatusCode || strings.Contains(status, "; hit") != c.kept {
		t.Errorf("the second request got %s %q with Cache-Status %q, expected %q", second.Status, got, status, want)
	}
	if c.kept && (second.Header.Get("Age") == "" || second.body != first.body) {
		t.Errorf("the stored answer has Age %q and the body %q, the first was %q", second.Header.Get("Age"), second.body, first.body)
	}
	if n := o.count(path); n != calls {
		t.Errorf("the origin was called %d times, expected %d", n, calls)
	}
}
