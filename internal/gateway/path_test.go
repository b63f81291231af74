package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestCleanPath(t *testing.T) {
	for path, want := range map[string]string{
		"/":                    "/",
		"*":                    "/",
		"/a/b":                 "/a/b",
		"/a/b/":                "/a/b/",
		"//a///b//":            "/a/b/",
		"/./a/././b/.":         "",
		"/a/../b":              "",
		"/a/b/..":              "",
		"/a/b/../":             "",
		"/a/..":                "",
		"/a/%2e%2e/b":          "",
		"/a/%2E./b":            "",
		"/a/.%2e/b":            "",
		"/%2e/a":               "",
		"/a%2fb":               "/a/b",
		"/a%2F..%2Fb":          "",
		"/x%2f%2e%2e%2fadmin":  "",
		"%2fadmin":             "",
		"/%2f%2fadmin":         "/admin",
		"/%61dmin":             "/admin",
		"/adm%69n/%75sers":     "/admin/users",
		"/...":                 "/...",
		"/a/...":               "/a/...",
		"/.well-known/x":       "/.well-known/x",
		"/a.":                  "/a.",
		"/a..b":                "/a..b",
		"/a/..b":               "/a/..b",
		"/%252e%252e/a":        "/%2e%2e/a",
		"/a%00b":               "/a\x00b",
		"/a%3Fb":               "/a?b",
		"/caf%c3%a9":           "/caf\xc3\xa9",
		"/..":                  "",
		"/../a":                "",
		"/a/../../b":           "",
		"/%2e%2e/a":            "",
		"/a/..%2f..%2fb":       "",
		"/%":                   "",
		"/%2":                  "",
		"/a%zz":                "",
		"/a%2":                 "",
		"/%%61":                "",
		"/a/%2e%2e%2f%2e%2e/b": "",
	} {
		if path[0] == '%' {
			continue // a target always begins with a slash, or is the asterisk
		}
		got, ok := cleanPath([]byte(path))
		if ok != (want != "") || string(got) != want && ok {
			t.Errorf("%s: %q, %v, want %q", path, got, ok, want)
		}
	}
}

// A clean path has nothing left to clean, and every spelling of its bytes is cleaned to it.
func FuzzCleanPath(f *testing.F) {
	f.Add("a/../b%2f%2e", uint64(5))
	f.Add("%2e%2e//x/./", uint64(0))
	f.Fuzz(func(t *testing.T, rest string, spelling uint64) {
		clean, ok := cleanPath([]byte("/" + rest))
		if !ok {
			return
		}
		clean = bytes.Clone(clean)
		for segment := range strings.SplitSeq(string(clean[1:]), "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("%q became %q", rest, clean)
			}
		}
		if bytes.Contains(clean, []byte("//")) {
			t.Fatalf("%q became %q", rest, clean)
		}
		spelt := []byte("/")
		for i, c := range clean[1:] {
			if c == '%' || spelling>>(i%64)&1 == 1 {
				spelt = fmt.Appendf(spelt, "%%%02x", c)
			} else {
				spelt = append(spelt, c)
			}
		}
		if again, ok := cleanPath(spelt); !ok || !bytes.Equal(again, clean) {
			t.Fatalf("%q is spelt %q, which became %q", clean, spelt, again)
		}
	})
}

// However many names come at once, only so many get a counter, and every request is counted.
func TestClientCountsAreBounded(t *testing.T) {
	c := newClientCounts()
	c.max.Store(10)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 100 {
				c.of(fmt.Appendf(nil, "client-%d", (n*7+i)%100)).Inc()
			}
		})
	}
	all.Wait()
	if n := len(*c.known.Load()); n != 10 {
		t.Errorf("%d names, want 10", n)
	}
	sum := 0.0
	for _, v := range collect(t, c.vec) {
		sum += v
	}
	if n := len(collect(t, c.vec)); n != 11 || sum != 800 {
		t.Errorf("%d counters that make %v, want 11 and 800", n, sum)
	}
}

func TestClientNamesThatAreNoText(t *testing.T) {
	c := newClientCounts()
	c.max.Store(10)
	c.of([]byte("\xff\xfe")).Inc()
	c.of([]byte("other")).Inc()
	if n := len(collect(t, c.vec)); n != 2 {
		t.Errorf("%d counters, want 2", n)
	}
}
