package cache_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/cache"
	"github.com/sluicegate/sluice/internal/http1"
)

// found looks up a request and returns the body that answers it, "" for none.
func found(c *cache.Cache, req *http1.Request, now time.Time) string {
	e, state := c.Lookup(plan(c, req, now), now)
	if !state.Usable() {
		return ""
	}
	return string(e.Body())
}

// TestVary keeps variants apart, and gives each request its own.
func TestVary(t *testing.T) {
	c := open(t, anHour)
	vary := func(fields string) *http1.Response { return response(t, "200 OK", hour, "Vary: "+fields) }
	keep(t, c, request("GET /a", "Accept-Encoding: gzip, br"), vary("Accept-Encoding"), "small", start)
	keep(t, c, request("GET /a"), vary("accept-encoding"), "large", start)
	keep(t, c, request("GET /b", "X: 1", "Y: 2"), vary("X, Y, x"), "b", start)
	keep(t, c, request("GET /c", "Accept-Language: De , en;q=0.5"), vary("Accept-Language"), "c", start)
	keep(t, c, request("GET /d", "Accept-Encoding: gzip"), response(t, "200 OK", hour, "Content-Encoding: gzip"), "d", start)
	keep(t, c, request("GET /e", "Origin: http://a"), response(t, "200 OK", hour, "Access-Control-Allow-Origin: http://a"), "e", start)
	for name, want := range map[string]struct {
		req  *http1.Request
		body string
	}{
		"the variant":                    {request("GET /a", "Accept-Encoding: gzip, br"), "small"},
		"in another order and case":      {request("GET /a", "Accept-Encoding: Br,GZIP"), "small"},
		"in two lines":                   {request("GET /a", "Accept-Encoding: br", "Accept-Encoding: gzip,,"), "small"},
		"with repetition":                {request("GET /a", "Accept-Encoding: br, gzip, br"), "small"},
		"the other variant":              {request("GET /a"), "large"},
		"another value":                  {request("GET /a", "Accept-Encoding: gzip"), ""},
		"another weight":                 {request("GET /a", "Accept-Encoding: gzip;q=0, br"), ""},
		"an empty value":                 {request("GET /a", "Accept-Encoding: "), ""},
		"spaces within":                  {request("GET /a", "Accept-Encoding: g zip, br"), ""},
		"two fields":                     {request("GET /b", "Y: 2", "X: 1"), "b"},
		"two fields, one missing":        {request("GET /b", "X: 1"), ""},
		"two fields, exchanged":          {request("GET /b", "X: 2", "Y: 1"), ""},
		"an unknown field, another case": {request("GET /b", "X: 1", "Y: 2 "), "b"},
		"an order that means something":  {request("GET /c", "Accept-Language: en;q=0.5, de"), ""},
		"a language in another case":     {request("GET /c", "Accept-Language: de,EN;q=0.5"), "c"},
		"coded without Vary":             {request("GET /d", "Accept-Encoding: gzip"), "d"},
		"coded, and not asked for":       {request("GET /d"), ""},
		"of an origin":                   {request("GET /e", "Origin: http://a"), "e"},
		"of another origin":              {request("GET /e", "Origin: http://b"), ""},
	} {
		if got := found(c, want.req, start); got != want.body {
			t.Errorf("%s: %q, want %q", name, got, want.body)
		}
	}
}

// TestVaryGrows adds a field to what a resource varies by: what was stored before is not given to anybody who may differ in it.
func TestVaryGrows(t *testing.T) {
	c := open(t, anHour)
	keep(t, c, request("GET /a", "X: 1", "Y: 1"), response(t, "200 OK", hour, "Vary: X"), "x", start)
	keep(t, c, request("GET /a", "X: 2", "Y: 2"), response(t, "200 OK", hour, "Vary: Y"), "y", start)
	for _, c2 := range []struct{ x, y, body string }{{"2", "2", "y"}, {"1", "2", ""}, {"2", "1", ""}} {
		if got := found(c, request("GET /a", "X: "+c2.x, "Y: "+c2.y), start); got != c2.body {
			t.Errorf("%+v: %q", c2, got)
		}
	}
}

// TestTooManyVaries is treated like Vary: *.
func TestTooManyVaries(t *testing.T) {
	names := make([]string, 17)
	for i := range names {
		names[i] = fmt.Sprint("x", i)
	}
	c := open(t, anHour)
	if keep(t, c, request("GET /a"), response(t, "200 OK", hour, "Vary: "+strings.Join(names, ",")), "", start) {
		t.Error("stored")
	}
	if !keep(t, c, request("GET /b"), response(t, "200 OK", hour, "Vary: "+strings.Join(names[1:], ",")), "", start) {
		t.Error("16 fields are not stored")
	}
}

// TestVaryIsBounded has clients ask for many long targets whose answers vary: what is remembered of them has a bound in bytes.
func TestVaryIsBounded(t *testing.T) {
	c := open(t, anHour)
	for i := range 2000 {
		keep(t, c, request(fmt.Sprint("GET /", strings.Repeat("x", 8000), i)), response(t, "200 OK", "Vary: Accept"), "", start)
	}
	if n := c.Remembered(); n > 9<<20 || n < 1<<20 {
		t.Errorf("%d bytes", n)
	}
}

// TestFollowers says which of those that wait may have the leader's answer.
func TestFollowers(t *testing.T) {
	for name, want := range map[string]struct {
		fields []string // of the response
		leader []string
		other  []string
		may    bool
	}{
		"no Vary":           {nil, []string{"Accept: a"}, []string{"Accept: b"}, true},
		"equal":             {[]string{"Vary: Accept"}, []string{"Accept: a"}, []string{"accept: a"}, true},
		"different":         {[]string{"Vary: Accept"}, []string{"Accept: a"}, []string{"Accept: b"}, false},
		"missing":           {[]string{"Vary: Accept"}, []string{"Accept: a"}, nil, false},
		"encodings":         {[]string{"Vary: Accept-Encoding"}, []string{"Accept-Encoding: a,b"}, []string{"Accept-Encoding: B, A"}, true},
		"coded":             {[]string{"Content-Encoding: gzip"}, []string{"Accept-Encoding: gzip"}, nil, false},
		"star":              {[]string{"Vary: *"}, nil, nil, false},
		"private":           {[]string{"Cache-Control: private"}, nil, nil, false},
		"a very long value": {[]string{"Vary: Accept"}, []string{"Accept: " + strings.Repeat("a", 999)}, []string{"Accept: " + strings.Repeat("a", 999)}, true},
	} {
		c := open(t, anHour)
		leader := request("GET /a", want.leader...)
		v := c.Judge(leader, response(t, "200 OK", want.fields...), plan(c, leader, start), at(start))
		if may := v.Matches(request("GET /a", want.other...)); may != want.may {
			t.Errorf("%s: %v", name, may)
		}
	}
}

// TestBounds fills a store far beyond its size.
func TestBounds(t *testing.T) {
	const most = 64 << 10
	c := cache.New(anHour, cache.Options{MaxBytes: most})
	defer c.Close()
	body := strings.Repeat("x", 1000)
	for i := range 1000 {
		keep(t, c, request(fmt.Sprint("GET /", i)), response(t, "200 OK", hour), body, start)
	}
	s := c.Stats()
	if s.Bytes > most || s.Entries < 20 || s.Entries > 60 {
		t.Errorf("%+v", s)
	}
	for _, size := range []int{int(c.MaxBody()) + 1, most} {
		if keep(t, c, request("GET /large"), response(t, "200 OK", hour), strings.Repeat("x", size), start) {
			t.Errorf("%d bytes are stored", size)
		}
	}
}

// TestShortBody does not store a body that is not whole.
func TestShortBody(t *testing.T) {
	c := open(t, anHour)
	if keep(t, c, request("GET /a"), response(t, "200 OK", hour, "Content-Length: 5"), "four", start) {
		t.Error("stored")
	}
}

// TestReplaced drops what is stored when an answer comes that is not.
func TestReplaced(t *testing.T) {
	for status, stays := range map[string]bool{"200 OK": false, "404 Not Found": false, "500 Internal Server Error": true, "429 Too Many Requests": true} {
		c := open(t, anHour)
		keep(t, c, request("GET /a"), response(t, "200 OK", hour), "old", start)
		keep(t, c, request("GET /a"), response(t, status, "Cache-Control: no-store"), "new", start)
		if got := found(c, request("GET /a"), start); (got == "old") != stays {
			t.Errorf("%s: %q", status, got)
		}
	}
}

// write tells a cache of a request that changed something.
func write(t *testing.T, c *cache.Cache, req *http1.Request, resp *http1.Response) bool {
	t.Helper()
	w, ok := cache.WriteOf(req, resp)
	if ok {
		c.Invalidate(&w)
	}
	return ok
}

func TestInvalidation(t *testing.T) {
	for name, want := range map[string]struct {
		line    string
		status  string
		fields  []string
		request []string
		dropped string // of /a, /b, /c/d and their variants
	}{
		"POST":                   {line: "POST /a", status: "200 OK", dropped: "/a"},
		"PUT":                    {line: "PUT /b", status: "204 No Content", dropped: "/b"},
		"PATCH":                  {line: "PATCH /a", status: "303 See Other", dropped: "/a"},
		"DELETE":                 {line: "DELETE /a", status: "202 Accepted", dropped: "/a"},
		"a method nobody knows":  {line: "M-SEARCH /a", status: "200 OK", dropped: "/a"},
		"another query":          {line: "POST /a?x", status: "200 OK"},
		"an error":               {line: "POST /a", status: "400 Bad Request"},
		"an error of the server": {line: "POST /a", status: "500 Internal Server Error"},
		"GET":                    {line: "GET /a", status: "200 OK"},
		"HEAD":                   {line: "HEAD /a", status: "200 OK"},
		"OPTIONS":                {line: "OPTIONS /a", status: "200 OK"},
		"Location":               {line: "POST /x", status: "201 Created", fields: []string{"Location: /a"}, dropped: "/a"},
		"Location, whole":        {line: "POST /x", status: "201 Created", fields: []string{"Location: http://EXAMPLE.com:80/a"}, dropped: "/a"},
		"Location, elsewhere":    {line: "POST /x", status: "201 Created", fields: []string{"Location: http://other.example/a"}},
		"Location, no host":      {line: "POST /x", status: "201 Created", fields: []string{"Location: //other.example/a"}},
		"Location, relative":     {line: "POST /c/x", status: "201 Created", fields: []string{"Location: d"}, dropped: "/c/d"},
		"Location, a fragment":   {line: "POST /x", status: "201 Created", fields: []string{"Location: /a#b"}, dropped: "/a"},
		"Location, broken":       {line: "POST /x", status: "201 Created", fields: []string{"Location: http://[/a"}},
		"Content-Location":       {line: "POST /x", status: "200 OK", fields: []string{"Content-Location: /b"}, dropped: "/b"},
		"another host":           {line: "POST /a", status: "200 OK", request: []string{"Host: other.example"}},
		"another tenant":         {line: "POST /a", status: "200 OK", request: []string{"X-Tenant: 2", "X-Original-URL: /x"}, dropped: "/a"},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, cache.Route{MaxTTL: time.Hour, ShareBy: []string{"X-Tenant"}})
			plain := open(t, anHour)
			for _, path := range []string{"/a", "/b", "/c/d"} {
				for _, kind := range []string{"1", "2"} {
					keep(t, c, request("GET "+path, "X-Tenant: 1", "Accept: "+kind), response(t, "200 OK", hour, "Vary: Accept"), path, start)
				}
				keep(t, plain, request("GET "+path), response(t, "200 OK", hour), path, start)
			}
			for _, each := range []*cache.Cache{c, plain} {
				write(t, each, request(want.line, want.request...), response(t, want.status, want.fields...))
			}
			for _, path := range []string{"/a", "/b", "/c/d"} {
				left := found(c, request("GET "+path, "X-Tenant: 1", "Accept: 1"), start) + found(c, request("GET "+path, "X-Tenant: 1", "Accept: 2"), start) +
					found(plain, request("GET "+path), start)
				if left != "" && path == want.dropped || left != path+path+path && path != want.dropped {
					t.Errorf("%s: left %q", path, left)
				}
			}
		})
	}
}

// TestFence writes to a resource while a call for it is under way.
func TestFence(t *testing.T) {
	for _, vary := range []string{"", "Accept"} {
		c := open(t, anHour)
		req := request("GET /a", "Accept: x")
		resp := response(t, "200 OK", hour, "Vary: "+vary)
		p := plan(c, req, start)
		v := c.Judge(req, resp, p, at(start))
		if !c.Current(p) {
			t.Error("not current before the write")
		}
		write(t, c, request("PUT /a"), response(t, "200 OK"))
		c.Learn(p, &v, start)
		if c.Current(p) || c.Put(&v, v.Entry([]byte("old"))) || found(c, req, start) != "" {
			t.Errorf("Vary %q: stored, though it began before the write", vary)
		}
		later := plan(c, req, start)
		if bytes.Equal(later.SlotKey(), p.SlotKey()) {
			t.Error("who comes after the write shares the slot of those before")
		}
		if !keep(t, c, req, resp, "new", start) || found(c, req, start) != "new" {
			t.Error("not stored, though it began after the write")
		}
	}
}

// TestRace has readers, writers and those who store meet on a few resources. A reader never gets what was current before the
// last write that ended before it asked.
func TestRace(t *testing.T) {
	c := open(t, anHour)
	const resources, rounds = 3, 2000
	var version [resources]struct {
		sync.RWMutex // held for writing while the origin changes
		n            int
	}
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range rounds {
				at := (i + worker) % resources
				target := fmt.Sprint("/", at)
				v := &version[at]
				if worker == 0 && i%10 == 0 {
					v.Lock()
					v.n++
					write(t, c, request("PUT "+target), &http1.Response{Status: 200})
					v.Unlock()
					continue
				}
				v.RLock()
				want := fmt.Sprint(v.n)
				req := request("GET " + target)
				p := plan(c, req, start)
				if e, state := c.Lookup(p, start); state.Usable() {
					if string(e.Body()) != want {
						t.Errorf("got version %s, want %s", e.Body(), want)
					}
					v.RUnlock()
					continue
				}
				v.RUnlock() // from here on the answer may grow old before it is stored
				resp := &http1.Response{Status: 200}
				resp.Declared = -1
				resp.Fields = []http1.Field{{Name: []byte("Cache-Control"), Value: []byte("max-age=60")}}
				verdict := c.Judge(req, resp, p, cache.Times{Request: start, Response: start})
				c.Learn(p, &verdict, start)
				c.Put(&verdict, verdict.Entry([]byte(want)))
			}
		})
	}
	group.Wait()
	if c.Stats().Entries > resources {
		t.Errorf("%+v", c.Stats())
	}
}
