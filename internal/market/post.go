package market

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strconv"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/problem"
)

// Bounds of a request.
const (
	maxBody = 4 << 10
	maxKey  = 255 // bytes of an idempotency key
)

func (s *Server) buy(x *http1.Exchange) {
	var p posted
	key, ok := readOrder(x, &p, buySchema)
	if !ok {
		return
	}
	r, err := s.market.Buy(context.Background(), p.username, p.volume, p.price, key)
	if err != nil {
		refuseError(x, err, key != nil)
		return
	}
	if r.Outcome != Done {
		refuseOutcome(x, r)
		return
	}
	body := append(make([]byte, 0, 96), `{"id":`...)
	body = strconv.AppendUint(body, r.ID, 10)
	body = append(body, `,"allocated":`...)
	body = strconv.AppendUint(body, r.Allocated, 10)
	body = append(body, `,"open":`...)
	body = strconv.AppendUint(body, r.Rest, 10)
	answer(x, jsonType, append(body, "}\n"...))
}

func (s *Server) sell(x *http1.Exchange) {
	var p posted
	key, ok := readOrder(x, &p, sellSchema)
	if !ok {
		return
	}
	r, err := s.market.Sell(context.Background(), p.volume, key)
	if err != nil {
		refuseError(x, err, key != nil)
		return
	}
	if r.Outcome != Done {
		refuseOutcome(x, r)
		return
	}
	body := append(make([]byte, 0, 64), `{"allocated":`...)
	body = strconv.AppendUint(body, r.Allocated, 10)
	body = append(body, `,"left":`...)
	body = strconv.AppendUint(body, r.Rest, 10)
	answer(x, jsonType, append(body, "}\n"...))
}

func (s *Server) cancel(x *http1.Exchange) {
	id, ok := parseUint(x.Path[len("/bids/"):])
	if !ok {
		refuseField(x, problem.InvalidParameter, bad("id", "must be the id of a bid, a number"))
		return
	}
	r, err := s.market.Cancel(context.Background(), id)
	switch {
	case err != nil:
		refuseError(x, err, false)
	case r.Outcome == NotFound:
		refuse(x, problem.Problem{Type: problem.UnknownBid, Detail: "no bid with this id is open: it is filled, or cancelled, or never was"})
	default:
		answerJSON(x, struct {
			ID        uint64 `json:"id"`
			Cancelled uint64 `json:"cancelled"`
			Allocated uint64 `json:"allocated"`
		}{r.ID, r.Rest, r.Allocated})
	}
}

// parseUint reads a number as it is written here: digits, no leading zeros.
func parseUint(text []byte) (uint64, bool) {
	if len(text) == 0 || len(text) > 20 || !allDigits(text) || text[0] == '0' && len(text) > 1 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	return n, err == nil
}

// readOrder reads the body and the key of an order, or answers what is wrong with them.
func readOrder(x *http1.Exchange, p *posted, s schema) (key *ID, ok bool) {
	if !jsonBody(x) {
		refuse(x, problem.Problem{Type: problem.UnsupportedMediaType, Detail: "the body must be JSON: send Content-Type: application/json",
			Fields: field{"Accept", jsonType}})
		return nil, false
	}
	body, err := readBody(x)
	if err != nil {
		refuseBody(x, err)
		return nil, false
	}
	key, wrong := readKey(x)
	if wrong == nil {
		wrong = p.decode(body, s)
	}
	if wrong != nil {
		refuseField(x, problem.InvalidOrder, wrong)
		return nil, false
	}
	return key, true
}

// jsonBody reports whether the Content-Type is JSON, or isn't there, or is what curl says of -d. Browsers tell where a form comes from, and
// theirs are refused, as plain text is: they are what a page of any site can make a browser send.
func jsonBody(x *http1.Exchange) bool {
	value, ok := x.Get("content-type")
	if !ok {
		return true
	}
	name, _, _ := bytes.Cut(value, []byte(";"))
	name = bytes.TrimRight(name, " \t")
	if _, fromPage := x.Get("origin"); !fromPage && http1.EqualFold(name, "application/x-www-form-urlencoded") {
		return true
	}
	return http1.EqualFold(name, jsonType)
}

// readKey returns what the log has of the Idempotency-Key, nil without one.
func readKey(x *http1.Exchange) (*ID, *fieldError) {
	const name = "Idempotency-Key"
	var value []byte
	found := false
	for i := range x.Fields {
		if f := &x.Fields[i]; f.Kind == http1.Other && http1.EqualFold(f.Name, "idempotency-key") {
			if found {
				return nil, bad(name, "is there twice")
			}
			value, found = f.Value, true
		}
	}
	switch {
	case !found:
		return nil, nil
	case len(value) == 0 || len(value) > maxKey || !http1.IsVisible(value):
		return nil, bad(name, "must have 1 to %d visible ASCII characters", maxKey)
	}
	id := KeyOf(value)
	return &id, nil
}

// errTooLong is what readBody returns for a body above maxBody.
var errTooLong = errors.New("too long")

// readBody returns the request's body.
func readBody(x *http1.Exchange) ([]byte, error) {
	if x.Body.Length() > maxBody {
		return nil, errTooLong
	}
	if body, whole := x.Body.Whole(); whole {
		return body, nil
	}
	var body []byte
	for {
		p, err := x.Body.Next()
		if err == io.EOF {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
		if len(body)+len(p) > maxBody {
			return nil, errTooLong
		}
		body = append(body, p...)
	}
}

// refuseBody says why a body was not read to its end.
func refuseBody(x *http1.Exchange, err error) {
	if errors.Is(err, errTooLong) {
		refuseField(x, problem.InvalidOrder, bad("body", "must not have more than %d bytes", maxBody))
		return
	}
	x.CloseAfter() // where the next request begins is unknown
	t := problem.BadRequest
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t = problem.RequestTimeout
	}
	refuse(x, problem.Problem{Type: t, Detail: "the body of the request broke off"})
}
