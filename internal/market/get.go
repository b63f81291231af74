package market

import (
	_ "embed"
	"net/url"
	"strconv"

	"github.com/sluicegate/sluice/book"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/problem"
)

// Bounds of a page.
const (
	defaultPage = 100
	maxPage     = 1000
)

//go:embed openapi.yaml
var description []byte

func (s *Server) openapi(x *http1.Exchange) { answer(x, "application/yaml", description) }

// allocation answers with the bare number.
func (s *Server) allocation(x *http1.Exchange) {
	b, ok := s.balanceOf(x)
	if !ok {
		return
	}
	answer(x, textType, strconv.AppendUint(make([]byte, 0, 20), b.Allocated, 10))
}

func (s *Server) balance(x *http1.Exchange) {
	b, ok := s.balanceOf(x)
	if !ok {
		return
	}
	answerJSON(x, struct {
		Allocated uint64 `json:"allocated"`
		Spent     uint64 `json:"spent"`
		Leased    uint64 `json:"leased"`
		Balance   uint64 `json:"balance"`
	}(b))
}

// balanceOf reads the balance of the user that the query names, or answers what is wrong.
func (s *Server) balanceOf(x *http1.Exchange) (b Balance, ok bool) {
	q, ok := readQuery(x)
	if !ok {
		return b, false
	}
	name, wrong := q.username()
	if wrong != nil {
		refuseField(x, problem.InvalidParameter, wrong)
		return b, false
	}
	var known bool
	if s.market.Read(func(st *State) { b, known = st.Balance(name) }) != nil {
		refuseRead(x)
		return b, false
	}
	if !known {
		refuseUser(x)
	}
	return b, known
}

func refuseUser(x *http1.Exchange) {
	refuse(x, problem.Problem{Type: problem.UnknownUser, Detail: "this user never placed an order"})
}

func (s *Server) bids(x *http1.Exchange) {
	q, ok := readQuery(x)
	if !ok {
		return
	}
	name, wrong := q.username()
	after, limit, wrongPage := q.page()
	if wrong == nil {
		wrong = wrongPage
	}
	if wrong != nil {
		refuseField(x, problem.InvalidParameter, wrong)
		return
	}
	page := struct {
		Bids []Bid  `json:"bids"`
		All  int    `json:"all"`
		Next string `json:"next,omitempty"`
	}{Bids: []Bid{}}
	known := false
	if s.market.Read(func(st *State) { page.Bids, page.All, known = st.Bids(page.Bids, name, after, limit+1) }) != nil {
		refuseRead(x)
		return
	}
	if !known {
		refuseUser(x)
		return
	}
	if len(page.Bids) > limit {
		page.Bids = page.Bids[:limit]
		page.Next = strconv.FormatUint(page.Bids[limit-1].ID, 10)
	}
	answerJSON(x, page)
}

func (s *Server) allocations(x *http1.Exchange) {
	q, ok := readQuery(x)
	if !ok {
		return
	}
	after, limit, wrong := q.page()
	if wrong != nil {
		refuseField(x, problem.InvalidParameter, wrong)
		return
	}
	page := struct {
		Allocations []Allocation `json:"allocations"`
		Next        string       `json:"next,omitempty"`
	}{Allocations: []Allocation{}}
	if s.market.Read(func(st *State) { page.Allocations = st.Allocations(page.Allocations, after, limit+1) }) != nil {
		refuseRead(x)
		return
	}
	if len(page.Allocations) > limit {
		page.Allocations = page.Allocations[:limit]
		page.Next = strconv.FormatUint(after+uint64(limit), 10)
	}
	answerJSON(x, page)
}

// level is one price of the book.
type level struct {
	Price  uint64 `json:"price"`
	Volume uint64 `json:"volume"`
	Bids   int    `json:"bids"`
}

func (s *Server) book(x *http1.Exchange) {
	q, ok := readQuery(x)
	if !ok {
		return
	}
	limit, wrong := q.limit()
	if wrong != nil {
		refuseField(x, problem.InvalidParameter, wrong)
		return
	}
	var levels []book.Level
	var stats Stats
	if s.market.Read(func(st *State) { levels, stats = st.Levels(nil, limit), st.Stats() }) != nil {
		refuseRead(x)
		return
	}
	depth := struct {
		Left   uint64  `json:"left"`
		Open   uint64  `json:"open"`
		Bids   int     `json:"bids"`
		Prices int     `json:"prices"`
		Levels []level `json:"levels"`
	}{stats.Book.Left, stats.Book.Open, stats.Book.Bids, stats.Book.Prices, []level{}}
	for _, l := range levels {
		depth.Levels = append(depth.Levels, level(l))
	}
	answerJSON(x, depth)
}

func (s *Server) stats(x *http1.Exchange) {
	var st Stats
	if s.market.Read(func(state *State) { st = state.Stats() }) != nil {
		refuseRead(x)
		return
	}
	log := s.market.Status()
	answerJSON(x, struct {
		Users     int    `json:"users"`
		Bids      uint64 `json:"bids"`
		Sales     uint64 `json:"sales"`
		Cancelled uint64 `json:"cancelled"`
		Fills     uint64 `json:"fills"`
		OpenBids  int    `json:"open_bids"`
		Open      uint64 `json:"open"`
		Left      uint64 `json:"left"`
		Sold      uint64 `json:"sold"`
		Allocated uint64 `json:"allocated"`
		Keys      int    `json:"idempotency_keys"`
		Leases    int    `json:"leases"`
		Sequence  uint64 `json:"log_sequence"`
		Hash      string `json:"log_hash"`
		Commands  uint64 `json:"log_commands"`
	}{
		st.Users, st.Orders, st.Sales, st.Cancels, st.Fills, st.Book.Bids, st.Book.Open, st.Book.Left, st.Book.Sold, st.Book.Allocated,
		st.Keys, st.Leases, log.Sequence, hex16(log.Hash), log.Commands,
	})
}

func hex16(v uint64) string {
	text := strconv.FormatUint(v, 16)
	return "0000000000000000"[len(text):] + text
}

// A query is the parameters of a request. Those that an endpoint does not know do no harm.
type query struct{ url.Values }

// readQuery reads the query, or answers what is wrong with it.
func readQuery(x *http1.Exchange) (query, bool) {
	values, err := url.ParseQuery(string(x.Query))
	if err != nil {
		refuseField(x, problem.InvalidParameter, bad("query", "can't be read: %v", err))
		return query{}, false
	}
	return query{values}, true
}

// one returns a parameter that may be there once, "" if it isn't.
func (q query) one(name string) (string, *fieldError) {
	switch values := q.Values[name]; len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	default:
		return "", bad(name, "is there more than once")
	}
}

func (q query) username() (string, *fieldError) {
	name, wrong := q.one("username")
	if wrong != nil {
		return "", wrong
	}
	if !q.Has("username") {
		return "", bad("username", "is missing")
	}
	if err := CheckName(name); err != nil {
		return "", bad("username", "%v", err)
	}
	return name, nil
}

// limit is how many rows a page may have.
func (q query) limit() (int, *fieldError) {
	n, wrong := q.number("limit", defaultPage)
	if wrong == nil && (n < 1 || n > maxPage) {
		wrong = bad("limit", "must be 1 to %d", maxPage)
	}
	return int(n), wrong
}

// page is the cursor and the limit of a page.
func (q query) page() (after uint64, limit int, wrong *fieldError) {
	after, wrong = q.number("after", 0)
	if wrong != nil {
		return 0, 0, bad("after", "must be what next was in the page before")
	}
	limit, wrong = q.limit()
	return after, limit, wrong
}

func (q query) number(name string, otherwise uint64) (uint64, *fieldError) {
	text, wrong := q.one(name)
	if wrong != nil || !q.Has(name) {
		return otherwise, wrong
	}
	n, ok := parseUint([]byte(text))
	if !ok {
		return 0, bad(name, "must be a whole number")
	}
	return n, nil
}
