package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// A market is a running `sluice market`.
type market struct {
	*process
	url string // http://127.0.0.1:PORT
}

// launchMarket runs the program as a node of a market, on a port of its own choice, and doesn't wait for it.
func launchMarket(t *testing.T, dir string, args ...string) *market {
	t.Helper()
	return &market{process: start(t, append([]string{"market", "--listen", "127.0.0.1:0", "--admin", "", "--data-dir", dir}, args...)...)}
}

// startMarket runs a node and waits until it listens.
func startMarket(t *testing.T, dir string, args ...string) *market {
	t.Helper()
	m := launchMarket(t, dir, args...)
	m.awaitListening()
	return m
}

func (m *market) awaitListening() {
	m.t.Helper()
	m.url = "http://" + m.awaitOutput(&m.stderr, `"market is listening".*"listen":"(127\.0\.0\.1:\d+)".*\n`)[1]
}

// A marketOp is what a client asks of a market.
type marketOp struct {
	kind   string // buy, sell, cancel; or a read: allocation, bids, book
	user   string
	volume uint64
	price  uint64
	id     uint64 // of the bid to cancel
	key    string // "" for none
}

func (o marketOp) String() string {
	switch o.kind {
	case "buy":
		return fmt.Sprintf("buy(%s, %d at %d, key %q)", o.user, o.volume, o.price, o.key)
	case "sell":
		return fmt.Sprintf("sell(%d, key %q)", o.volume, o.key)
	case "cancel":
		return fmt.Sprintf("cancel(%d)", o.id)
	}
	return o.kind + "(" + o.user + ")"
}

// request is the operation as HTTP.
func (o marketOp) request(base string) (*http.Request, error) {
	method, target, body := "GET", "/"+o.kind, ""
	switch o.kind {
	case "buy":
		method, body = "POST", fmt.Sprintf(`{"username":%q,"volume":%d,"price":%d}`, o.user, o.volume, o.price)
	case "sell":
		method, body = "POST", fmt.Sprintf(`{"volume":%d}`, o.volume)
	case "cancel":
		method, target = "DELETE", "/bids/"+strconv.FormatUint(o.id, 10)
	case "allocation":
		target += "?username=" + url.QueryEscape(o.user)
	case "bids":
		target += "?limit=1000&username=" + url.QueryEscape(o.user)
	case "book":
		target += "?limit=1000"
	}
	req, err := http.NewRequest(method, base+target, strings.NewReader(body))
	if err == nil && o.key != "" {
		req.Header.Set("Idempotency-Key", o.key)
	}
	return req, err
}

// A marketAnswer is what a market says to an operation, without what a model can't know: the time of a bid.
type marketAnswer struct {
	status    int
	id        uint64
	allocated uint64
	rest      uint64 // what is open of a bid, left of a sale, or was open of a cancelled bid
	text      string // of a read
}

// A marketBid is an open bid as GET /bids tells it.
type marketBid struct{ ID, Price, Volume, Open uint64 }

// A marketLevel is a price of GET /book.
type marketLevel struct{ Price, Volume, Bids uint64 }

// A marketDepth is what GET /book tells.
type marketDepth struct {
	Left, Open, Bids, Prices uint64
	Levels                   []marketLevel
}

// perform sends an operation, and returns what was answered and its body as it came.
func perform(client *http.Client, base string, o marketOp) (marketAnswer, string, error) {
	req, err := o.request(base)
	if err != nil {
		return marketAnswer{}, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return marketAnswer{}, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return marketAnswer{}, "", err
	}
	a, err := readAnswer(o, resp.StatusCode, body)
	if err != nil {
		err = fmt.Errorf("%v answered %d %s: %w", o, resp.StatusCode, body, err)
	}
	return a, string(body), err
}

func readAnswer(o marketOp, status int, body []byte) (marketAnswer, error) {
	a := marketAnswer{status: status}
	if status != http.StatusOK {
		return a, nil
	}
	var err error
	switch o.kind {
	case "allocation":
		a.text = string(body)
	case "bids":
		var page struct{ Bids []marketBid }
		err = json.Unmarshal(body, &page)
		a.text = fmt.Sprint(page.Bids)
	case "book":
		var depth marketDepth
		err = json.Unmarshal(body, &depth)
		a.text = fmt.Sprint(depth)
	default:
		var done struct{ ID, Allocated, Open, Left, Cancelled uint64 }
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		err = d.Decode(&done)
		a.id, a.allocated, a.rest = done.ID, done.Allocated, done.Open+done.Left+done.Cancelled
	}
	return a, err
}
