package cache_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/cache"
	"github.com/sluicegate/sluice/internal/http1"
)

// start is when the tests begin; a Date field of that time says "Date: start".
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func date(t time.Time) string { return t.UTC().Format(http1.TimeFormat) }

// request builds a request from its line and fields: "GET /a", "Cookie: b".
func request(line string, fields ...string) *http1.Request {
	method, target, _ := strings.Cut(line, " ")
	r := &http1.Request{Method: []byte(method), Target: []byte(target), Host: []byte("example.com")}
	r.Declared = -1
	path, query, found := strings.Cut(target, "?")
	r.Path = []byte(path)
	if found {
		r.Query = []byte(query)
	}
	r.Minor = 1
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ":")
		field := http1.Field{Name: []byte(name), Value: []byte(strings.TrimSpace(value))}
		switch strings.ToLower(name) {
		case "host":
			field.Kind = http1.Host
			r.Host = field.Value
		case "x-forwarded-proto":
			field.Kind = http1.XForwardedProto
		case "x-forwarded-host":
			field.Kind = http1.XForwardedHost
		}
		r.Fields = append(r.Fields, field)
	}
	return r
}

// response reads a response from its status line's end and its fields, as one comes from an upstream.
func response(t testing.TB, status string, fields ...string) *http1.Response {
	t.Helper()
	raw := "HTTP/1.1 " + status + "\r\n" + strings.Join(append(fields, "", ""), "\r\n")
	var s http1.Stream
	s.Reset(strings.NewReader(raw))
	if err := s.Next(64<<10, false); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return &s.Response
}

// open returns a cache that is closed with the test.
func open(t testing.TB, route cache.Route) *cache.Cache {
	t.Helper()
	c := cache.New(route, cache.Options{MaxBytes: 1 << 20})
	t.Cleanup(c.Close)
	return c
}

// plan plans a request that came at a time.
func plan(c *cache.Cache, req *http1.Request, now time.Time) *cache.Plan {
	p := new(cache.Plan)
	c.Plan(p, req, false, now)
	return p
}

// at is a call that took no time.
func at(now time.Time) cache.Times { return cache.Times{Request: now, Response: now} }

// keep lets a request be answered by a response, and stores it where that is allowed.
func keep(t testing.TB, c *cache.Cache, req *http1.Request, resp *http1.Response, body string, now time.Time) bool {
	t.Helper()
	p := plan(c, req, now)
	v := c.Judge(req, resp, p, at(now))
	c.Learn(p, &v, now)
	return c.Put(&v, v.Entry([]byte(body)))
}

var anHour = cache.Route{MaxTTL: time.Hour}
