package cache_test

import (
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/cache"
)

// TestWhatARequestAllows is the requests' half of the sharing matrix: which wait for the answer to another.
func TestWhatARequestAllows(t *testing.T) {
	for name, c := range map[string]struct {
		line    string
		fields  []string
		shareBy []string
		pass    cache.Reason
		park    bool
		store   bool
	}{
		"plain":                   {line: "GET /a", park: true, store: true},
		"query":                   {line: "GET /a?b=c", park: true, store: true},
		"HEAD":                    {line: "HEAD /a"},
		"POST":                    {line: "POST /a", pass: cache.Method},
		"PUT":                     {line: "PUT /a", pass: cache.Method},
		"PATCH":                   {line: "PATCH /a", pass: cache.Method},
		"DELETE":                  {line: "DELETE /a", pass: cache.Method},
		"OPTIONS":                 {line: "OPTIONS /a", pass: cache.Method},
		"TRACE":                   {line: "TRACE /a", pass: cache.Method},
		"QUERY":                   {line: "QUERY /a", pass: cache.Method},
		"get":                     {line: "get /a", pass: cache.Method}, // methods are case-sensitive
		"no-store":                {line: "GET /a", fields: []string{"Cache-Control: no-store"}, pass: cache.NoStore},
		"No-Store":                {line: "GET /a", fields: []string{"cache-control: max-age=0 ,No-Store"}, pass: cache.NoStore},
		"If-Match":                {line: "GET /a", fields: []string{`If-Match: "a"`}, pass: cache.Precondition},
		"If-Unmodified-Since":     {line: "GET /a", fields: []string{"If-Unmodified-Since: " + date(start)}, pass: cache.Precondition},
		"If-None-Match":           {line: "GET /a", fields: []string{`If-None-Match: "a"`}},
		"If-Modified-Since":       {line: "GET /a", fields: []string{"If-Modified-Since: " + date(start)}},
		"Range":                   {line: "GET /a", fields: []string{"Range: bytes=0-1"}},
		"If-Range":                {line: "GET /a", fields: []string{`If-Range: "a"`}},
		"Authorization":           {line: "GET /a", fields: []string{"Authorization: Bearer a"}, store: true},
		"Cookie":                  {line: "GET /a", fields: []string{"Cookie: a=b"}, store: true},
		"cOOKIE":                  {line: "GET /a", fields: []string{"cOOKIE: a=b"}, store: true},
		"X-Api-Key":               {line: "GET /a", fields: []string{"X-Api-Key: a"}, store: true},
		"Api-Key":                 {line: "GET /a", fields: []string{"Api-Key: a"}, store: true},
		"X-Auth-Token":            {line: "GET /a", fields: []string{"X-Auth-Token: a"}, store: true},
		"configured credential":   {line: "GET /a", fields: []string{"x-user: a"}, store: true},
		"shared by Authorization": {line: "GET /a", fields: []string{"Authorization: a"}, shareBy: []string{"AUTHORIZATION"}, park: true, store: true},
		"shared by Cookie":        {line: "GET /a", fields: []string{"Cookie: a"}, shareBy: []string{"Cookie"}, park: true, store: true},
		"shared by X-User":        {line: "GET /a", fields: []string{"X-User: a"}, shareBy: []string{"X-User"}, park: true, store: true},
		"one of two shared by":    {line: "GET /a", fields: []string{"Cookie: a", "Authorization: b"}, shareBy: []string{"Cookie"}, store: true},
		"no-cache":                {line: "GET /a", fields: []string{"Cache-Control: no-cache"}, park: true, store: true},
		"other fields":            {line: "GET /a", fields: []string{"Accept: */*", "User-Agent: x", "X-Forwarded-For: 1.2.3.4"}, park: true, store: true},
	} {
		t.Run(name, func(t *testing.T) {
			kept := open(t, cache.Route{MaxTTL: time.Hour, ShareBy: c.shareBy, Credentials: []string{"X-User"}})
			p := plan(kept, request(c.line, c.fields...), start)
			if p.Pass != c.pass || p.Park != c.park || p.Store != c.store {
				t.Errorf("pass %q, park %v, store %v; want %q, %v, %v", p.Pass, p.Park, p.Store, c.pass, c.park, c.store)
			}
		})
	}
}

func TestBodyPasses(t *testing.T) {
	for _, length := range []int64{1, -1} {
		req := request("GET /a")
		req.Length = length
		if p := plan(open(t, anHour), req, start); p.Pass != cache.Body {
			t.Errorf("length %d: %v", length, p.Pass)
		}
	}
}

func TestHugeKeyPasses(t *testing.T) {
	long := make([]byte, 40<<10)
	for i := range long {
		long[i] = 'a'
	}
	if p := plan(open(t, anHour), request("GET /"+string(long)), start); p.Pass != cache.TooLarge {
		t.Errorf("%v", p.Pass)
	}
}

// judged is the responses' half of the sharing matrix.
type judged struct {
	status     string
	fields     []string
	request    []string // its fields
	shareBy    []string
	share      bool
	store      bool
	remembered bool // as not shareable
}

// yes is what a response that may be shared and stored is judged.
func yes(status string, fields ...string) judged {
	return judged{status: status, fields: fields, share: true, store: true}
}

// shared may go to others but not into the store.
func shared(status string, fields ...string) judged {
	return judged{status: status, fields: fields, share: true}
}

// own goes to its leader alone, as will the next ones.
func own(status string, fields ...string) judged {
	return judged{status: status, fields: fields, remembered: true}
}

// alone goes to its leader, and says nothing about the next ones.
func alone(status string, fields ...string) judged { return judged{status: status, fields: fields} }

// by is the same answer to a request with fields.
func (j judged) by(fields ...string) judged {
	j.request = fields
	return j
}

const hour = "Cache-Control: max-age=3600"

var judgements = map[string]judged{
	"max-age":                        yes("200 OK", hour),
	"s-maxage":                       yes("200 OK", "Cache-Control: s-maxage=1"),
	"Expires":                        yes("200 OK", "Expires: "+date(start.Add(time.Hour))),
	"public":                         yes("200 OK", "Cache-Control: public, max-age=5"),
	"nothing":                        shared("200 OK"),
	"Last-Modified alone":            shared("200 OK", "Last-Modified: "+date(start.Add(-time.Hour))),
	"public alone":                   shared("200 OK", "Cache-Control: public"),
	"max-age=0":                      shared("200 OK", "Cache-Control: max-age=0"),
	"max-age=0 with a validator":     yes("200 OK", "Cache-Control: max-age=0", `ETag: "a"`),
	"private":                        own("200 OK", "Cache-Control: private, max-age=60"),
	"PRIVATE":                        own("200 OK", "Cache-Control: max-age=60,PRIVATE"),
	"private in a second line":       own("200 OK", hour, "Cache-Control: private"),
	"private field":                  own("200 OK", `Cache-Control: max-age=60, private="x-a"`),
	"private, badly quoted":          own("200 OK", `Cache-Control: max-age=60, foo="private`),
	"private, within quotes":         own("200 OK", `Cache-Control: max-age=60, foo="a, private"`),
	"private, semicolon":             own("200 OK", `Cache-Control: private; max-age=60`),
	"no-store":                       own("200 OK", "Cache-Control: no-store"),
	"no-store with max-age":          own("200 OK", "Cache-Control: max-age=10000, no-store", "Expires: "+date(start.Add(time.Hour))),
	"No-StOrE":                       own("200 OK", "Cache-Control: No-StOrE"),
	"no-store, must-understand":      own("200 OK", "Cache-Control: max-age=3600, no-store, must-understand"),
	"no-store=x":                     own("200 OK", "Cache-Control: max-age=60, no-store=x"),
	"no-cache":                       own("200 OK", "Cache-Control: no-cache, max-age=60"),
	"no-cache=":                      own("200 OK", "Cache-Control: no-cache=, max-age=60"),
	"Pragma":                         own("200 OK", "Pragma: no-cache", hour),
	"Pragma with another word":       yes("200 OK", "Pragma: foo", hour),
	"Set-Cookie":                     own("200 OK", hour, "Set-Cookie: a=b"),
	"Set-Cookie and public":          own("200 OK", "Cache-Control: public, max-age=60", "set-cookie: a=b"),
	"Set-Cookie2":                    own("200 OK", hour, "Set-Cookie2: a=b"),
	"Authentication-Info":            own("200 OK", hour, "Authentication-Info: nextnonce=1"),
	"Vary: *":                        own("200 OK", hour, "Vary: *"),
	"Vary: *, *":                     own("200 OK", hour, "Vary: *, *"),
	"Vary: , *":                      own("200 OK", hour, "Vary: , *"),
	"Vary: Foo, *":                   own("200 OK", hour, "Vary: Foo, *"),
	"Vary: * in a second line":       own("200 OK", hour, "Vary: Foo", "Vary: *"),
	"Vary that is none":              own("200 OK", hour, "Vary: a b"),
	"Vary on who asks":               own("200 OK", hour, "Vary: X-Forwarded-For"),
	"Vary":                           yes("200 OK", hour, "Vary: Accept"),
	"empty Vary":                     yes("200 OK", hour, "Vary: "),
	"part":                           alone("206 Partial Content", hour, "Content-Range: bytes 0-1/2"),
	"206 without a range":            alone("206 Partial Content", hour),
	"200 with a range":               alone("200 OK", hour, "Content-Range: bytes 0-1/2"),
	"304":                            alone("304 Not Modified", hour),
	"401":                            alone("401 Unauthorized", hour, "WWW-Authenticate: Basic"),
	"407":                            alone("407 Proxy Authentication Required", hour),
	"203":                            yes("203 Non-Authoritative Information", hour),
	"204":                            yes("204 No Content", hour),
	"301":                            yes("301 Moved Permanently", hour),
	"302":                            yes("302 Found", hour),
	"307":                            yes("307 Temporary Redirect", hour),
	"308":                            yes("308 Permanent Redirect", hour),
	"404":                            yes("404 Not Found", hour),
	"410":                            yes("410 Gone", hour),
	"201":                            shared("201 Created", hour),
	"226":                            shared("226 IM Used", hour),
	"299":                            shared("299 ?", hour),
	"408":                            shared("408 Request Timeout", hour),
	"429":                            shared("429 Too Many Requests", hour),
	"500":                            shared("500 Internal Server Error", hour),
	"502":                            shared("502 Bad Gateway", hour),
	"503":                            shared("503 Service Unavailable", hour),
	"504":                            shared("504 Gateway Timeout", hour),
	"500 that is private":            alone("500 Internal Server Error", "Cache-Control: private"),
	"503 with a cookie":              alone("503 Service Unavailable", "Set-Cookie: a=b"),
	"max-age in quotes":              yes("200 OK", `Cache-Control: max-age="3600"`),
	"max-age in single quotes":       shared("200 OK", `Cache-Control: max-age='3600'`),
	"max-age, space before":          shared("200 OK", "Cache-Control: max-age =3600"),
	"max-age, space behind":          shared("200 OK", "Cache-Control: max-age= 3600"),
	"max-age=-1":                     shared("200 OK", "Cache-Control: max-age=-1", "Expires: "+date(start.Add(time.Hour))),
	"max-age=3600.0":                 shared("200 OK", "Cache-Control: max-age=3600.0"),
	"max-age=a3600":                  shared("200 OK", "Cache-Control: max-age=a3600"),
	"max-age=3600a":                  shared("200 OK", "Cache-Control: max-age=3600a"),
	"max-age=003600":                 yes("200 OK", "Cache-Control: max-age=003600"),
	"max-age within quotes":          shared("200 OK", `Cache-Control: extension="max-age=3600", max-age=0`),
	"two max-ages":                   shared("200 OK", "Cache-Control: max-age=3600, max-age=0"),
	"max-age with a bad twin":        shared("200 OK", "Cache-Control: max-age=3600", "Cache-Control: max-age=x"),
	"max-age behind a broken quote":  shared("200 OK", `Cache-Control: foo="a, max-age=3600`),
	"max-age before a broken quote":  yes("200 OK", `Cache-Control: max-age=3600, foo="a`),
	"s-maxage=0 wins":                shared("200 OK", "Cache-Control: max-age=3600, s-maxage=0"),
	"s-maxage wins":                  yes("200 OK", "Cache-Control: max-age=0, s-maxage=60", "Expires: 0"),
	"Expires: 0":                     shared("200 OK", "Expires: 0"),
	"two Expires":                    shared("200 OK", "Expires: "+date(start.Add(time.Hour)), "Expires: 0"),
	"Expires with another zone":      shared("200 OK", "Expires: Mon, 02 Mar 2026 12:00:00 CET"),
	"Expires in one digit":           shared("200 OK", "Expires: Mon, 02 Mar 2026 1:00:00 GMT"),
	"Expires with dashes":            shared("200 OK", "Expires: Mon, 02-Mar-2026 12:00:00 GMT"),
	"Expires as RFC 850":             yes("200 OK", "Expires: Monday, 02-Mar-26 12:00:00 GMT"),
	"Expires as RFC 850 elsewhere":   shared("200 OK", "Expires: Monday, 02-Mar-26 12:00:00 PST"),
	"Expires as asctime":             yes("200 OK", "Expires: Mon Mar  2 12:00:00 2026"),
	"too old":                        shared("200 OK", hour, "Age: 3600"),
	"old by Date":                    shared("200 OK", hour, "Date: "+date(start.Add(-time.Hour))),
	"Age that is none":               yes("200 OK", hour, "Age: 7200a"),
	"Authorization":                  alone("200 OK", hour).by("Authorization: a"),
	"Authorization, public":          yes("200 OK", "Cache-Control: public, max-age=60").by("Authorization: a"),
	"Authorization, public=x":        alone("200 OK", "Cache-Control: public=x, max-age=60").by("Authorization: a"),
	"Authorization, s-maxage":        yes("200 OK", "Cache-Control: s-maxage=60").by("Authorization: a"),
	"Authorization, must-revalidate": yes("200 OK", "Cache-Control: max-age=60, must-revalidate").by("Authorization: a"),
	"Authorization, proxy-revalid.":  alone("200 OK", "Cache-Control: max-age=60, proxy-revalidate").by("Authorization: a"),
	"Cookie":                         alone("200 OK", hour).by("Cookie: a"),
	"Cookie, public":                 yes("200 OK", "Cache-Control: public, max-age=60").by("Cookie: a"),
	"Cookie, must-revalidate":        alone("200 OK", "Cache-Control: max-age=60, must-revalidate").by("Cookie: a"),
	"Cookie, private":                alone("200 OK", "Cache-Control: private").by("Cookie: a"),
	"Authorization, no-store":        alone("200 OK", "Cache-Control: no-store").by("Authorization: a"),
	"API key":                        alone("200 OK", hour).by("X-Api-Key: a"),
	"shared by Cookie":               {status: "200 OK", fields: []string{hour}, request: []string{"Cookie: a"}, shareBy: []string{"cookie"}, share: true, store: true},
	"shared by Cookie, but private":  {status: "200 OK", fields: []string{"Cache-Control: private"}, request: []string{"Cookie: a"}, shareBy: []string{"cookie"}, remembered: true},
}

// TestWhatAResponseAllows holds every response of the matrix against its judgement, and looks whether the store keeps to it.
func TestWhatAResponseAllows(t *testing.T) {
	for name, want := range judgements {
		t.Run(name, func(t *testing.T) {
			c := open(t, cache.Route{MaxTTL: 24 * time.Hour, ShareBy: want.shareBy})
			req := request("GET /a", want.request...)
			p := plan(c, req, start)
			resp := response(t, want.status, want.fields...)
			v := c.Judge(req, resp, p, at(start))
			if v.Share != want.share || v.Store != want.store || v.Unshareable != want.remembered {
				t.Fatalf("share %v, store %v, remember %v; want %v, %v, %v", v.Share, v.Store, v.Unshareable, want.share, want.store, want.remembered)
			}
			c.Learn(p, &v, start)
			if c.Put(&v, v.Entry(nil)) != want.store {
				t.Errorf("put, against the verdict")
			}
			again := plan(c, req, start)
			if again.Known != want.remembered {
				t.Errorf("remembered as not shareable: %v", again.Known)
			}
			if e, _ := c.Lookup(again, start); (e != nil) != want.store {
				t.Errorf("found: %v", e)
			}
		})
	}
}

// TestRemembersForTwoMinutes lets a key that is not shareable be tried again in the end, and sooner if it turns out to be.
func TestRemembersForTwoMinutes(t *testing.T) {
	c := open(t, anHour)
	req := request("GET /a")
	keep(t, c, req, response(t, "200 OK", "Cache-Control: private"), "", start)
	if p := plan(c, req, start.Add(119*time.Second)); !p.Known || p.Park {
		t.Errorf("after 119 s: %+v", p)
	}
	if p := plan(c, req, start.Add(120*time.Second)); p.Known || !p.Park {
		t.Errorf("after 120 s: %+v", p)
	}
	if p := plan(c, request("GET /b"), start); p.Known {
		t.Error("another key is remembered")
	}
	keep(t, c, req, response(t, "200 OK", hour), "", start.Add(time.Second))
	if p := plan(c, req, start.Add(time.Second)); p.Known {
		t.Error("not forgotten when it became shareable")
	}
}
