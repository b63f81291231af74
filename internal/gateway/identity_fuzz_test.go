package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Requests and answers of the fuzz target are lists of numbers into these tables, so that what matters comes up often.
var (
	fuzzMethods = []string{"GET", "GET", "GET", "GET", "HEAD", "POST"}
	fuzzTargets = []string{"", "", "", "?", "?a", "?b", "?a&b", "/", "//", "/x", "/X", "/%78"}
	fuzzHosts   = []string{"h", "h", "H", "h:80", "other"}
	fuzzNames   = []string{
		"Authorization", "Cookie", "X-Api-Key", "X-Client", "X-Auth-Token", "Api-Key", "authorization", "x-api-key", // who asks
		"X-Original-URL", "X-Forwarded-Scheme", "X-HTTP-Method-Override", "X-Forwarded-For", "Forwarded", // what for, to some
		"Accept-Encoding", "Accept-Language", "X-Flavour", "Origin", // what it may vary by
		"Cache-Control", "Cache-Control", "Pragma", "Range", "If-Range", "If-None-Match", "If-Match",
	}
	fuzzValues = []string{
		"a", "b", "A", "", "a, b", "b,a", "no-cache", "no-store", "max-age=0", "max-stale", "only-if-cached", "min-fresh=5", "bytes=0-3", `"1"`, "*",
	}
	fuzzStatuses = []int{200, 200, 200, 200, 203, 404, 301, 500, 503, 401, 206}
	fuzzAnswers  = [][2]string{
		{"Cache-Control", "max-age=60"}, {"Cache-Control", "max-age=60"}, {"Cache-Control", "public, max-age=60"}, {"Cache-Control", "s-maxage=60"},
		{"Cache-Control", "max-age=60, must-revalidate"}, {"Cache-Control", "max-age=1, stale-while-revalidate=60"}, {"Cache-Control", "max-age=1, stale-if-error=60"},
		{"Cache-Control", "private"}, {"Cache-Control", "no-store"}, {"Cache-Control", "no-cache"}, {"Cache-Control", `private="X-Other"`},
		{"Vary", "Authorization"}, {"Vary", "Cookie"}, {"Vary", "X-Flavour"}, {"Vary", "X-Api-Key, X-Flavour"}, {"Vary", "Accept-Language"}, {"Vary", "*"},
		{"Set-Cookie", "s=1"}, {"ETag", `"1"`}, {"ETag", `W/"1"`}, {"Age", "5"}, {"Last-Modified", "Tue, 01 Jul 2025 10:00:00 GMT"},
		{"Content-Encoding", "e2e"}, {"Access-Control-Allow-Origin", "a"}, {"Expires", "0"}, {"WWW-Authenticate", "Basic"},
	}
	fuzzRoutes = []struct {
		shareBy, shareAcross []string
		cache, relaxed       bool
	}{
		{}, {cache: true}, {relaxed: true}, {cache: true, relaxed: true},
		{shareBy: []string{"X-Api-Key"}}, {shareBy: []string{"X-Api-Key"}, cache: true, relaxed: true},
		{shareBy: []string{"Authorization", "Cookie", "X-Client"}, cache: true},
		{shareAcross: []string{"X-Api-Key", "X-Client"}}, {shareAcross: []string{"X-Api-Key", "X-Client"}, cache: true, relaxed: true},
		{shareBy: []string{"Authorization"}, shareAcross: []string{"X-Api-Key"}, cache: true, relaxed: true},
	}
)

// asked is a request of the fuzz target, as its client sends it or as the origin gets it.
type asked struct {
	method, target, host string
	fields               http.Header
}

// askedOf reads a request: its method, target and host, and then pairs of a field's name and its value.
func askedOf(code string) asked {
	at := func(i, n int) int {
		if i >= len(code) {
			return 0
		}
		return int(code[i]) % n
	}
	a := asked{fuzzMethods[at(0, len(fuzzMethods))], fuzzTargets[at(1, len(fuzzTargets))], fuzzHosts[at(2, len(fuzzHosts))], http.Header{}}
	for i := 3; i+1 < min(len(code), 3+2*8); i += 2 {
		a.fields.Add(fuzzNames[at(i, len(fuzzNames))], fuzzValues[at(i+1, len(fuzzValues))])
	}
	return a
}

// told is an answer of the fuzz target's origin.
type told struct {
	status int
	fields http.Header
}

func toldOf(code string) told {
	t := told{200, http.Header{}}
	for i := range min(len(code), 6) {
		if i == 0 {
			t.status = fuzzStatuses[int(code[0])%len(fuzzStatuses)]
			continue
		}
		f := fuzzAnswers[int(code[i])%len(fuzzAnswers)]
		t.fields.Add(f[0], f[1])
	}
	return t
}

func (t *told) says(directive string) bool {
	return strings.Contains(strings.Join(t.fields["Cache-Control"], ","), directive)
}

// exchanged is a call that the origin has answered.
type exchanged struct {
	asked
	told
}

// fuzzOrigin answers with whom it answers: X-Made-For and the body are the number of the call.
type fuzzOrigin struct {
	mu    sync.Mutex
	tells map[string]told // by X-Who, what is told to whoever asks for that one
	made  []exchanged
}

func (o *fuzzOrigin) serve(nc net.Conn, r *bufio.Reader) {
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if _, err := io.WriteString(nc, o.answer(req)); err != nil {
			return
		}
	}
}

func (o *fuzzOrigin) answer(req *http.Request) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.tells[req.Header.Get("X-Who")]
	if o.confirms(req, t) { // what it was made for, the stored answer says
		return "HTTP/1.1 304 Not Modified\r\n" + lines(t.fields) + "\r\n"
	}
	n := len(o.made)
	o.made = append(o.made, exchanged{asked{req.Method, req.RequestURI, req.Host, req.Header}, t})
	body := fmt.Sprintf("%08d for nobody else", n)
	head := fmt.Sprintf("HTTP/1.1 %d Told\r\nX-Made-For: %d\r\nContent-Length: %d\r\n%s\r\n", t.status, n, len(body), lines(t.fields))
	if t.status == 206 {
		head = strings.Replace(head, "\r\n", "\r\nContent-Range: bytes 0-24/100\r\n", 1)
	}
	if req.Method == "HEAD" {
		return head
	}
	return head + body
}

// confirms reports whether the request asks if an answer has changed that it would get again. An entity tag that has stood for different
// answers confirms none of them.
func (o *fuzzOrigin) confirms(req *http.Request, t told) bool {
	etag := t.fields.Get("ETag")
	if etag == "" || req.Header.Get("If-None-Match") != etag || t.status != 200 {
		return false
	}
	same := false
	for _, e := range o.made {
		if e.target == req.RequestURI && e.told.fields.Get("ETag") != "" {
			if e.told.status != 200 || lines(e.told.fields) != lines(t.fields) {
				return false
			}
			same = true
		}
	}
	return same
}

func lines(h http.Header) string {
	var b strings.Builder
	h.Write(&b)
	return b.String()
}

// mayGet says why a client must not get the answer to a call that was made for another request; "" if it may. It is the rule as
// the issue has it, and knows nothing of keys.
func mayGet(a *asked, e *exchanged, by, across []string) string {
	switch {
	case a.method != "GET" && a.method != "HEAD" || e.method != "GET":
		return "method"
	case !strings.EqualFold(strings.TrimSuffix(a.host, ":80"), strings.TrimSuffix(e.host, ":80")) || a.target != e.target:
		return "resource"
	case e.says("private") || e.says("no-store") || e.told.fields["Set-Cookie"] != nil || e.told.fields["Www-Authenticate"] != nil:
		return "the answer is one client's"
	case e.says("no-cache") && e.told.fields["Etag"] == nil && e.told.fields["Last-Modified"] == nil:
		return "the answer cannot be confirmed"
	case e.status == 206 || e.status == 401:
		return "status"
	case strings.Contains(strings.Join(a.fields["Cache-Control"], ","), "no-store"):
		return "no-store"
	}
	for _, name := range []string{"Range", "If-Match"} {
		if e.asked.fields[name] != nil {
			return name
		}
	}
	if a.fields["If-Match"] != nil {
		return "If-Match"
	}
	return differing(a, e, by, across)
}

// differing is the part of mayGet that compares fields.
func differing(a *asked, e *exchanged, by, across []string) string {
	everybody := e.says("public") || e.says("s-maxage")
	for _, name := range []string{"Authorization", "Cookie", "X-Api-Key", "X-Client", "X-Auth-Token", "Api-Key"} {
		mine, theirs := a.fields[name], e.asked.fields[name]
		switch {
		case slices.Contains(across, name), len(mine) == 0 && len(theirs) == 0:
		case slices.Contains(by, name):
			if !slices.Equal(mine, theirs) {
				return name
			}
		case everybody, name == "Authorization" && e.says("must-revalidate"):
		default:
			return name
		}
	}
	for _, name := range []string{"X-Original-Url", "X-Forwarded-Scheme", "X-Http-Method-Override", "Forwarded"} {
		if !slices.Equal(a.fields[name], e.asked.fields[name]) {
			return name
		}
	}
	vary := strings.Split(strings.Join(e.told.fields["Vary"], ","), ",")
	for _, name := range vary {
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		if name == "*" || normal(name, a.fields[name]) != normal(name, e.asked.fields[name]) {
			return "Vary: " + name
		}
	}
	return ""
}

// normal is a field's values, in a form in which those are equal that mean the same.
func normal(name string, values []string) string {
	if name == "Accept-Language" && values != nil {
		var elements []string
		for e := range strings.SplitSeq(strings.ToLower(strings.Join(values, ",")), ",") {
			if e = strings.TrimSpace(e); e != "" {
				elements = append(elements, e)
			}
		}
		return fmt.Sprintf("list %q", elements)
	}
	return fmt.Sprintf("%q", values)
}

// FuzzIdentities has two clients ask at once, and then one after the other: nobody ever gets an answer that was made for somebody else, unless
// the rules let the two share it.
func FuzzIdentities(f *testing.F) {
	code := func(method, target, host int, pairs ...int) string {
		b := []byte{byte(method), byte(target), byte(host)}
		for _, p := range pairs {
			b = append(b, byte(p))
		}
		return string(b)
	}
	plain := code(0, 0, 0)
	for route, r := range fuzzRoutes {
		for name := range fuzzNames {
			f.Add(byte(route), code(0, 0, 0, name, 0), code(0, 0, 0, name, 1), "\x00\x00", "\x00\x02")
		}
		for answer := range fuzzAnswers {
			if !r.cache {
				break
			}
			f.Add(byte(route), code(0, 0, 0, 0, 0), code(0, 0, 0, 1, 0), string([]byte{0, byte(answer), 2}), string([]byte{0, byte(answer)}))
			f.Add(byte(route), code(0, 0, 0, 15, 0), code(0, 0, 0, 15, 1), string([]byte{0, byte(answer), 13, 0}), string([]byte{0, byte(answer), 18}))
		}
		f.Add(byte(route), code(4, 0, 0), plain, "\x00\x05\x14", "\x00\x05\x14\x12")
		f.Add(byte(route), code(0, 0, 0, 20, 12), plain, "\x00\x05\x14", "\x00\x05\x14\x12")
	}
	f.Add(byte(3), plain, code(0, 0, 0, 0, 3, 17, 6), "\x00\x12\x03", "\x00\x12") // one tag for two answers, one of which is everybody's
	o := &fuzzOrigin{tells: make(map[string]told)}
	g := start(f, parse(f, fuzzConfig(), target(f, o.serve)))
	var round atomic.Int64
	f.Fuzz(func(t *testing.T, route byte, a, b, tellA, tellB string) {
		r := int(route) % len(fuzzRoutes)
		o.mu.Lock()
		o.made = o.made[:0]
		o.tells["a"], o.tells["b"] = toldOf(tellA), toldOf(tellB)
		o.mu.Unlock()
		path := fmt.Sprintf("/%d/%d", r, round.Add(1)) // nothing is left of the round before
		one, two := askedOf(a), askedOf(b)
		one.target, two.target = path+one.target, path+two.target
		var both sync.WaitGroup
		both.Go(func() { o.check(t, g, r, "a", &one) })
		both.Go(func() { o.check(t, g, r, "b", &two) })
		both.Wait()
		o.check(t, g, r, "a", &one)
		o.check(t, g, r, "b", &two)
	})
}

// fuzzConfig has a route for each of fuzzRoutes.
func fuzzConfig() string {
	var b strings.Builder
	b.WriteString("identify: {sources: [{header: X-Client}, {address: {ipv6_prefix: 64}}]}\nupstreams:\n\to: {targets: [\"http://%s\"]}\nroutes:\n")
	for i, r := range fuzzRoutes {
		freshness := "strict"
		if r.relaxed {
			freshness = "relaxed"
		}
		fmt.Fprintf(&b, "\t- {path: /%d/*, upstream: o, coalesce: {policy: timer, hold: 1ms, max_batch: 2, freshness: %s, share_by: [%s], share_across: [%s]}", i, freshness, strings.Join(r.shareBy, ", "), strings.Join(r.shareAcross, ", "))
		if r.cache {
			b.WriteString(", cache: {}")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// check sends a request and looks for whom its answer was made.
func (o *fuzzOrigin) check(t *testing.T, g *gate, route int, who string, a *asked) {
	nc, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(nc, "%s %s HTTP/1.1\r\nHost: %s\r\nX-Who: %s\r\n%s\r\n", a.method, a.target, a.host, who, lines(a.fields))
	resp, err := http.ReadResponse(bufio.NewReader(nc), &http.Request{Method: a.method})
	if err != nil {
		t.Errorf("%+v: %v", a, err)
		return
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%+v: %v", a, err)
		return
	}
	made, ok := resp.Header["X-Made-For"]
	if !ok {
		if resp.StatusCode < 400 && (resp.StatusCode != 304 || a.fields["If-None-Match"] == nil) {
			t.Errorf("%+v: %s from nobody", a, resp.Status)
		}
		return // the gateway's own
	}
	n, err := strconv.Atoi(strings.Join(made, ","))
	if err != nil {
		t.Fatalf("X-Made-For: %q", made)
	}
	if resp.StatusCode == 200 && a.method != "HEAD" && !strings.HasPrefix(string(body), fmt.Sprintf("%08d ", n)) {
		t.Errorf("%+v: the head of call %d and the body %q", a, n, body)
	}
	o.mu.Lock()
	e := o.made[n]
	o.mu.Unlock()
	if e.asked.fields.Get("X-Who") == who {
		return
	}
	if why := mayGet(a, &e, fuzzRoutes[route].shareBy, fuzzRoutes[route].shareAcross); why != "" {
		t.Errorf("route %+v: the answer %+v to %+v\nwent to %+v, whom it must not reach: %s", fuzzRoutes[route], e.told, e.asked, a, why)
	}
}
