package gateway

import (
	"bytes"
	"cmp"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/internal/admit"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/problem"
	"github.com/sluicegate/sluice/internal/upstream"
)

// backend is an upstream and the gate in front of it. Every call of the gateway's goes through Do.
type backend struct {
	*upstream.Pool
	gate *admit.Gate // nil if it is not limited
}

// newBackend makes the backend of an upstream. If nothing about it has changed, that is the old one; if there was a bound on its calls and still is, the
// calls that are under way go on to count.
func newBackend(u *config.Upstream, old *backend, log *slog.Logger) *backend {
	if old != nil && reflect.DeepEqual(old.Config(), u) {
		return old
	}
	b := &backend{Pool: upstream.New(u, log)}
	if old != nil && old.gate != nil && u.MaxInFlight > 0 {
		b.gate = old.gate
		b.gate.Apply(u)
	} else {
		b.gate = admit.New(u)
	}
	return b
}

// admitted is a call under way and the slot that it takes. The zero value is none, and may be closed.
type admitted struct {
	*upstream.Call
	ticket *admit.Ticket
}

// Do waits for a slot, sends a request and returns when the response has begun. Retries take place within the slot. The error is an
// *admit.Refusal or an *upstream.Error.
func (b *backend) Do(req *upstream.Request, hop *upstream.Hop, price int64) (call admitted, err error) {
	ticket, err := b.gate.Enter(req.From, price)
	if err != nil {
		return admitted{}, err
	}
	defer func() {
		if call.Call == nil { // or a panic
			ticket.Release()
		}
	}()
	if ticket != nil {
		req.Hold = ticket
	}
	got, failure := b.Pool.Do(req, hop)
	if failure != nil {
		return admitted{}, failure
	}
	return admitted{got, ticket}, nil
}

// Close ends the call and gives the slot back, unless the target may be at work for it still.
func (a admitted) Close() {
	if a.Call != nil {
		defer a.ticket.Release()
		a.Call.Close()
	}
}

// queued is how long the call has waited for its slot.
func (a admitted) queued() time.Duration { return a.ticket.Waited() }

// status is the upstream as operators see it.
func (b *backend) status() UpstreamStatus {
	st := UpstreamStatus{Status: b.Status()}
	if b.gate != nil {
		s := b.gate.Stats()
		st.Admission = &AdmissionStatus{MaxInFlight: s.MaxInFlight, InFlight: s.InFlight, MaxWaiting: s.MaxWaiting, Waiting: s.Waiting}
	}
	return st
}

// price is what the request bids for a slot: what a trusted proxy says, or else what the client's API key is worth.
func (r *request) price() int64 {
	if name := r.route.pool.Config().Queue.PriceHeader; name != "" && r.client.Trusted {
		if price, ok := priceIn(&r.Request, name); ok {
			return price
		}
	}
	return r.client.Price
}

// priceIn reads a price from a field. One that is there twice is none: who knows which of them the proxy has set.
func priceIn(r *http1.Request, name string) (price int64, ok bool) {
	for i := range r.Fields {
		f := &r.Fields[i]
		if !bytes.EqualFold(f.Name, []byte(name)) {
			continue
		}
		n, err := strconv.ParseUint(string(f.Value), 10, 64)
		if ok || err != nil || n > math.MaxInt64 {
			return 0, false
		}
		price, ok = int64(n), true
	}
	return price, ok
}

// highest is what a call bids that several wait for: the highest of their prices.
func highest[T any](waiters []T, price func(T) int64) int64 {
	return price(slices.MaxFunc(waiters, func(a, b T) int { return cmp.Compare(price(a), price(b)) }))
}

// unanswered answers for a call that brought nothing.
func (g *Gateway) unanswered(r *request, err error) {
	switch why := err.(type) {
	case *upstream.Error:
		g.fail(r, why)
	case *admit.Refusal:
		g.turnAway(r, why)
	}
}

// turnAway answers for an upstream that has too much to do. Nothing was sent, so nothing was spent of the limits; but whoever leaves the queue has
// had a place in it.
func (g *Gateway) turnAway(r *request, why *admit.Refusal) {
	r.queued = why.Waited
	if why.Reason == admit.Gone {
		r.leave()
		return
	}
	r.refund()
	kind := problem.QueueFull
	if why.Reason == admit.TimedOut {
		kind = problem.QueueTimeout
	}
	r.refuseFor(kind, why.Error()+"; try again later", why.RetryAfter)
}
