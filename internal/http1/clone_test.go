package http1

import "testing"

func TestClone(t *testing.T) {
	raw := []byte("GET /a/b?x=1 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nConnection: X-A\r\n\r\n")
	var r Request
	if err := r.parse(raw, 100); err != nil {
		t.Fatal(err)
	}
	c := r.Clone()
	clear(raw)
	if string(c.Method) != "GET" || string(c.Target) != "/a/b?x=1" || string(c.Path) != "/a/b" || string(c.Query) != "x=1" || string(c.Host) != "h" {
		t.Errorf("the copy is %s %s, %s ? %s, host %s", c.Method, c.Target, c.Path, c.Query, c.Host)
	}
	if v, _ := c.Get("x-a"); string(v) != "1" || c.Fields[1].Kind != Nominated {
		t.Errorf("the copy's fields are %q", c.Fields)
	}
}
