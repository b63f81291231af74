package http1_test

import (
	"fmt"
	"strings"
	"testing"
)

// Requests that must be refused before a handler sees them: the answer has the status and closes the connection.
var refused = []struct {
	name   string
	status int
	raw    string
}{
	// Two framings, or one that could be read in two ways.
	{"both lengths", 400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	{"both lengths, other order", 400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"},
	{"two lengths", 400, length("3\r\nContent-Length: 4")},
	{"two equal lengths", 400, length("3\r\nContent-Length: 3")},
	{"two lengths, other spelling", 400, length("3\r\ncONTENT-lENGTH: 3")},
	{"length with plus", 400, length("+5")},
	{"negative length", 400, length("-5")},
	{"length list", 400, length("5, 5")},
	{"length list without space", 400, length("5,5")},
	{"hexadecimal length", 400, length("0x5")},
	{"hexadecimal digits", 400, length("a")},
	{"length with exponent", 400, length("1e1")},
	{"length with fraction", 400, length("5.0")},
	{"length with underscore", 400, length("1_0")},
	{"empty length", 400, length("")},
	{"length in two words", 400, length("5 5")},
	{"quoted length", 400, length(`"5"`)},
	{"length above int64", 400, length("9223372036854775808")},
	{"length above uint64", 400, length("18446744073709551621")},
	{"length of 40 digits", 400, length(strings.Repeat("9", 40))},
	{"length with many zeros", 400, length(strings.Repeat("0", 40) + "5")},
	{"length in other digits", 400, length("\xd9\xa5")},
	{"coding in 1.0", 400, "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	{"coding gzip", 400, coding("gzip")},
	{"coding identity", 400, coding("identity")},
	{"coding gzip, chunked", 400, coding("gzip, chunked")},
	{"coding chunked, chunked", 400, coding("chunked, chunked")},
	{"coding chunked twice", 400, coding("chunked\r\nTransfer-Encoding: chunked")},
	{"coding chunked and identity", 400, coding("chunked\r\nTransfer-Encoding: identity")},
	{"coding empty", 400, coding("")},
	{"coding empty and chunked", 400, coding("\r\nTransfer-Encoding: chunked")},
	{"coding list with an empty element", 400, coding(",chunked")},
	{"coding quoted", 400, coding(`"chunked"`)},
	{"coding xchunked", 400, coding("xchunked")},
	{"coding with a parameter", 400, coding("chunked;q=1")},
	{"coding with a vertical tab", 400, coding("\vchunked")},
	{"coding with a no-break space", 400, coding("\xa0chunked")},

	// Lines.
	{"bare LF behind the request line", 400, "GET / HTTP/1.1\nHost: h\r\n\r\n"},
	{"bare LF behind a field", 400, "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"},
	{"bare LF ends the head", 400, "GET / HTTP/1.1\r\nHost: h\r\n\n"},
	{"only bare LF", 400, "GET / HTTP/1.1\nHost: h\n\n"},
	{"LF before the request line", 400, "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"bare CR in a value", 400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n"},
	{"CR CR LF", 400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\r\n\r\n"},
	{"CR CR LF ends the head", 400, "GET / HTTP/1.1\r\nHost: h\r\n\r\r\n\r\n"},
	{"CR before the request line", 400, "\rGET / HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"folded field", 400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n"},
	{"field folded with a tab", 400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n"},
	{"folded first field", 400, "GET / HTTP/1.1\r\n Host: h\r\n\r\n"},
	{"folded coding", 400, "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"},
	{"line of a space", 400, "GET / HTTP/1.1\r\nHost: h\r\n \r\n\r\n"},

	// Field names.
	{"space behind a name", 400, "GET / HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n"},
	{"tab behind a name", 400, "GET / HTTP/1.1\r\nHost: h\r\nX\t: a\r\n\r\n"},
	{"space behind Content-Length", 400, "GET / HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\nabc"},
	{"space behind Transfer-Encoding", 400, "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"},
	{"space in a name", 400, "GET / HTTP/1.1\r\nHost: h\r\nX Y: a\r\n\r\n"},
	{"no name", 400, "GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n"},
	{"no colon", 400, "GET / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n"},
	{"name above ASCII", 400, "GET / HTTP/1.1\r\nHost: h\r\nX\xe9: a\r\n\r\n"},
	{"name with a delimiter", 400, "GET / HTTP/1.1\r\nHost: h\r\nX(y): a\r\n\r\n"},

	// Host.
	{"no Host", 400, "GET / HTTP/1.1\r\n\r\n"},
	{"two Hosts", 400, "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"},
	{"two Hosts in 1.0", 400, "GET / HTTP/1.0\r\nHost: h\r\nhost: g\r\n\r\n"},
	{"Host with a space", 400, "GET / HTTP/1.1\r\nHost: h g\r\n\r\n"},
	{"Host with a slash", 400, "GET / HTTP/1.1\r\nHost: h/p\r\n\r\n"},
	{"Host with user", 400, "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n"},
	{"Host above ASCII", 400, "GET / HTTP/1.1\r\nHost: h\xe9\r\n\r\n"},
	{"Host with a question mark", 400, "GET / HTTP/1.1\r\nHost: h?x\r\n\r\n"},

	// The request line.
	{"HTTP/2.0", 400, "GET / HTTP/2.0\r\nHost: h\r\n\r\n"},
	{"HTTP/2 preface", 400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
	{"HTTP/1.2", 400, "GET / HTTP/1.2\r\nHost: h\r\n\r\n"},
	{"HTTP/0.9", 400, "GET / HTTP/0.9\r\nHost: h\r\n\r\n"},
	{"HTTP/1", 400, "GET / HTTP/1\r\nHost: h\r\n\r\n"},
	{"HTTP/1.10", 400, "GET / HTTP/1.10\r\nHost: h\r\n\r\n"},
	{"HTTP/01.1", 400, "GET / HTTP/01.1\r\nHost: h\r\n\r\n"},
	{"HTTP/+1.1", 400, "GET / HTTP/+1.1\r\nHost: h\r\n\r\n"},
	{"http/1.1", 400, "GET / http/1.1\r\nHost: h\r\n\r\n"},
	{"no version", 400, "GET /\r\nHost: h\r\n\r\n"},
	{"no target", 400, "GET HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"empty target", 400, "GET  HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"two spaces before the target", 400, "GET  / HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"two spaces behind the target", 400, "GET /  HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"space behind the version", 400, "GET / HTTP/1.1 \r\nHost: h\r\n\r\n"},
	{"space before the method", 400, " GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"tabs for spaces", 400, "GET\t/\tHTTP/1.1\r\nHost: h\r\n\r\n"},
	{"space in the target", 400, "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"two requests in a line", 400, "GET / HTTP/1.1 GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"method that is no token", 400, "G(T / HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"empty method", 400, " / HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"fragment", 400, "GET /#f HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"fragment in an absolute target", 400, "GET http://h/#f HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"relative target", 400, "GET a/b HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"asterisk for GET", 400, "GET * HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"other scheme", 400, "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"absolute target without host", 400, "GET http:/// HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"absolute target with user", 400, "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"absolute target, bad host", 400, "GET http://h\xe9/ HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"absolute target without Host", 400, "GET http://h/ HTTP/1.1\r\n\r\n"},
	{"TLS hello", 400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"},

	// Other statuses.
	{"CONNECT", 501, "CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"expectation", 417, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\n"},
	{"long target", 414, "GET /" + strings.Repeat("a", 9<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"endless request line", 414, "GET /" + strings.Repeat("a", 17<<10)},
	{"long head", 431, "GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("a", 17<<10) + "\r\n\r\n"},
	{"endless head", 431, "GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("a", 20<<10)},
	{"many options", 431, "GET / HTTP/1.1\r\nHost: h\r\nConnection: " + strings.Repeat("a,", 65) + "\r\n\r\n"},
	{"many options in many fields", 431, "GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("Connection: a\r\n", 65) + "\r\n"},
	{"many fields", 431, "GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("a:\r\n", 256) + "\r\n"},
}

func length(value string) string {
	return "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + value + "\r\n\r\nabcdefgh"
}

func coding(value string) string {
	return "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: " + value + "\r\n\r\n0\r\n\r\n"
}

func TestRefused(t *testing.T) {
	s := serve(t, limits(), echo)
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) { s.expectRefusal(t, tt.status, tt.raw) })
	}
	if n := s.good.Load(); n != 0 {
		t.Errorf("%d requests reached the handler", n)
	}
}

// What is refused is refused as well behind a good request on the same connection, and however it arrives.
func TestRefusedLater(t *testing.T) {
	s := serve(t, limits(), echo)
	const good = "GET /good HTTP/1.1\r\nHost: h\r\n\r\n"
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			c := s.dial(t)
			c.send(good + tt.raw)
			if resp, _ := c.response("GET"); resp.StatusCode != 200 {
				t.Fatalf("the good request: %s", resp.Status)
			}
			c.expectRefusal(tt.status)
		})
	}
	if n := s.good.Load(); n != int64(len(refused)) {
		t.Errorf("%d requests reached the handler, want %d", n, len(refused))
	}
}

// Every control character, everywhere it could stand, is refused: but the tab within a value.
func TestControlCharacters(t *testing.T) {
	s := serve(t, limits(), echo)
	places := []struct{ name, format string }{
		{"method", "G%cT / HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"target", "GET /a%cb HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"query", "GET /?a%cb HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"version", "GET / HTTP/1.1%c\r\nHost: h\r\n\r\n"},
		{"name", "GET / HTTP/1.1\r\nHost: h\r\nX%cY: a\r\n\r\n"},
		{"before a name", "GET / HTTP/1.1\r\nHost: h\r\n%cX: a\r\n\r\n"},
		{"behind a name", "GET / HTTP/1.1\r\nHost: h\r\nX%c: a\r\n\r\n"},
		{"value", "GET / HTTP/1.1\r\nHost: h\r\nX: a%cb\r\n\r\n"},
		{"before a value", "GET / HTTP/1.1\r\nHost: h\r\nX:%ca\r\n\r\n"},
		{"behind a value", "GET / HTTP/1.1\r\nHost: h\r\nX: a%c\r\n\r\n"},
		{"host", "GET / HTTP/1.1\r\nHost: h%ci\r\n\r\n"},
		{"length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1%c\r\n\r\nab"},
		{"coding", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked%c\r\n\r\n0\r\n\r\n"},
	}
	for _, place := range places {
		t.Run(place.name, func(t *testing.T) {
			for c := range 0x21 {
				if c == 0x20 {
					c = 0x7f
				}
				ows := c == '\t' && (strings.Contains(place.name, "value") || place.name == "length" || place.name == "coding")
				if raw := fmt.Sprintf(place.format, c); !ows {
					s.expectRefusal(t, 400, raw)
				}
			}
		})
	}
	if n := s.good.Load(); n != 0 {
		t.Errorf("%d requests reached the handler", n)
	}
}

func (s *server) expectRefusal(t *testing.T, status int, raw string) {
	t.Helper()
	c := s.dial(t)
	c.send(raw)
	c.expectRefusal(status)
	c.Close()
}

func (c *client) expectRefusal(status int) {
	c.t.Helper()
	resp, _ := c.response("GET")
	if resp.StatusCode != status {
		c.t.Errorf("%s (%s), want %d", resp.Status, resp.Header.Get("X-Reason"), status)
	}
	if got := connection(resp); got != "close" {
		c.t.Errorf("Connection: %q, want close", got)
	}
	c.expectEnd()
}

// Bodies whose chunks are broken: the handler gets an error and never the end of the body.
func TestBrokenChunks(t *testing.T) {
	s := serve(t, limits(), echo)
	tests := []struct{ name, body string }{
		{"empty size", "\r\nabc\r\n0\r\n\r\n"},
		{"size with plus", "+3\r\nabc\r\n0\r\n\r\n"},
		{"negative size", "-3\r\nabc\r\n0\r\n\r\n"},
		{"size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"},
		{"space before a size", " 3\r\nabc\r\n0\r\n\r\n"},
		{"space behind a size", "3 \r\nabc\r\n0\r\n\r\n"},
		{"tab behind a size", "3\t\r\nabc\r\n0\r\n\r\n"},
		{"space before an extension", "3 ;a\r\nabc\r\n0\r\n\r\n"},
		{"no hexadecimal digit", "g\r\nabc\r\n0\r\n\r\n"},
		{"underscore", "0_3\r\nabc\r\n0\r\n\r\n"},
		{"above uint64", "10000000000000003\r\nabc\r\n0\r\n\r\n"},
		{"above int64", "8000000000000003\r\nabc\r\n0\r\n\r\n"},
		{"many zeros", strings.Repeat("0", 32) + "3\r\nabc\r\n0\r\n\r\n"},
		{"bare LF behind a size", "3\nabc\r\n0\r\n\r\n"},
		{"bare CR behind a size", "3\rabc\r\n0\r\n\r\n"},
		{"CR CR LF behind a size", "3\r\r\nabc\r\n0\r\n\r\n"},
		{"bare LF behind data", "3\r\nabc\n0\r\n\r\n"},
		{"nothing behind data", "3\r\nabc0\r\n\r\n"},
		{"data longer than its size", "3\r\nabcd\r\n0\r\n\r\n"},
		{"CR X behind data", "3\r\nabc\rX0\r\n\r\n"},
		{"bare LF in an extension", "3;a=b\nabc\r\n0\r\n\r\n"},
		{"CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"},
		{"control character in an extension", "3;a\x00b\r\nabc\r\n0\r\n\r\n"},
		{"endless extension", "3;" + strings.Repeat("a", 5000)},
		{"endless size", strings.Repeat("0", 5000)},
		{"bare LF behind the last size", "0\n\r\n"},
		{"bare LF ends the trailer", "0\r\n\n"},
		{"bare LF in the trailer", "0\r\nX: y\n\r\n"},
		{"bare CR in the trailer", "0\r\nX: y\rz\r\n\r\n"},
		{"folded trailer", "0\r\nX: y\r\n z\r\n\r\n"},
		{"space behind a trailer's name", "0\r\nX : y\r\n\r\n"},
		{"no colon in the trailer", "0\r\nXy\r\n\r\n"},
		{"request in the trailer", "0\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"endless trailer", "0\r\nX: " + strings.Repeat("y", 9000)},
		{"many trailers", "0\r\n" + strings.Repeat("a:\r\n", 300) + "\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := s.dial(t)
			c.send(coding("chunked")[:len(coding("chunked"))-len("0\r\n\r\n")])
			c.send(tt.body)
			resp, body := c.response("POST")
			if resp.StatusCode != 400 && resp.StatusCode != 431 {
				t.Errorf("%s %q, want 400", resp.Status, body)
			}
			c.expectEnd()
		})
	}
}
