package cache_test

import (
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/cache"
)

// TestRefresh confirms a stored response with a 304, or does not.
func TestRefresh(t *testing.T) {
	const modified = "Last-Modified: Sun, 01 Feb 2026 00:00:00 GMT"
	later := start.Add(time.Minute)
	for name, want := range map[string]struct {
		stored []string
		fresh  []string // fields of the 304
		about  bool
		store  bool
		share  bool
		ttl    time.Duration
		age    time.Duration
	}{
		"the same ETag":           {[]string{`ETag: "a"`}, []string{`ETag: "a"`, hour}, true, true, true, time.Hour, 0},
		"without its own max-age": {[]string{`ETag: "a"`}, []string{`ETag: "a"`}, true, true, true, 10 * time.Second, 0},
		"no validator":            {[]string{`ETag: "a"`}, []string{hour}, true, true, true, time.Hour, 0},
		"another ETag":            {[]string{`ETag: "a"`}, []string{`ETag: "b"`, hour}, false, false, false, 0, 0},
		"a strong for a weak":     {[]string{`ETag: W/"a"`}, []string{`ETag: "a"`, hour}, false, false, false, 0, 0},
		"a weak for a strong":     {[]string{`ETag: "a"`}, []string{`ETag: W/"a"`, hour}, true, true, true, time.Hour, 0},
		"another weak":            {[]string{`ETag: W/"a"`}, []string{`ETag: W/"b"`, hour}, false, false, false, 0, 0},
		"the same Last-Modified":  {[]string{modified}, []string{modified, hour}, true, true, true, time.Hour, 0},
		"another Last-Modified":   {[]string{modified}, []string{"Last-Modified: " + date(start), hour}, false, false, false, 0, 0},
		"an Age":                  {[]string{`ETag: "a"`}, []string{hour, "Age: 5"}, true, true, true, time.Hour - 5*time.Second, 5 * time.Second},
		"private now":             {[]string{`ETag: "a"`}, []string{"Cache-Control: private"}, true, false, false, 10 * time.Second, 0},
		"no-store now":            {[]string{`ETag: "a"`}, []string{"Cache-Control: no-store"}, true, false, false, 10 * time.Second, 0},
		"a cookie now":            {[]string{`ETag: "a"`}, []string{"Set-Cookie: a=b"}, true, false, false, 10 * time.Second, 0},
		"it varies now":           {[]string{`ETag: "a"`}, []string{"Vary: Accept"}, true, false, false, 10 * time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, cache.Route{MaxTTL: day})
			req := request("GET /a")
			keep(t, c, req, response(t, "200 OK", append(want.stored, "Cache-Control: max-age=10", "Date: "+date(start))...), "body", start)
			p := plan(c, req, later)
			old, _ := c.Lookup(p, later)
			e, v := c.Refresh(old, response(t, "304 Not Modified", append(want.fresh, "Date: "+date(later))...), p, at(later))
			if (e != nil) != want.about || v.Store != want.store || v.Share != want.share {
				t.Fatalf("about it %v, store %v, share %v", e != nil, v.Store, v.Share)
			}
			if e == nil {
				return
			}
			wantTTL := want.ttl
			if !want.store {
				return
			}
			if e.TTL(later) != wantTTL || e.Age(later) != want.age || string(e.Body()) != "body" {
				t.Errorf("ttl %v, age %v, %q", e.TTL(later), e.Age(later), e.Body())
			}
			if !c.Put(&v, e) || found(c, req, later) != "body" {
				t.Error("not found again")
			}
		})
	}
}

// TestRefreshedHead looks at the fields of a confirmed response.
func TestRefreshedHead(t *testing.T) {
	c := open(t, anHour)
	req := request("GET /a")
	keep(t, c, req, response(t, "200 OK", "Date: "+date(start), "Cache-Control: max-age=1", `ETag: "a"`, "X-Keep: 1", "X-Change: 1", "x-change: 2",
		"Content-Type: text/plain", "Content-Length: 4", "Content-Encoding: identity"), "body", start)
	later := start.Add(time.Minute)
	p := plan(c, req, later)
	old, _ := c.Lookup(p, later)
	e, v := c.Refresh(old, response(t, "304 Not Modified", "Date: "+date(later), "Cache-Control: max-age=60", `ETag: "a"`, "X-Change: 3", "X-New: 1", "Content-Type: a/b",
		"Content-Length: 9", "Content-Encoding: gzip", "Connection: X-Hop", "X-Hop: 1"), p, at(later))
	if !c.Put(&v, e) {
		t.Fatal("not stored")
	}
	resp, body := ask(t, answering(t, c, later), "GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n")
	if body != "body" || resp.ContentLength != 4 {
		t.Errorf("%q", body)
	}
	for name, want := range map[string]string{
		"Date": date(later), "Cache-Control": "max-age=60", "Etag": `"a"`, "X-Keep": "1", "X-Change": "3", "X-New": "1", "Content-Type": "text/plain",
		"Content-Encoding": "identity", "X-Hop": "", "Via": "1.1 sluice", "Age": "0",
	} {
		if got := resp.Header.Values(name); len(got) > 1 || resp.Header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestStatusField(t *testing.T) {
	for want, s := range map[string]cache.StatusField{
		"sluice; hit":         {Hit: true},
		"sluice; hit; ttl=30": {Hit: true, HasTTL: true, TTL: 30*time.Second + time.Millisecond, Stored: true, Forward: cache.ForwardStale},
		"sluice; hit; ttl=-5; detail=stale-while-revalidate":       {Hit: true, HasTTL: true, TTL: -5 * time.Second, Detail: "stale-while-revalidate"},
		"sluice; fwd=uri-miss":                                     {Forward: cache.ForwardURIMiss},
		"sluice; fwd=uri-miss; collapsed":                          {Forward: cache.ForwardURIMiss, Collapsed: true},
		"sluice; fwd=stale; fwd-status=304; ttl=60; stored":        {Forward: cache.ForwardStale, Status: 304, HasTTL: true, TTL: time.Minute, Stored: true},
		"sluice; fwd=vary-miss; stored":                            {Forward: cache.ForwardVaryMiss, Stored: true},
		"sluice; fwd=stale; fwd-status=503; detail=stale-if-error": {Forward: cache.ForwardStale, Status: 503, Detail: "stale-if-error"},
	} {
		if got := string(s.Append(nil)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestForward gives the reason for a request that went to the upstream.
func TestForward(t *testing.T) {
	c := open(t, anHour)
	keep(t, c, request("GET /stale"), response(t, "200 OK", hour), "", start)
	keep(t, c, request("GET /varied"), response(t, "200 OK", hour, "Vary: Accept"), "", start)
	now := start.Add(time.Hour)
	for name, want := range map[string]struct {
		line    string
		field   string
		forward cache.Forward
	}{
		"method":       {"POST /a", "", cache.ForwardMethod},
		"no-store":     {"GET /a", "Cache-Control: no-store", cache.ForwardRequest},
		"precondition": {"GET /a", `If-Match: "a"`, cache.ForwardBypass},
		"miss":         {"GET /a", "", cache.ForwardURIMiss},
		"variant":      {"GET /varied", "Accept: x", cache.ForwardVaryMiss},
		"stale":        {"GET /stale", "", cache.ForwardStale},
		"no-cache":     {"GET /stale", "Cache-Control: no-cache", cache.ForwardRequest},
	} {
		p := plan(c, request(want.line, want.field), now)
		_, state := c.Lookup(p, now)
		if got := cache.ForwardFor(p, state); got != want.forward {
			t.Errorf("%s: %q, want %q", name, got, want.forward)
		}
	}
}
