package gateway

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/internal/admit"
	"github.com/sluicegate/sluice/internal/cache"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/problem"
	"github.com/sluicegate/sluice/internal/upstream"
)

// maxTurns bounds how often a request looks for an answer that it may share. It takes a second turn when the answer it waited for turned
// out to vary by a field in which it differs, or to have streamed past.
const maxTurns = 3

// share answers a request of a route whose answers may be shared: from the store, or by a call that others wait for too, or else by one of its own.
func (g *Gateway) share(r *request) {
	s := r.route.sharing
	for range maxTurns {
		s.cache.Plan(r.plan, &r.Request, r.client.Trusted, r.Start)
		stored, state := s.cache.Lookup(r.plan, r.Start)
		switch {
		case state.Usable():
			g.metrics.flushes.Cached(s.cfg.Path, r.plan.Hash())
			r.answerStored(stored, cache.StatusField{Hit: true, HasTTL: true, TTL: stored.TTL(r.Start)})
			if state == cache.StaleWhileRevalidate {
				g.refresh(r, stored)
			}
			return
		case r.plan.OnlyIfCached:
			r.refuse(problem.NotCached, "nothing is stored that may answer this request, and it wants no other answer")
			return
		case !r.plan.Park:
			g.metrics.flushes.passed(s.cfg.Path, r.plan.Hash())
			g.alone(r, stored)
			return
		}
		if g.wait(r, stored, state) {
			return
		}
	}
	g.forward(r)
}

// answerStored answers with a stored response.
func (r *request) answerStored(e *cache.Entry, status cache.StatusField) {
	r.state, r.status = status, &r.state
	reply := e.Reply(&r.Request, r.plan)
	e.Begin(r.Exchange, reply, r.Start)
	r.addOwn()
	e.End(r.Exchange, reply) // a client that is gone is no concern of anybody else
}

var cacheStatusName = []byte("Cache-Status")

// ofOneRequest reports fields of responses that speak of one request, and are not kept for others.
func ofOneRequest(name []byte) bool { return ofOneClient(name) || http1.EqualFold(name, "retry-after") }

// ofOneClient reports those that count a client's requests: others do not get them even from the call that they share.
func ofOneClient(name []byte) bool {
	return isOneOf(name, "ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
}

func isOneOf(name []byte, lower ...string) bool {
	return slices.ContainsFunc(lower, func(n string) bool { return http1.EqualFold(name, n) })
}

// wait has the request answered by a call that others may share, and reports whether it was answered. stored is what the call may
// have confirmed, nil without.
func (g *Gateway) wait(r *request, stored *cache.Entry, state cache.State) bool {
	s := r.route.sharing
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	options := &s.waits
	if r.plan.Validated {
		options = &s.strict
	}
	r.WhenGone(aborter(cancel))
	g.metrics.flushes.Arrived(s.cfg.Path, r.plan.Hash(), r.Start)
	got, outcome, err := s.group.Do(ctx, s.slot(r.plan), r.ask(stored), options)
	r.WhenGone(nil)
	if err == nil {
		return g.deliver(r, got, &outcome, stored, state)
	}
	g.settle(r, err, stored)
	return true
}

// aborter makes a cancel function what WhenGone wants.
type aborter context.CancelFunc

func (a aborter) Abort() { a() }

// ask is what a call for the request needs, and for all who wait with it.
func (r *request) ask(stored *cache.Entry) *ask {
	hop := r.hop
	hop.Peer, hop.Trusted = r.Remote.Addr(), r.client.Trusted
	hop.RequestID = bytes.Clone(hop.RequestID)
	return &ask{head: r.Request.Clone(), hop: hop, plan: r.plan.Clone(), stale: stored, price: r.price()}
}

// whole has the call ask for the whole: the client may have asked with HEAD, for a part, or whether it has the answer already.
func (a *ask) whole() *ask {
	a.fresh = true
	a.head.Method = []byte("GET")
	a.head.Fields = slices.DeleteFunc(a.head.Fields, func(f http1.Field) bool { return cache.AsksAfter(&f) })
	a.plan.Whole()
	return a
}

// settle answers a request whose wait ended without an answer.
func (g *Gateway) settle(r *request, err error, stored *cache.Entry) {
	var failure *upstream.Error
	var refusal *admit.Refusal
	switch {
	case errors.Is(err, coalesce.ErrOverflow), errors.Is(err, coalesce.ErrNotShared), errors.Is(err, coalesce.ErrClosed):
		g.alone(r, stored)
	case errors.Is(err, context.Canceled):
		r.leave()
	case stored != nil && stored.UsableOnError(r.plan, r.Start):
		r.answerStale(stored)
	case errors.As(err, &failure):
		g.fail(r, failure)
	case errors.As(err, &refusal):
		g.turnAway(r, refusal)
	default: // a defect of our own, which the log tells once for the call
		r.refuse(problem.Internal, "the call that this request shared has failed")
	}
}

// answerStale answers with what is stored, since the upstream does not: RFC 5861 section 4.
func (r *request) answerStale(stored *cache.Entry) {
	r.answerStored(stored, cache.StatusField{Hit: true, HasTTL: true, TTL: stored.TTL(r.Start), Detail: "stale-if-error"})
}

// deliver passes on the answer that the request waited for, and reports whether that was an answer to it.
func (g *Gateway) deliver(r *request, got *answer, o *coalesce.Outcome, stored *cache.Entry, state cache.State) bool {
	if o.Role != coalesce.Leader && !got.verdict.Matches(&r.Request) {
		got.decline()
		return false
	}
	r.target, r.queued = got.target, got.queued
	status := cache.StatusField{Forward: cache.ForwardFor(r.plan, state), Stored: got.verdict.Store && got.resp.Length <= r.route.sharing.cache.MaxBody(), Collapsed: o.Role != coalesce.Leader}
	if got.entry != nil {
		status.Status = 304
		if got.resp == nil { // from a store, and nobody was asked
			status = cache.StatusField{Hit: true, HasTTL: true, TTL: got.entry.TTL(r.Start), Collapsed: status.Collapsed}
		}
		r.answerStored(got.entry, status)
		return true
	}
	if stored != nil && serverFailed(got.resp.Status) && stored.UsableOnError(r.plan, r.Start) {
		got.decline()
		r.answerStale(stored)
		return true
	}
	r.state, r.status = status, &r.state
	if got.body == nil {
		g.answerShort(r, got)
		return true
	}
	return g.stream(r, got)
}

// answerShort answers with what a call has brought as a whole.
func (g *Gateway) answerShort(r *request, got *answer) {
	r.relayHead(got.resp)
	r.EndHead(relayLength(got.resp))
	r.Write(got.short)
	if err := r.Finish(nil); err != nil {
		g.breakOff(r, err)
	}
}

// stream passes on what a call brings, as it arrives, and reports false if the beginning has streamed past.
func (g *Gateway) stream(r *request, got *answer) bool {
	body := got.body.Open()
	if body == nil {
		r.status = nil
		return false
	}
	defer body.Close()
	r.WhenGone(body)
	defer r.WhenGone(nil)
	if err := r.relayFrom(got.resp, &sharedBody{body, got}); err != nil {
		g.breakOff(r, err)
	}
	return true
}

// serverFailed reports the statuses in whose place a stale answer may stand: RFC 5861 section 4.
func serverFailed(status int) bool {
	return status == 500 || status == 502 || status == 503 || status == 504
}

// refresh has a stored answer confirmed, or replaced, after it was used.
func (g *Gateway) refresh(r *request, stored *cache.Entry) {
	s := r.route.sharing
	key := s.slot(r.plan)
	g.refreshes.start(key, func() func(context.Context) {
		a := r.ask(stored).whole()
		a.price = 0 // nobody waits for it
		return func(ctx context.Context) { s.renew(ctx, key, a) }
	})
}

// renew makes a call that nobody waits for, and reads its answer to the end, so that it is kept.
func (s *sharing) renew(ctx context.Context, key string, a *ask) {
	got, _, err := s.group.Do(ctx, key, a, &s.strict) // a call that is ending would only bring what is stored
	if err != nil || got.body == nil {
		return // the next request that finds it stale tries again
	}
	body := got.body.Open()
	if body == nil {
		return
	}
	defer body.Close()
	stop := context.AfterFunc(ctx, body.Abort)
	defer stop()
	for err == nil {
		_, err = body.Next()
	}
}

// study reads what the head of a response means to what is stored: it may be kept itself, or what it answers have changed something.
func (g *Gateway) study(r *request, resp *http1.Response) {
	g.invalidate(r, resp)
	s := r.route.sharing
	if s == nil {
		return
	}
	r.state, r.status = cache.StatusField{Forward: cache.ForwardFor(r.plan, cache.Miss)}, &r.state
	if r.plan.Pass != cache.NoReason {
		return
	}
	now := time.Now()
	verdict := s.cache.Judge(&r.Request, resp, r.plan, cache.Times{Request: r.Start, Response: now})
	s.cache.Learn(r.plan, &verdict, now)
	if verdict.Store {
		r.state.Stored = resp.Length <= s.cache.MaxBody()
		r.keep = newKeeper(s.cache, &verdict, resp.Length)
	}
}

// invalidate drops what is stored about the resources that a request has changed, as the configuration has it with which the request
// began, and as the one in force has it: a read that came under that one may have been faster.
func (g *Gateway) invalidate(r *request, resp *http1.Response) {
	r.settings.invalidate(&r.Request, resp)
	if inForce := g.settings.Load(); inForce != r.settings {
		inForce.invalidate(&r.Request, resp)
	}
}

// invalidate drops what is stored about the resources that a request has changed, on every route. Without a response it may have changed them.
func (s *settings) invalidate(req *http1.Request, resp *http1.Response) {
	if len(s.sharings) == 0 {
		return
	}
	if resp == nil {
		resp = &http1.Response{Status: 200}
	}
	w, ok := cache.WriteOf(req, resp)
	if !ok {
		return
	}
	for _, sharing := range s.sharings {
		sharing.cache.Invalidate(&w)
	}
	if s.kept != nil {
		s.kept.Invalidate(context.Background(), &w) // it counts its failures; what other nodes find there is as old as it says
	}
}

// sharedBody is a body that many read, as relay wants it.
type sharedBody struct {
	reader interface {
		Next() ([]byte, error)
		Ready() bool
	}
	from *answer
}

func (b *sharedBody) Next() ([]byte, error)  { return b.reader.Next() }
func (b *sharedBody) Ready() bool            { return b.reader.Ready() }
func (b *sharedBody) Trailer() []http1.Field { return b.from.trailer }

var _ source = (*sharedBody)(nil)
