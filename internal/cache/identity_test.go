package cache_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/cache"
	"github.com/sluicegate/sluice/internal/http1"
)

// TestKeys says of pairs of requests whether they have one identity, for a route that shares by X-Tenant and Cookie.
func TestKeys(t *testing.T) {
	get := request
	for name, c := range map[string]struct {
		a, b    *http1.Request
		trusted bool
		same    bool
	}{
		"the same":                     {a: get("GET /a?b=c", "Accept: x"), b: get("GET /a?b=c", "Accept: y"), same: true},
		"HEAD and GET":                 {a: get("HEAD /a"), b: get("GET /a"), same: true},
		"the case of the host":         {a: get("GET /", "Host: Example.COM"), b: get("GET /", "Host: example.com"), same: true},
		"the default port":             {a: get("GET /", "Host: example.com:80"), b: get("GET /", "Host: example.com"), same: true},
		"another port":                 {a: get("GET /", "Host: example.com:8080"), b: get("GET /", "Host: example.com")},
		"another host":                 {a: get("GET /", "Host: a"), b: get("GET /", "Host: b")},
		"host and path run together":   {a: get("GET /b", "Host: a/"), b: get("GET b", "Host: a//")},
		"the case of the path":         {a: get("GET /a"), b: get("GET /A")},
		"escapes":                      {a: get("GET /%61"), b: get("GET /a")},
		"a slash more":                 {a: get("GET /a"), b: get("GET /a/")},
		"an empty query":               {a: get("GET /a"), b: get("GET /a?")},
		"the order of the query":       {a: get("GET /a?b&c"), b: get("GET /a?c&b")},
		"a tenant":                     {a: get("GET /a", "X-Tenant: 1"), b: get("GET /a", "x-tenant: 2")},
		"a tenant in another spelling": {a: get("GET /a", "X-Tenant: 1"), b: get("GET /a", "x-tenant: 1"), same: true},
		"a tenant and none":            {a: get("GET /a", "X-Tenant: "), b: get("GET /a")},
		"two values and one":           {a: get("GET /a", "X-Tenant: 1", "X-Tenant: 2"), b: get("GET /a", "X-Tenant: 1, 2")},
		"the order of values":          {a: get("GET /a", "X-Tenant: 1", "X-Tenant: 2"), b: get("GET /a", "X-Tenant: 2", "X-Tenant: 1")},
		"a value under another name":   {a: get("GET /a", "X-Tenant: 1"), b: get("GET /a", "Cookie: 1")},
		"X-Original-URL":               {a: get("GET /a", "X-Original-URL: /admin"), b: get("GET /a")},
		"X-Rewrite-URL":                {a: get("GET /a", "X-Rewrite-URL: /admin"), b: get("GET /a", "X-Original-URL: /admin")},
		"X-HTTP-Method-Override":       {a: get("GET /a", "X-HTTP-Method-Override: POST"), b: get("GET /a")},
		"X-HTTP-Method":                {a: get("GET /a", "X-HTTP-Method: POST"), b: get("GET /a")},
		"X-Method-Override":            {a: get("GET /a", "X-Method-Override: POST"), b: get("GET /a")},
		"X-Host":                       {a: get("GET /a", "X-Host: b"), b: get("GET /a")},
		"X-Original-Host":              {a: get("GET /a", "X-Original-Host: b"), b: get("GET /a")},
		"X-Forwarded-Server":           {a: get("GET /a", "X-Forwarded-Server: b"), b: get("GET /a")},
		"X-Forwarded-Scheme":           {a: get("GET /a", "X-Forwarded-Scheme: b"), b: get("GET /a")},
		"X-Forwarded-Prefix":           {a: get("GET /a", "X-Forwarded-Prefix: b"), b: get("GET /a")},
		"X-Forwarded-Port":             {a: get("GET /a", "X-Forwarded-Port: 1"), b: get("GET /a")},
		"X-Forwarded-Ssl":              {a: get("GET /a", "X-Forwarded-Ssl: on"), b: get("GET /a")},
		"X-Forwarded-Protocol":         {a: get("GET /a", "X-Forwarded-Protocol: ssl"), b: get("GET /a")},
		"X-Url-Scheme":                 {a: get("GET /a", "X-Url-Scheme: https"), b: get("GET /a")},
		"X-Forwarded-Uri":              {a: get("GET /a", "X-Forwarded-Uri: /admin"), b: get("GET /a")},
		"X-Forwarded-Path":             {a: get("GET /a", "X-Forwarded-Path: /admin"), b: get("GET /a")},
		"X-Original-Uri":               {a: get("GET /a", "X-Original-Uri: /admin"), b: get("GET /a")},
		"Front-End-Https":              {a: get("GET /a", "Front-End-Https: on"), b: get("GET /a")},
		"Forwarded":                    {a: get("GET /a", "Forwarded: host=b"), b: get("GET /a")},
		"Forwarded for":                {a: get("GET /a", "Forwarded: for=1"), b: get("GET /a", "Forwarded: for=2")},
		"Forwarded for, trusted":       {a: get("GET /a", "Forwarded: for=1;proto=https"), b: get("GET /a", "Forwarded: For=2; proto=https"), trusted: true},
		"Forwarded for alone, trusted": {a: get("GET /a", "Forwarded: for=1"), b: get("GET /a", "Forwarded: for=2, by=3"), trusted: true, same: true},
		"Forwarded host, trusted":      {a: get("GET /a", "Forwarded: for=1;host=b"), b: get("GET /a", "Forwarded: for=1;host=c"), trusted: true},
		"Forwarded in quotes, trusted": {a: get("GET /a", `Forwarded: for="1;host=b"`), b: get("GET /a", `Forwarded: for="1"`), trusted: true},
		"X-Forwarded-Proto":            {a: get("GET /a", "X-Forwarded-Proto: https"), b: get("GET /a"), same: true},
		"X-Forwarded-Proto, trusted":   {a: get("GET /a", "X-Forwarded-Proto: https"), b: get("GET /a"), trusted: true},
		"X-Forwarded-Host, trusted":    {a: get("GET /a", "X-Forwarded-Host: b"), b: get("GET /a"), trusted: true},
		"X-Forwarded-For":              {a: get("GET /a", "X-Forwarded-For: 1"), b: get("GET /a"), same: true},
	} {
		t.Run(name, func(t *testing.T) {
			kept := open(t, cache.Route{MaxTTL: day, ShareBy: []string{"X-Tenant", "Cookie"}})
			var a, b cache.Plan
			kept.Plan(&a, c.a, c.trusted, start)
			kept.Plan(&b, c.b, c.trusted, start)
			if same := bytes.Equal(a.Key(), b.Key()); same != c.same || same != bytes.Equal(a.SlotKey(), b.SlotKey()) || same != (a.Hash() == b.Hash()) {
				t.Errorf("one key: %v, want %v\n%q\n%q", same, c.same, a.Key(), b.Key())
			}
		})
	}
}

// FuzzIdentity makes pairs of requests. If they differ in what the key must hold, their keys differ, or one of them waits
// for nobody; and what one stores never answers the other.
func FuzzIdentity(f *testing.F) {
	f.Add("h", "/a", "X-Tenant\x001", "h", "/a", "X-Tenant\x002")
	f.Add("h", "/a", "Cookie\x00a\x00Cookie\x00b", "h", "/a", "Cookie\x00a, b")
	f.Add("h", "/a", "Authorization\x00a", "h", "/a", "")
	f.Add("h", "/a", "Accept-Language\x00de", "h", "/a", "Accept-Language\x00en")
	f.Add("h", "/a", "X-Original-URL\x00/b", "h", "/a", "")
	f.Add("ha", "/", "Accept-Encoding\x00gzip, br", "h", "a/", "Accept-Encoding\x00br,gzip")
	f.Fuzz(func(t *testing.T, hostA, targetA, fieldsA, hostB, targetB, fieldsB string) {
		a, b := fuzzed(hostA, targetA, fieldsA), fuzzed(hostB, targetB, fieldsB)
		c := open(t, cache.Route{MaxTTL: day, ShareBy: []string{"X-Tenant", "Cookie"}})
		vary := response(t, "200 OK", "Cache-Control: max-age=60", "Vary: X-Kind")
		keep(t, c, a, vary, "a", start)
		planA, planB := plan(c, a, start), plan(c, b, start)
		if slices.Equal(identity(a), identity(b)) {
			return
		}
		if bytes.Equal(planA.Key(), planB.Key()) && planA.Pass == 0 && planB.Pass == 0 && planA.Park && planB.Park {
			t.Fatalf("one key %q for\n%q\n%q", planA.Key(), identity(a), identity(b))
		}
		if e, state := c.Lookup(planB, start); state.Usable() {
			t.Fatalf("%q of %q goes to %q", e.Body(), identity(a), identity(b))
		}
	})
}

// fuzzed builds a request from names and values that are separated by zeros.
func fuzzed(host, target, fields string) *http1.Request {
	r := request("GET /", "Host: "+host)
	r.Host, r.Target, r.Path = []byte(host), []byte(target), []byte(target)
	parts := strings.Split(fields, "\x00")
	for i := 0; i+1 < len(parts); i += 2 {
		r.Fields = append(r.Fields, http1.Field{Name: []byte(parts[i]), Value: []byte(parts[i+1])})
	}
	return r
}

// identity lists, as plainly as can be, what makes two requests different for FuzzIdentity's cache.
func identity(r *http1.Request) []string {
	list := []string{strings.TrimSuffix(lower(string(r.Host)), ":80"), string(r.Target)}
	for _, name := range []string{"x-tenant", "cookie", "x-kind", "x-original-url", "forwarded"} {
		list = append(list, name+":")
		for i := range r.Fields {
			if lower(string(r.Fields[i].Name)) == name {
				list = append(list, "="+string(r.Fields[i].Value))
			}
		}
	}
	return list
}

// lower is for ASCII letters, whatever else the bytes are.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// FuzzDirectives appends to a Cache-Control field what permits nothing: the response must not be shared, stored, or fresh
// for longer than without it.
func FuzzDirectives(f *testing.F) {
	f.Add("max-age=60", `x="`)
	f.Add(`private="a`, `"`)
	f.Add("no-cache=\"a\", max-age=5", "\\")
	f.Add("public, max-age=60", "no-store=,;=\"\"")
	f.Fuzz(func(t *testing.T, value, garbage string) {
		if !http1.IsFieldValue([]byte(value)) || !http1.IsFieldValue([]byte(garbage)) {
			return
		}
		for _, word := range []string{"age", "public", "stale", "revalidate"} { // what may permit something
			if strings.Contains(lower(garbage), word) {
				return
			}
		}
		before, after := judgeValue(t, value), judgeValue(t, value+", "+garbage)
		if after.Share && !before.Share || after.Store && !before.Store || after.FreshFor > before.FreshFor {
			t.Errorf("%q: share %v, store %v, fresh for %v\n%q: share %v, store %v, fresh for %v", value, before.Share, before.Store, before.FreshFor,
				value+", "+garbage, after.Share, after.Store, after.FreshFor)
		}
	})
}

func judgeValue(t *testing.T, value string) cache.Verdict {
	c := cache.New(anHour, cache.Options{})
	req := request("GET /a")
	resp := response(t, "200 OK", `ETag: "a"`)
	resp.Fields = append(resp.Fields, http1.Field{Name: []byte("Cache-Control"), Value: []byte(value)})
	return c.Judge(req, resp, plan(c, req, start), at(start))
}
