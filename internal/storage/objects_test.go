package storage_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
)

func etagOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func digestOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "sha-512=:AAAA:, sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// Content that is stored comes back byte for byte, with its type; what replaces it counts in its place.
func TestContent(t *testing.T) {
	n := serve(t, t.TempDir())
	a := n.put("dir/f%201.txt", "hello, world", "Content-Type", "text/plain", "Content-Digest", digestOf("hello, world"))
	a.is(t, 201, `"objectId":"dir/f 1.txt","sizeInByte":12`)
	if a.head.Get("ETag") != etagOf("hello, world") || a.head.Get("Location") != "/object-storage/bucket-1/dir/f%201.txt?userId=1" {
		t.Errorf("%v", a.head)
	}
	for _, method := range []string{"GET", "HEAD"} {
		r := n.ask(method, a.head.Get("Location"), "")
		want := map[string]string{"GET": "hello, world"}[method]
		if r.status != 200 || r.body != want || r.head.Get("Content-Type") != "text/plain" || r.head.Get("Content-Length") != "12" ||
			r.head.Get("X-Content-Type-Options") != "nosniff" || r.head.Get("Accept-Ranges") != "bytes" {
			t.Errorf("%s: %+v", method, r)
		}
	}
	n.used("1", 12)
	n.put("dir/f%201.txt", "bye").is(t, 200)
	n.get(a.head.Get("Location")).is(t, 200, "bye")
	n.put("empty", "", "Content-Length", "0").is(t, 201)
	n.get("/object-storage/bucket-1/empty?userId=1").is(t, 200, "")
	n.used("1", 3)
	n.tidy()
}

func TestConditions(t *testing.T) {
	n := serve(t, t.TempDir())
	n.put("o", "x", "If-Match", "*").problem(t, 412, "precondition-failed")
	n.put("o", "one", "If-None-Match", "*").is(t, 201)
	n.put("o", "two", "If-None-Match", "*").problem(t, 412, "precondition-failed")
	n.put("o", "two", "If-Match", etagOf("other")+", "+"W/"+etagOf("one")).problem(t, 412, "precondition-failed")
	n.put("o", "two", "If-Match", etagOf("other")+", "+etagOf("one")).is(t, 200)
	n.put("o", "two", "If-None-Match", etagOf("two")).problem(t, 412, "precondition-failed")
	n.put("o", "x", "If-Match", "what").problem(t, 400, "invalid-object", `"field":"If-Match"`)
	const o = "/object-storage/bucket-1/o?userId=1"
	modified := n.get(o).head.Get("Last-Modified")
	for _, c := range []struct {
		status      int
		name, value string
	}{
		{304, "If-None-Match", etagOf("two")}, {304, "If-None-Match", `"a", W/` + etagOf("two")}, {304, "If-None-Match", "*"},
		{200, "If-None-Match", etagOf("one")}, {200, "If-Match", etagOf("two")}, {412, "If-Match", etagOf("one")}, {200, "If-Match", "*"},
		{304, "If-Modified-Since", modified}, {200, "If-Modified-Since", "Mon, 02 Jan 2006 15:04:05 GMT"}, {200, "If-Modified-Since", "yesterday"},
		{200, "If-Unmodified-Since", modified}, {412, "If-Unmodified-Since", "Mon, 02 Jan 2006 15:04:05 GMT"},
	} {
		if a := n.get(o, c.name, c.value); a.status != c.status {
			t.Errorf("%s: %s answered %d, want %d", c.name, c.value, a.status, c.status)
		}
	}
	n.ask("DELETE", o, "", "If-Match", etagOf("one")).problem(t, 412, "precondition-failed")
	n.ask("DELETE", o, "", "If-Match", etagOf("two")).is(t, 204)
	n.ask("DELETE", o, "").problem(t, 404, "unknown-object")
	n.used("1", 0)
	n.tidy()
}

func TestRanges(t *testing.T) {
	n := serve(t, t.TempDir())
	n.put("o", "0123456789").is(t, 201)
	n.put("none", "").is(t, 201)
	const o, none = "/object-storage/bucket-1/o?userId=1", "/object-storage/bucket-1/none?userId=1"
	for _, c := range []struct {
		target, value string
		status        int
		body, says    string
	}{
		{o, "bytes=2-4", 206, "234", "bytes 2-4/10"},
		{o, "bytes=7-", 206, "789", "bytes 7-9/10"},
		{o, "bytes=7-99999999999999999999999", 206, "789", "bytes 7-9/10"},
		{o, "bytes=-3", 206, "789", "bytes 7-9/10"},
		{o, "bytes=-30", 206, "0123456789", "bytes 0-9/10"},
		{o, "bytes=10-", 416, "", "bytes */10"},
		{o, "bytes=-0", 416, "", "bytes */10"},
		{none, "bytes=0-", 416, "", "bytes */0"},
		{o, "bytes=4-2", 200, "0123456789", ""},
		{o, "bytes=1-2,4-5", 200, "0123456789", ""},
		{o, "bytes=a-b", 200, "0123456789", ""},
		{o, "lines=1-2", 200, "0123456789", ""},
	} {
		a := n.get(c.target, "Range", c.value)
		if a.status != c.status || c.status != 416 && a.body != c.body || a.head.Get("Content-Range") != c.says {
			t.Errorf("%s: answered %d %q %q, want %+v", c.value, a.status, a.body, a.head.Get("Content-Range"), c)
		}
	}
	n.get(o, "Range", "bytes=1-2", "If-Range", etagOf("0123456789")).is(t, 206, "12")
	n.get(o, "Range", "bytes=1-2", "If-Range", etagOf("other")).is(t, 200, "0123456789")
}

func TestLists(t *testing.T) {
	n := serve(t, t.TempDir())
	for _, object := range []string{"a", "b/1", "b/2", "b/3", "c", "b"} {
		n.put(object, "x").is(t, 201)
	}
	n.ask("PUT", "/object-storage/bucket-2/z?userId=1", "x").is(t, 201)
	n.ask("PUT", "/object-storage/bucket-1/other?userId=10", "x").is(t, 201)
	type page struct {
		Objects []struct{ ObjectID string }
		Buckets []string
		Next    string
	}
	all := func(target string) (names []string) {
		for cursor := ""; ; {
			var p page
			n.get(target+"&cursor="+cursor).is(t, 200).json(t, &p)
			for _, o := range p.Objects {
				names = append(names, o.ObjectID)
			}
			names = append(names, p.Buckets...)
			if cursor = p.Next; cursor == "" {
				return names
			}
		}
	}
	for target, want := range map[string]string{
		"/object-storage/bucket-1?userId=1":                     "[a b b/1 b/2 b/3 c]",
		"/object-storage/bucket-1?userId=1&limit=2":             "[a b b/1 b/2 b/3 c]",
		"/object-storage/bucket-1?userId=1&limit=2&prefix=b%2F": "[b/1 b/2 b/3]",
		"/object-storage/bucket-1?userId=1&prefix=x":            "[]",
		"/object-storage/bucket-3?userId=1":                     "[]",
		"/object-storage?userId=1&limit=1":                      "[bucket-1 bucket-2]",
		"/object-storage?userId=10":                             "[bucket-1]",
	} {
		if got := fmt.Sprint(all(target)); got != want {
			t.Errorf("%s lists %s, want %s", target, got, want)
		}
	}
	for _, bad := range []string{"limit=0", "limit=x", "limit=1001", "cursor=%25", "prefix=a&prefix=b"} {
		field, _, _ := strings.Cut(bad, "=")
		n.get("/object-storage/bucket-1?userId=1&"+bad).problem(t, 400, "invalid-parameter", `"field":"`+field+`"`)
	}
}

// What is wrong is told by the name of the field, and changes nothing.
func TestMistakes(t *testing.T) {
	n := serve(t, t.TempDir())
	base := map[string]string{"objectId": `"o"`, "sizeInByte": "1", "bucketName": `"bucket-1"`, "fileName": `"f"`}
	body := func(field, value string) string {
		var parts []string
		for name, v := range base {
			if name == field {
				v = value
			}
			if v != "" {
				parts = append(parts, fmt.Sprintf("%q:%s", name, v))
			}
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	for _, c := range []struct{ field, value string }{
		{"objectId", ""}, {"objectId", "5"}, {"objectId", "null"}, {"objectId", `""`}, {"objectId", `"a\u0000"`}, {"objectId", `"\ud800"`}, {"objectId", `"../x"`},
		{"objectId", `"/x"`}, {"objectId", `"a//b"`}, {"objectId", `"` + strings.Repeat("a", 1025) + `"`}, {"objectId", `["a"]`},
		{"sizeInByte", ""}, {"sizeInByte", "-1"}, {"sizeInByte", "-0"}, {"sizeInByte", "1.5"}, {"sizeInByte", "1e3"}, {"sizeInByte", `"1"`},
		{"sizeInByte", "18446744073709551616"}, {"sizeInByte", "9223372036854775807"}, {"sizeInByte", "true"}, {"sizeInByte", "{}"},
		{"bucketName", ""}, {"bucketName", `"B"`}, {"bucketName", `"ab"`}, {"bucketName", `"a..b"`}, {"bucketName", `"-ab"`}, {"bucketName", `"a/b"`},
		{"fileName", ""}, {"fileName", `"a/b"`}, {"fileName", `".."`}, {"fileName", `"a\nb"`}, {"fileName", `"a\\b"`},
	} {
		n.order("1", body(c.field, c.value)).problem(t, 400, "invalid-object", `"field":"`+c.field+`"`)
	}
	for _, text := range []string{"", "{", "[]", "5", `{"objectId"`, `{"objectId":}`, body("", "") + "x", body("", "") + "{}", "{\"objectId\":\"\xff\"}"} {
		n.order("1", text).problem(t, 400, "invalid-object", `"field":"body"`)
	}
	n.order("1", `{"objectId":"a","objectId":"a"}`).problem(t, 400, "invalid-object", `"field":"objectId"`)
	n.order("1", `{"OBJECTID":"a"}`).problem(t, 400, "invalid-object", `"field":"OBJECTID"`)
	n.order("1", strings.Repeat(" ", 17<<10)).problem(t, 413, "body-too-large")
	n.ask("POST", "/object-storage?userId=1", pngOrder, "Content-Type", "text/plain").problem(t, 415, "unsupported-media-type")
	n.ask("POST", "/object-storage?userId=1", pngOrder, "Idempotency-Key", "a b").problem(t, 400, "invalid-object", `"field":"Idempotency-Key"`)
	for _, q := range []string{"", "?userId=", "?userId=%00", "?userId=1&userId=2", "?userId=" + strings.Repeat("a", 129), "?userId=%ff", "?userid=1"} {
		n.ask("POST", "/object-storage"+q, pngOrder).problem(t, 400, "invalid-parameter", `"field":"userId"`)
		n.get("/quota"+q).problem(t, 400, "invalid-parameter", `"field":"userId"`)
	}
	n.ask("PATCH", "/object-storage?userId=1", "").problem(t, 405, "method-not-allowed", "POST, GET, HEAD")
	n.get("/nothing").problem(t, 404, "no-route")
	n.get("/jobs/x?userId=1").problem(t, 400, "invalid-parameter", `"field":"id"`)
	n.get("/jobs/00000000000000000000000001?userId=1").problem(t, 404, "unknown-job")
	n.used("1", 0)
	n.tidy()
}

// Names in paths that mean something to file systems, and content that is not what its head says.
func TestHostileUploads(t *testing.T) {
	n := serve(t, t.TempDir())
	for object, field := range map[string]string{
		"..":                              "object",
		"%2e%2e":                          "object",
		"a/../../etc/passwd":              "object",
		"..%2f..%2fetc%2fpasswd":          "object",
		"%2fetc%2fpasswd":                 "object",
		"a//b":                            "object",
		"a%00b":                           "object",
		"a%0ab":                           "object",
		"%c2%85":                          "object",
		"%ff":                             "object",
		"%":                               "object",
		"":                                "object",
		strings.Repeat("a", 1025):         "object",
		"..%5c..%5cx":                     "", // a backslash is a character like others: names are no paths here
		url.PathEscape("／etc／passwd"):     "", // full-width slashes
		url.PathEscape("\u202egnp.exe"):   "", // right to left
		url.PathEscape("e\u0301"):         "",
		url.PathEscape("é"):               "", // another name than the one before
		strings.Repeat("%2541", 1024/3):   "", // decoded once: %41
		strings.Repeat("a", 1024):         "",
		"CON":                             "",
		url.PathEscape(".tmp-x"):          "",
		url.PathEscape("a\u200b"):         "",
		url.PathEscape("${jndi:ldap://}"): "object", // two slashes in a row
	} {
		a := n.raw("PUT /object-storage/bucket-1/"+object+"?userId=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", true)
		want := "HTTP/1.1 201"
		if field != "" {
			want = "HTTP/1.1 400"
		}
		if !strings.HasPrefix(a, want) || field != "" && !strings.Contains(a, `"field":"`+field+`"`) {
			t.Errorf("%q answered %.300s, want %s", object, a, want)
		}
	}
	for head, want := range map[string]string{
		"Content-Length: 10\r\n\r\nshort":                       "", // and then the client has gone
		"Content-Length: 50000001\r\n\r\n":                      "HTTP/1.1 403",
		"Content-Length: 999999999999999999\r\n\r\n":            "HTTP/1.1 403",
		"Content-Length: 9999999999999999999\r\n\r\n":           "HTTP/1.1 400",
		"Content-Length: -1\r\n\r\n":                            "HTTP/1.1 400",
		"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx":      "HTTP/1.1 400",
		"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n": "HTTP/1.1 411",
		"\r\n": "HTTP/1.1 411",
		"Content-Length: 1\r\nContent-Encoding: gzip\r\n\r\nx":                "HTTP/1.1 400",
		"Content-Length: 1\r\nContent-Range: bytes 0-0/2\r\n\r\nx":            "HTTP/1.1 400",
		"Content-Length: 1\r\nContent-Digest: sha-256=:AAAA:\r\n\r\nx":        "HTTP/1.1 400",
		"Content-Length: 1\r\nContent-Digest: !\r\n\r\nx":                     "HTTP/1.1 400",
		"Content-Length: 1\r\nContent-Digest: " + digestOf("y") + "\r\n\r\nx": "HTTP/1.1 400",
	} {
		a := n.raw("PUT /object-storage/bucket-1/lie?userId=9 HTTP/1.1\r\nHost: x\r\n"+head, want != "")
		if !strings.HasPrefix(a, want) {
			t.Errorf("%q answered %.300s, want %s", head, a, want)
		}
	}
	await(t, "the aborted upload is released", func() bool { return n.usage("9").Reserved == 0 })
	n.used("9", 0)
	n.get("/object-storage/bucket-1/lie?userId=9").problem(t, 404, "unknown-object")
	n.tidy()
}

// raw sends bytes as they are and returns what comes back, if somebody waits for it.
func (n *node) raw(request string, wait bool) string {
	n.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(request)); err != nil {
		n.t.Fatal(err)
	}
	if !wait {
		return ""
	}
	buf := make([]byte, 4096)
	k, _ := c.Read(buf)
	return string(buf[:k])
}
