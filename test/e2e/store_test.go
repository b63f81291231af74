package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// These make an answer that is stale as soon as it is stored, so that no test waits for it to be.
func stale(directives string, more ...string) []string {
	return append([]string{"Cache-Control", "max-age=5" + directives, "Age", "10"}, more...)
}

// fill has a first answer stored.
func fill(t *testing.T, g *gateway, o *heldOrigin, path, body string, fields ...string) {
	t.Helper()
	v := visit(t, "GET", g.url+path)
	o.next().answer(body, fields...)
	v.expect(200, body)
}

const caching = "cache: {max_ttl: 1h}"

// A stale answer is given at once, and confirmed or replaced behind the client's back, by one call for all who come meanwhile.
func TestStaleWhileRevalidate(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, caching))
	fill(t, g, o, "/x", "one", stale(", stale-while-revalidate=1000", "ETag", `"1"`)...)
	for range 3 {
		visit(t, "GET", g.url+"/x").expect(200, "one").cacheStatus(t, "hit")
	}
	c := o.next()
	if got := c.Header.Get("If-None-Match"); got != `"1"` {
		t.Errorf("If-None-Match is %q", got)
	}
	c.answer("two", "Cache-Control", "max-age=1000")
	await(t, "the new answer", func() bool { return visit(t, "GET", g.url+"/x").reply().body == "two" })
	o.expectNone()
}

// What a client asks of a stale answer that it gets is not asked of the origin: the whole is what is to be stored.
func TestStaleWhileRevalidateAsksForTheWhole(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method string
		fields       []string
		status       int
	}{
		{"HEAD", "HEAD", nil, 200},
		{"Range", "GET", []string{"Range", "bytes=1-1"}, 206},
		{"If-Range", "GET", []string{"Range", "bytes=1-1", "If-Range", `"1"`}, 206},
		{"If-None-Match", "GET", []string{"If-None-Match", `"1"`}, 304},
		{"If-Modified-Since", "GET", []string{"If-Modified-Since", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}, 304},
		{"Authorization", "GET", []string{"Authorization", "Basic a"}, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newHeldOrigin(t)
			g := serve(t, sharingOf(o.url, caching))
			fill(t, g, o, "/x", "one", stale(", public, stale-while-revalidate=1000", "ETag", `"1"`)...)
			if r := visit(t, c.method, g.url+"/x", c.fields...).reply(); r.StatusCode != c.status {
				t.Fatalf("got %s, expected %d", r.Status, c.status)
			}
			call := o.next()
			if h := call.Header; call.Method != "GET" || h.Get("Range") != "" || h.Get("If-Range") != "" || h.Get("If-Modified-Since") != "" || strings.Join(h["If-None-Match"], ",") != `"1"` {
				t.Errorf("the origin was asked with %s %v", call.Method, h)
			}
			if call.Method == "GET" {
				call.answer("two", "Cache-Control", "public, max-age=1000")
			}
			await(t, "the new answer", func() bool { return visit(t, "GET", g.url+"/x").reply().body == "two" })
			o.expectNone()
		})
	}
}

// A stale answer stands in for an error of the server, and for no answer at all, but for no other answer.
func TestStaleIfError(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, "coalesce: {policy: timer, hold: 1m, max_batch: 2}, cache: {max_ttl: 1h}", "keep_alive: {max_idle: 0}")) // a call on a kept connection that breaks is repeated
	two := func() []*visitor {
		return []*visitor{visit(t, "GET", g.url+"/x"), visit(t, "GET", g.url+"/x")}
	}
	visitors := two()
	o.next().answer("one", stale(", stale-if-error=1000")...)
	for _, v := range visitors {
		v.expect(200, "one")
	}
	for _, status := range []int{500, 502, 503, 504} {
		visitors = two()
		o.next().answerStatus(status, "sorry", "Cache-Control", "max-age=60")
		for _, v := range visitors {
			v.expect(200, "one").cacheStatus(t, "stale-if-error")
		}
	}
	visitors = two()
	o.next().breakOff()
	for _, v := range visitors {
		v.expect(200, "one").cacheStatus(t, "stale-if-error")
	}
	visitors = two()
	o.next().answerStatus(404, "gone")
	for _, v := range visitors {
		v.expect(404, "gone")
	}
	visitors = two() // the 404 has taken its place
	o.next().answerStatus(503, "sorry")
	for _, v := range visitors {
		v.expect(503, "sorry")
	}
	o.expectNone()
}

// Without leave an error is passed on, and a client that wants nothing stale gets nothing stale.
func TestStaleIfErrorNeedsLeave(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, caching))
	fill(t, g, o, "/must", "one", stale(", must-revalidate, stale-if-error=1000", "ETag", `"1"`)...)
	fill(t, g, o, "/none", "one", stale("", "ETag", `"1"`)...)
	fill(t, g, o, "/may", "one", stale(", stale-if-error=1000", "ETag", `"1"`)...)
	for _, c := range []struct {
		path string
		ask  []string
	}{{"/must", nil}, {"/none", nil}, {"/may", []string{"Cache-Control", "no-cache"}}} {
		v := visit(t, "GET", g.url+c.path, c.ask...)
		o.next().answerStatus(503, "sorry")
		v.expect(503, "sorry")
	}
	v := visit(t, "GET", g.url+"/none", "Cache-Control", "stale-if-error=1000")
	o.next().answerStatus(503, "sorry")
	v.expect(200, "one")
}

// A stale answer is confirmed by 304: the client gets the stored body with the new fields, and so does the next one.
func TestRevalidation(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, "coalesce: {policy: timer, hold: 1m, max_batch: 2}, cache: {max_ttl: 1h}"))
	two := func(path string) []*visitor {
		return []*visitor{visit(t, "GET", g.url+path), visit(t, "GET", g.url+path)}
	}
	first := two("/x")
	o.next().answer("one", stale("", "ETag", `"1"`, "Last-Modified", someDate, "X-Version", "1")...)
	first[0].expect(200, "one")
	first[1].expect(200, "one")

	second := two("/x")
	c := o.next()
	if c.Header.Get("If-None-Match") != `"1"` || c.Header.Get("If-Modified-Since") != someDate {
		t.Errorf("asked with %v", c.Header)
	}
	c.answerStatus(304, "", "ETag", `"1"`, "Cache-Control", "max-age=1000", "X-Version", "2")
	for _, v := range second {
		r := v.expect(200, "one")
		r.cacheStatus(t, "fwd-status=304")
		if got := strings.Join(r.Header["X-Version"], ","); got != "2" {
			t.Errorf("X-Version is %q", got)
		}
	}
	visit(t, "GET", g.url+"/x").expect(200, "one").cacheStatus(t, "hit")
	o.expectNone()

	// A 304 about something else confirms nothing: the request is sent again without a condition.
	first = two("/y")
	o.next().answer("one", stale("", "ETag", `"1"`)...)
	first[0].expect(200, "one")
	first[1].expect(200, "one")
	second = two("/y")
	o.next().answerStatus(304, "", "ETag", `"2"`)
	c = o.next()
	if c.Header.Get("If-None-Match") != "" {
		t.Errorf("asked again with %v", c.Header)
	}
	c.answer("two", "Cache-Control", "max-age=1000", "ETag", `"2"`)
	second[0].expect(200, "two")
	second[1].expect(200, "two")
	visit(t, "GET", g.url+"/y").expect(200, "two").cacheStatus(t, "hit")
	o.expectNone()
}

// A request that is sent again because a 304 was about something else may fail then.
func TestRevalidationFails(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, "coalesce: {hold: 0}, cache: {max_ttl: 1h}", "keep_alive: {max_idle: 0}"))
	for path, status := range map[string]int{"/pass": 502, "/stand-in": 200} {
		directives := ""
		if status == 200 {
			directives = ", stale-if-error=1000"
		}
		fill(t, g, o, path, "one", stale(directives, "ETag", `"1"`)...)
		v := visit(t, "GET", g.url+path)
		o.next().answerStatus(304, "", "ETag", `"2"`)
		o.next().breakOff()
		if status == 200 {
			v.expect(200, "one").cacheStatus(t, "stale-if-error")
		} else {
			v.reply().expectProblem(t, 502, "upstream-unreachable")
		}
	}
	o.expectNone()
}

// What must be confirmed each time is: with the validator, and for each client by a call of its own.
func TestNoCacheIsConfirmedEachTime(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, caching))
	fill(t, g, o, "/x", "one", "Cache-Control", "no-cache", "ETag", `"1"`)
	for range 3 {
		v := visit(t, "GET", g.url+"/x")
		c := o.next()
		if got := c.Header.Get("If-None-Match"); got != `"1"` {
			t.Fatalf("If-None-Match is %q", got)
		}
		c.answerStatus(304, "", "ETag", `"1"`, "Cache-Control", "no-cache")
		v.expect(200, "one")
	}
	v := visit(t, "GET", g.url+"/x")
	o.next().answer("two", "Cache-Control", "no-cache", "ETag", `"2"`)
	v.expect(200, "two")
	v = visit(t, "GET", g.url+"/x")
	c := o.next()
	if got := c.Header.Get("If-None-Match"); got != `"2"` {
		t.Fatalf("If-None-Match is %q", got)
	}
	c.answerStatus(304, "", "ETag", `"2"`, "Cache-Control", "no-cache")
	v.expect(200, "two")
	o.expectNone()
}

// HEAD, parts and conditions are answered from a stored whole.
func TestFromTheStore(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, caching))
	fill(t, g, o, "/x", "0123456789", "Cache-Control", "max-age=1000", "ETag", `"1"`, "Last-Modified", someDate, "Content-Type", "text/e2e")
	for _, c := range []struct {
		method string
		fields []string
		status int
		body   string
		ranged string
	}{
		{"GET", nil, 200, "0123456789", ""},
		{"HEAD", nil, 200, "", ""},
		{"GET", []string{"Range", "bytes=2-4"}, 206, "234", "bytes 2-4/10"},
		{"GET", []string{"Range", "bytes=7-"}, 206, "789", "bytes 7-9/10"},
		{"GET", []string{"Range", "bytes=-2"}, 206, "89", "bytes 8-9/10"},
		{"GET", []string{"Range", "bytes=0-100"}, 206, "0123456789", "bytes 0-9/10"},
		{"GET", []string{"Range", "bytes=10-"}, 416, "", "bytes */10"},
		{"GET", []string{"Range", "lines=1-2"}, 200, "0123456789", ""},
		{"GET", []string{"Range", "bytes=2-4", "If-Range", `"1"`}, 206, "234", "bytes 2-4/10"},
		{"GET", []string{"Range", "bytes=2-4", "If-Range", `"2"`}, 200, "0123456789", ""},
		{"HEAD", []string{"Range", "bytes=2-4"}, 200, "", ""},
		{"GET", []string{"If-None-Match", `"1"`}, 304, "", ""},
		{"GET", []string{"If-None-Match", `"0", W/"1"`}, 304, "", ""},
		{"GET", []string{"If-None-Match", `"2"`}, 200, "0123456789", ""},
		{"GET", []string{"If-Modified-Since", someDate}, 304, "", ""},
		{"GET", []string{"If-None-Match", `"2"`, "If-Modified-Since", someDate}, 200, "0123456789", ""},
		{"HEAD", []string{"If-None-Match", `"1"`}, 304, "", ""},
		{"GET", []string{"Cache-Control", "only-if-cached"}, 200, "0123456789", ""},
	} {
		r := visit(t, c.method, g.url+"/x", c.fields...).expect(c.status, c.body)
		r.cacheStatus(t, "hit")
		if got := r.Header.Get("Content-Range"); got != c.ranged {
			t.Errorf("%s %v: Content-Range is %q, expected %q", c.method, c.fields, got, c.ranged)
		}
		if c.method == "HEAD" && c.status == 200 && (r.ContentLength != 10 || r.Header.Get("Content-Type") != "text/e2e") {
			t.Errorf("HEAD: a length of %d, %v", r.ContentLength, r.Header)
		}
	}
	o.expectNone()
	get(t, g.url+"/y", "Cache-Control", "only-if-cached").expectProblem(t, 504, "not-cached")
	get(t, g.url+"/x", "Cache-Control", "only-if-cached, max-age=0").expectProblem(t, 504, "not-cached")
	o.expectNone()
}

// A write that succeeded drops what is stored about its resource and those that its answer names, on every route.
func TestInvalidation(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, upstream([]string{o.url})+`routes:
  - {path: /*, methods: [GET, HEAD], upstream: app, cache: {max_ttl: 1h}}
  - {path: /*, upstream: app}
`)
	for i, c := range []struct {
		method, path string
		status       int
		fields       []string
		kept         bool
	}{
		{method: "POST", path: "/x", status: 200},
		{method: "POST", path: "/x", status: 303, fields: []string{"Location", "/"}},
		{method: "PUT", path: "/x", status: 204},
		{method: "DELETE", path: "/x", status: 204},
		{method: "PATCH", path: "/x", status: 200},
		{method: "PURGE", path: "/x", status: 200},
		{method: "POST", path: "/y", status: 201, fields: []string{"Location", "/x"}},
		{method: "POST", path: "/y/z", status: 200, fields: []string{"Content-Location", "../x"}},
		{method: "POST", path: "/x", status: 400, kept: true},
		{method: "POST", path: "/x", status: 500, kept: true},
		{method: "POST", path: "/x?a", status: 200, kept: true},
		{method: "OPTIONS", path: "/x", status: 200, kept: true},
		{method: "POST", path: "/y", status: 201, fields: []string{"Location", "http://elsewhere.example/x"}, kept: true},
	} {
		fill(t, g, o, "/x", "one", "Cache-Control", "max-age=1000")
		write := visit(t, c.method, g.url+c.path)
		o.next().answerStatus(c.status, "", c.fields...)
		write.expect(c.status, "")
		read := visit(t, "GET", g.url+"/x")
		if !c.kept {
			o.next().answer("two", "Cache-Control", "no-store")
			read.expect(200, "two")
			continue
		}
		read.expect(200, "one")
		clean := visit(t, "DELETE", g.url+"/x")
		o.next().answerStatus(204, "")
		clean.expect(204, "")
		if t.Failed() {
			t.Fatalf("row %d", i)
		}
	}
	o.expectNone()
}

// A write whose answer never came may have happened.
func TestInvalidationByAWriteThatWasLost(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, caching))
	fill(t, g, o, "/x", "one", "Cache-Control", "max-age=1000")
	write := visit(t, "POST", g.url+"/x")
	o.next().breakOff()
	write.reply().expectProblem(t, 502, "upstream-unreachable")
	read := visit(t, "GET", g.url+"/x")
	o.next().answer("two", "Cache-Control", "max-age=1000")
	read.expect(200, "two")

	write = visit(t, "POST", g.url+"/x") // whose client leaves
	c := o.next()
	write.leave()
	receive(t, "the origin to see the write cancelled", c.gone)
	g.awaitUnderWay(0)
	read = visit(t, "GET", g.url+"/x")
	o.next().answer("three", "Cache-Control", "max-age=1000")
	read.expect(200, "three")
	o.expectNone()
}

// A read that began before a write is neither stored nor shared after it.
func TestFence(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	g := serve(t, sharingOf(o.url, "coalesce: {hold: 0, freshness: relaxed}, cache: {max_ttl: 1h}"))
	before := visit(t, "GET", g.url+"/x")
	read := o.next()
	write := visit(t, "PUT", g.url+"/x")
	o.next().answerStatus(204, "")
	write.expect(204, "")

	after := visit(t, "GET", g.url+"/x") // does not join the call under way
	own := o.next()
	read.answer("old", "Cache-Control", "max-age=1000")
	before.expect(200, "old")
	if after.answered() {
		t.Fatal("a read was answered by a call that began before the write that it comes after")
	}
	own.answer("new", "Cache-Control", "max-age=1000")
	after.expect(200, "new")
	visit(t, "GET", g.url+"/x").expect(200, "new").cacheStatus(t, "hit")
	o.expectNone()

	// The answer to the earlier read comes last, and is not kept in the place of the newer one.
	before = visit(t, "GET", g.url+"/y")
	read = o.next()
	write = visit(t, "PUT", g.url+"/y")
	o.next().answerStatus(204, "")
	write.expect(204, "")
	fill(t, g, o, "/y", "new", "Cache-Control", "max-age=1000")
	read.answer("old", "Cache-Control", "max-age=1000")
	before.expect(200, "old")
	visit(t, "GET", g.url+"/y").expect(200, "new").cacheStatus(t, "hit")
	o.expectNone()
}

// A new configuration leaves an unchanged route what it has stored, and a changed one begins anew.
func TestReloadKeepsTheStore(t *testing.T) {
	t.Parallel()
	o := newHeldOrigin(t)
	config := func(ttl string) string {
		return upstream([]string{o.url}) + "routes:\n" +
			"  - {path: /same/*, upstream: app, cache: {max_ttl: 1h}}\n" +
			"  - {path: /changed/*, upstream: app, cache: {max_ttl: " + ttl + "}}\n"
	}
	g := serve(t, config("1h"))
	fill(t, g, o, "/same/x", "one", "Cache-Control", "max-age=1000")
	fill(t, g, o, "/changed/x", "one", "Cache-Control", "max-age=1000")
	waiting := visit(t, "GET", g.url+"/changed/y") // goes on over the reload
	held := o.next()
	write := visit(t, "PUT", g.url+"/changed/z")
	late := o.next()
	g.rewrite(config("2h"))
	g.reload().expect(t, 200, "reloaded")
	visit(t, "GET", g.url+"/same/x").expect(200, "one").cacheStatus(t, "hit")
	fill(t, g, o, "/changed/x", "two", "Cache-Control", "max-age=1000")
	visit(t, "GET", g.url+"/changed/x").expect(200, "two").cacheStatus(t, "hit")
	held.answer("held", "Cache-Control", "max-age=1000")
	waiting.expect(200, "held")

	// A write that began under the old configuration counts under the new one.
	fill(t, g, o, "/changed/z", "old", "Cache-Control", "max-age=1000")
	late.answerStatus(204, "")
	write.expect(204, "")
	read := visit(t, "GET", g.url+"/changed/z")
	o.next().answer("new")
	read.expect(200, "new")
	o.expectNone()
}
