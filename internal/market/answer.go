package market

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/journal"
	"github.com/sluicegate/sluice/internal/problem"
)

const (
	jsonType = "application/json"
	textType = "text/plain; charset=utf-8"
)

// answer sends a body that is at hand.
func answer(x *http1.Exchange, contentType string, body []byte) {
	x.Begin(200, nil)
	x.AddDate()
	x.AddString("Content-Type", contentType)
	x.AddString("Cache-Control", "no-store")
	x.Respond(body)
}

// answerJSON sends a value of this package's, all of which can be written as JSON.
func answerJSON(x *http1.Exchange, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	answer(x, jsonType, append(body, '\n'))
}

// refuse sends a problem.
func refuse(x *http1.Exchange, p problem.Problem) {
	p.RequestID = requestID(x)
	problem.Write(x, p)
}

const maxRequestID = 128

// requestID is the client's own X-Request-Id if it is fit for logs, otherwise a new one.
func requestID(x *http1.Exchange) string {
	if id, ok := x.Get("x-request-id"); ok && len(id) > 0 && len(id) <= maxRequestID && http1.IsVisible(id) {
		return string(id)
	}
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// refuseField sends what is wrong with an order or a parameter.
func refuseField(x *http1.Exchange, t *problem.Type, err *fieldError) {
	refuse(x, problem.Problem{Type: t, Detail: err.Error(), Members: []problem.Member{{Name: "field", Value: err.field}}})
}

// retryAfter is when a node that can't write its log is worth another try.
const retryAfter = time.Second

// refuseError says why a command has no reply, and whether it may have an effect. keyed says whether the request had an Idempotency-Key.
func refuseError(x *http1.Exchange, err error, keyed bool) {
	p := problem.Problem{Type: problem.MarketUnavailable, RetryAfter: retryAfter}
	const again = "repeat the request with the same Idempotency-Key: the answer tells what became of it, and nothing is done twice"
	switch {
	case errors.Is(err, journal.ErrUnknown) && keyed:
		p.Type, p.Detail = problem.OutcomeUnknown, "the log did not answer in time, so the request may or may not take effect; "+again
	case errors.Is(err, journal.ErrUnknown):
		p.Type = problem.OutcomeUnknown
		p.Detail = "the log did not answer in time, so the request may or may not take effect, and it had no Idempotency-Key to repeat it " +
			"safely; GET /bids, /allocation and /book show what is there"
	case errors.Is(err, journal.ErrStopped):
		p.Detail = "this node has stopped, its log says why; the request had no effect: send it to another node, or again when this one is back"
	default:
		p.Detail = "the log cannot be written to now; the request had no effect and never will: repeat it"
	}
	refuse(x, p)
}

// refuseRead says that the state can't be read.
func refuseRead(x *http1.Exchange) {
	refuse(x, problem.Problem{
		Type: problem.MarketUnavailable, RetryAfter: retryAfter,
		Detail: "this node has stopped, its log says why: ask another node, or again when this one is back",
	})
}

// refuseOutcome says why a command had no effect.
func refuseOutcome(x *http1.Exchange, r Reply) {
	switch r.Outcome {
	case Overflow:
		refuse(x, problem.Problem{Type: problem.TotalOutOfRange, Detail: "with this volume, the volume of all open bids or of all sales would pass " +
			"18446744073709551615; nothing was done", Members: []problem.Member{{Name: "field", Value: "volume"}}})
	case KeyReused:
		refuse(x, problem.Problem{Type: problem.KeyReused, Detail: "this Idempotency-Key came with another order within the last 24 hours; " +
			"nothing was done: use a new key for each order"})
	case Full:
		refuse(x, full(r))
	default: // what the handlers have checked
		refuse(x, problem.Problem{Type: problem.Internal, Detail: "the request had no effect"})
	}
}

// full says which bound is reached.
func full(r Reply) problem.Problem {
	p := problem.Problem{Type: problem.MarketFull}
	switch r.Bound {
	case UserBound:
		p.Detail = fmt.Sprintf("there are %d users, and no more fit; nothing was done: bids of known users are taken", MaxUsers)
	case BidBound:
		p.Detail = fmt.Sprintf("%d bids are open, and no more fit; nothing was done: wait for sales", MaxBids)
	case KeyBound:
		p.Detail = fmt.Sprintf("%d idempotency keys of the last 24 hours are remembered, and no more fit; nothing was done: "+
			"wait, or send the order without a key", MaxKeys)
		p.RetryAfter = max(time.Second, time.Duration(r.Wait)*time.Millisecond)
	}
	return p
}
