package market_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/market"
)

// What is wrong with a body is said by name, and nothing is done.
func TestBadOrders(t *testing.T) {
	n := serve(t, t.TempDir())
	done := map[string]int{}
	for _, c := range orders {
		target := "/buy"
		if c.sale {
			target = "/sell"
		}
		a := n.ask("POST", target, c.body, "Content-Type", "application/json")
		switch {
		case c.field == "" && a.status == 200 && c.name != "zero":
			done[target]++
		case c.field == "" && c.name == "largest":
			a.problem(t, 409, "total-out-of-range") // it is a number, and there is an open bid already
		case c.field == "":
			a.is(t, 200, `{"id":0,"allocated":0,"open":0}`)
		default:
			field, err := json.Marshal(c.field)
			if err != nil {
				t.Fatal(err)
			}
			a.problem(t, 400, "invalid-order", `"field":`+string(field), c.reason)
		}
	}
	for _, target := range []string{"/buy", "/sell"} {
		n.ask("POST", target, `{"volume":1,"x":"`+strings.Repeat("x", 5000)+`"}`).problem(t, 400, "invalid-order", `"field":"body"`, "4096 bytes")
	}
	if a := n.get("/stats"); !strings.Contains(a.body, fmt.Sprintf(`"bids":%d,"sales":%d,`, done["/buy"], done["/sell"])) {
		t.Errorf("%v were answered with 200, and there are %s", done, a.body)
	}
}

func TestHeads(t *testing.T) {
	n := serve(t, t.TempDir())
	const body = `{"volume":0}`
	for _, c := range []struct {
		head []string
		says string // "" if it is fine
	}{
		{nil, ""},
		{[]string{"Content-Type", "application/json"}, ""},
		{[]string{"Content-Type", "Application/JSON ; charset=utf-8"}, ""},
		{[]string{"Content-Type", "text/json"}, "unsupported-media-type"},
		{[]string{"Content-Type", "application/x-www-form-urlencoded"}, ""}, // as curl -d says
		{[]string{"Content-Type", "application/x-www-form-urlencoded", "Origin", "http://a"}, "unsupported-media-type"},
		{[]string{"Content-Type", "application/jsonp"}, "unsupported-media-type"},
		{[]string{"Content-Type", ""}, "unsupported-media-type"},
		{[]string{"Idempotency-Key", strings.Repeat("k", 255)}, ""},
		{[]string{"Idempotency-Key", `"quoted"`}, ""},
		{[]string{"Idempotency-Key", strings.Repeat("k", 256)}, `"field":"Idempotency-Key"`},
		{[]string{"Idempotency-Key", ""}, `"field":"Idempotency-Key"`},
		{[]string{"Idempotency-Key", "a b"}, `"field":"Idempotency-Key"`},
		{[]string{"Idempotency-Key", "é"}, `"field":"Idempotency-Key"`},
		{[]string{"Idempotency-Key", "a", "Idempotency-Key", "a"}, "is there twice"},
	} {
		a := n.ask("POST", "/sell", body, c.head...)
		if c.says == "" && a.status != 200 || c.says != "" && (a.status == 200 || !strings.Contains(a.body, c.says)) {
			t.Errorf("%q: %d %s, want it to say %s", c.head, a.status, a.body, c.says)
		}
	}
	if a := n.ask("POST", "/sell", body, "Content-Type", "text/plain"); a.head.Get("Accept") != "application/json" {
		t.Errorf("415 with Accept %q", a.head.Get("Accept"))
	}
}

func TestPaths(t *testing.T) {
	n := serve(t, t.TempDir())
	for _, path := range []string{"/", "/buy/", "/Buy", "/bids/", "/allocation/u1", "/openapi"} {
		n.get(path).problem(t, 404, "no-route")
	}
	for target, allow := range map[string]string{
		"GET /buy": "POST", "PUT /sell": "POST", "POST /allocation": "GET, HEAD", "GET /bids/1": "DELETE", "DELETE /bids": "GET, HEAD", "OPTIONS /book": "GET, HEAD",
	} {
		method, path, _ := strings.Cut(target, " ")
		a := n.ask(method, path, "")
		a.problem(t, 405, "method-not-allowed")
		if got := a.head.Get("Allow"); got != allow {
			t.Errorf("%s: Allow is %q, want %q", target, got, allow)
		}
	}
	if a := n.ask("HEAD", "/book", ""); a.status != 200 || a.body != "" {
		t.Errorf("HEAD: %+v", a)
	}
	a := n.ask("GET", "/", "", "X-Request-Id", "mine")
	a.problem(t, 404, "no-route", `"request_id":"mine"`)
	if a.head.Get("X-Request-Id") != "mine" {
		t.Errorf("X-Request-Id is %q", a.head.Get("X-Request-Id"))
	}
}

func TestBadParameters(t *testing.T) {
	n := serve(t, t.TempDir())
	n.buy("a&b=ü", 3, 1)
	n.get("/allocation?username="+url.QueryEscape("a&b=ü")).is(t, 200, "0")
	for target, field := range map[string]string{
		"/allocation":                         "username",
		"/allocation?":                        "username",
		"/allocation?username=":               "username",
		"/allocation?username=a&username=b":   "username",
		"/allocation?username=%ff":            "username",
		"/allocation?username=%0a":            "username",
		"/allocation?username=%zz":            "query",
		"/allocation?a;b":                     "query",
		"/balance?username=":                  "username",
		"/bids":                               "username",
		"/bids?username=a&limit=0":            "limit",
		"/bids?username=a&limit=1001":         "limit",
		"/bids?username=a&limit=01":           "limit",
		"/bids?username=a&after=-1":           "after",
		"/book?limit=99999999999999999999999": "limit",
		"/allocations?after=x":                "after",
		"/allocations?limit=1&limit=2":        "limit",
	} {
		n.get(target).problem(t, 400, "invalid-parameter", `"field":"`+field+`"`)
	}
	for _, id := range []string{"x", "-1", "01", "1.0", "18446744073709551616", "1/2", "%31"} {
		n.ask("DELETE", "/bids/"+id, "").problem(t, 400, "invalid-parameter", `"field":"id"`)
	}
	for _, path := range []string{"/allocation", "/balance", "/bids"} {
		n.get(path+"?username=nobody").problem(t, 404, "unknown-user")
	}
}

func TestCancel(t *testing.T) {
	n := serve(t, t.TempDir())
	n.buy("u1", 10, 3)
	n.sell(4)
	n.ask("DELETE", "/bids/1", "").is(t, 200, `{"id":1,"cancelled":6,"allocated":4}`)
	n.ask("DELETE", "/bids/1", "").problem(t, 404, "unknown-bid")
	n.ask("DELETE", "/bids/18446744073709551615", "").problem(t, 404, "unknown-bid")
	n.get("/allocation?username=u1").is(t, 200, "4")
	n.sell(5).is(t, 200, `{"allocated":0,"left":5}`)
	n.buy("u1", 5, 0).is(t, 200, `{"id":2,"allocated":5,"open":0}`)
	n.ask("DELETE", "/bids/2", "").problem(t, 404, "unknown-bid")
	n.get("/balance?username=u1").is(t, 200, `{"allocated":9,"spent":0,"leased":0,"balance":9}`)
}

func TestPages(t *testing.T) {
	n := serve(t, t.TempDir())
	for i := range 5 {
		n.buy(fmt.Sprint("u", i), 1, 1)
		n.buy("u0", 1, uint64(i))
	}
	var names []string
	var ids []uint64
	for after := "0"; after != ""; {
		var page struct {
			Allocations []market.Allocation
			Next        string
		}
		if err := json.Unmarshal([]byte(n.get("/allocations?limit=2&after="+after).body), &page); err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Allocations {
			names = append(names, a.Username)
		}
		after = page.Next
	}
	for after := "0"; after != ""; {
		var page struct {
			Bids []market.Bid
			All  int
			Next string
		}
		if err := json.Unmarshal([]byte(n.get("/bids?username=u0&limit=3&after="+after).body), &page); err != nil {
			t.Fatal(err)
		}
		if page.All != 6 {
			t.Errorf("all are %d, want 6", page.All)
		}
		for _, b := range page.Bids {
			ids = append(ids, b.ID)
		}
		after = page.Next
	}
	if fmt.Sprint(names, ids) != "[u0 u1 u2 u3 u4] [1 2 4 6 8 10]" {
		t.Errorf("the pages have %v %v", names, ids)
	}
	n.get("/book?limit=2").is(t, 200,
		`{"left":0,"open":10,"bids":10,"prices":5,"levels":[{"price":4,"volume":1,"bids":1},{"price":3,"volume":1,"bids":1}]}`)
}

func TestFullMarket(t *testing.T) {
	s := market.NewState()
	s.Bound(1, 1, 1, 1)
	n := serve(t, t.TempDir(), func(o *market.Options) { o.Begin(s) })
	n.buy("u1", 1, 1, "Idempotency-Key", "1")
	n.buy("u2", 1, 1).problem(t, 503, "market-full", "users")
	n.buy("u1", 1, 1).problem(t, 503, "market-full", "bids are open")
	a := n.sell(1, "Idempotency-Key", "2")
	a.problem(t, 503, "market-full", "idempotency keys")
	if after := a.head.Get("Retry-After"); after != "86400" {
		t.Errorf("Retry-After is %q, want the 24 hours of the key", after)
	}
	n.buy("u1", 18446744073709551615, 1).problem(t, 409, "total-out-of-range", `"field":"volume"`)
}

// Bodies in pieces and broken ones.
func TestBodiesOnTheWire(t *testing.T) {
	n := serve(t, t.TempDir())
	for _, c := range []struct{ name, head, body, status string }{
		{"chunks", "Transfer-Encoding: chunked\r\n\r\n", "3\r\n{\"v\r\n9\r\nolume\":7}\r\n0\r\n\r\n", "200"},
		{"too many chunks", "Transfer-Encoding: chunked\r\n\r\n", strings.Repeat("400\r\n"+strings.Repeat(" ", 1024)+"\r\n", 5) + "0\r\n\r\n", "400"},
		{"continue", "Expect: 100-continue\r\nContent-Length: 12\r\n\r\n", `{"volume":7}`, "200"},
		{"breaks off", "Content-Length: 100\r\n\r\n", `{"volume":7}`, "400"},
		{"bad chunk", "Transfer-Encoding: chunked\r\n\r\n", "x\r\n", "400"},
		{"no body", "\r\n", "", "400"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, "POST /sell HTTP/1.1\r\nHost: a\r\n"+c.head)
			io.WriteString(conn, c.body)
			conn.(*net.TCPConn).CloseWrite()
			answers := bufio.NewReader(conn)
			resp, err := http.ReadResponse(answers, nil)
			if err == nil && resp.StatusCode == http.StatusContinue { // it is told to go on if it is heard before its body is
				resp, err = http.ReadResponse(answers, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(resp.Status, c.status) {
				body, _ := io.ReadAll(resp.Body)
				t.Errorf("%s %s, want %s", resp.Status, body, c.status)
			}
		})
	}
	n.get("/book").is(t, 200, `{"left":14,"open":0,"bids":0,"prices":0,"levels":[]}`)
}
