package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/sluicegate/sluice/internal/cache"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/identify"
	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/problem"
	"github.com/sluicegate/sluice/internal/spool"
	"github.com/sluicegate/sluice/internal/upstream"
	"github.com/sluicegate/sluice/internal/wallet"
	"github.com/sluicegate/sluice/window"
)

// request is one request on its way through the stages.
type request struct {
	*http1.Exchange
	settings *settings
	client   identify.Client
	route    *route // nil until one matches
	grant    limit.Grant
	wallet   *wallet.Wallet   // where payments were made
	payments []payment        // for what the client bought
	out      upstream.Request // the client's, on its way to the upstream
	hop      upstream.Hop
	target   string        // who answered, "" if no upstream did
	gone     bool          // the client left before it was answered
	queued   time.Duration // for a slot of the upstream
	merged   bool          // it was a part of another request's call
	accepted bool          // as a job, to be done later
	refusal  *problem.Type // the error of the gateway's own that it was answered with, nil without
	idBuf    [32]byte

	// On a route whose answers are shared:
	plan   *cache.Plan        // what the request allows
	status *cache.StatusField // what the client is told about it: nil, or state
	state  cache.StatusField
	keep   *keeper // collects the response, nil if it is not kept

	body *http1.Body // the request's, if it has been read already
}

var requests = sync.Pool{New: func() any { return &request{plan: new(cache.Plan)} }}

// serve is the path of every request.
func (g *Gateway) serve(x *http1.Exchange) {
	g.metrics.inFlight.Inc()
	defer g.metrics.inFlight.Dec()
	r := requests.Get().(*request)
	r.begin(x, g.settings.Load())
	r.wallet = g.wallet
	g.answer(r)
	g.finish(r)
	*r = request{plan: r.plan, payments: r.payments[:0]}
	requests.Put(r)
}

func (g *Gateway) answer(r *request) {
	if r.Refusal != nil {
		r.refuse(problem.ForRefusal(r.Refusal.Status), r.Refusal.Reason)
		return
	}
	r.settings.identifier.Identify(&r.client, &r.Request, r.Remote.Addr())
	now := window.At(r.Start)
	g.meter.CountClient(r.client.Name, now)
	standing := r.settings.rules.Standing(r.client.Name, r.client.Addr)
	if standing == limit.Denied {
		r.refuse(problem.AccessDenied, "this client is on the list of those that are never served")
		return
	}
	var path []byte
	r.route, path = r.settings.match(&r.Request)
	g.meter.CountRoute(r.routeName(), now)
	if path == nil {
		r.refuse(problem.BadRequest, "the path has dot segments or broken escapes: send it resolved")
		return
	}
	if r.route == nil {
		r.refuse(problem.NotFound, "no route for "+string(r.Method)+" and this path; see 'routes' in the configuration")
		return
	}
	if r.route == r.settings.jobs {
		g.tellJob(r, path)
		return
	}
	if standing != limit.Exempt && !(r.limited(path) && g.paid(r, path)) {
		return
	}
	switch m := r.route.merging; {
	case r.route.async != nil:
		g.accept(r)
	case m != nil && m.takes(&r.Request):
		g.merge(r)
	default:
		g.single(r)
	}
}

// single answers a request that is not merged with others. Every request of a route whose answers are shared has to be planned: without that
// its plan is the one of another request, whose key it would be kept under.
func (g *Gateway) single(r *request) {
	if r.route.sharing != nil {
		g.share(r)
	} else {
		g.forward(r)
	}
}

// routeName names the request's route for meters and metrics.
func (r *request) routeName() string {
	if r.route == nil {
		return noRoute
	}
	return r.route.metrics.name
}

func (r *request) begin(x *http1.Exchange, s *settings) {
	r.Exchange, r.settings = x, s
	r.client.Addr = x.Remote.Addr() // as far as is known
	r.hop.RequestID = r.requestID()
}

// requestID is the client's own X-Request-Id if it is fit for logs, otherwise a new one of 128 random bits.
func (r *request) requestID() []byte {
	for i := range r.Fields {
		if f := &r.Fields[i]; f.Kind == http1.XRequestID {
			if len(f.Value) > 0 && len(f.Value) <= maxRequestID && http1.IsVisible(f.Value) {
				return f.Value
			}
			break
		}
	}
	appendHex(appendHex(r.idBuf[:0], rand.Uint64()), rand.Uint64())
	return r.idBuf[:]
}

const maxRequestID = 128

func appendHex(dst []byte, n uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[n>>shift&15])
	}
	return dst
}

// refuse answers with an error of the gateway's own.
func (r *request) refuse(t *problem.Type, detail string) { r.refuseFor(t, detail, 0) }

func (r *request) refuseFor(t *problem.Type, detail string, retryAfter time.Duration) {
	r.refuseWith(problem.Problem{Type: t, Detail: detail, RetryAfter: retryAfter})
}

// refuseWith adds to a problem what every one of the gateway's own has.
func (r *request) refuseWith(p problem.Problem) {
	p.RequestID, p.Fields = string(r.hop.RequestID), &r.grant
	r.refusal = p.Type
	problem.Write(r.Exchange, p)
}

// forward sends the request to its upstream and passes the response on.
func (g *Gateway) forward(r *request) {
	if r.route.maxBody > 0 && r.Length > r.route.maxBody {
		r.refund()
		r.refuse(problem.BodyTooLarge, "the body is longer than this route allows")
		return
	}
	call, err := r.call(&r.Request)
	if err != nil {
		g.unanswered(r, err)
		return
	}
	defer call.Close()
	r.target, r.queued = call.Target(), call.queued()
	if err := g.relay(r, call.Call); err != nil {
		g.breakOff(r, err)
	}
}

// call makes the request's own call. head is its head, or another one in its place.
func (r *request) call(head *http1.Request) (admitted, error) {
	r.hop.Peer, r.hop.Trusted, r.hop.MaxBody = r.Remote.Addr(), r.client.Trusted, r.route.maxBody
	r.out = upstream.Request{Request: head, Body: &r.Body, Start: r.Start, From: r.Exchange}
	if r.body != nil {
		r.out.Body = r.body
	}
	return r.route.pool.Do(&r.out, &r.hop, r.price())
}

// breakOff ends a request whose response could not be passed on to its end.
func (g *Gateway) breakOff(r *request, err error) {
	var failure *upstream.Error
	if errors.As(err, &failure) { // after an interim response, nothing followed
		g.fail(r, failure)
		return
	}
	if errors.Is(err, spool.ErrAborted) {
		r.leave()
		return
	}
	g.log.Debug("response broken off", "request_id", string(r.hop.RequestID), "target", r.target, "error", err)
	r.Abort()
}

// fail answers for an upstream that did not.
func (g *Gateway) fail(r *request, failure *upstream.Error) {
	r.target = failure.Target
	if !failure.Sent {
		r.refund() // nobody can have served anything
	} else {
		g.invalidate(r, nil) // it may have done what it was to do
	}
	switch failure.Kind {
	case upstream.NoTarget:
		r.refuseFor(problem.NoTarget, "every target is unhealthy; try again later", r.route.pool.RetryAfter())
	case upstream.Connect, upstream.Lost:
		r.refuse(problem.UpstreamFailed, failure.Kind.String())
	case upstream.BadResponse:
		r.refuse(problem.UpstreamInvalid, failure.Kind.String())
	case upstream.HeaderTimeout, upstream.TotalTimeout:
		r.refuse(problem.UpstreamTimeout, failure.Kind.String())
	case upstream.BodyTooLarge:
		r.refuse(problem.BodyTooLarge, "the body is longer than this route allows")
	case upstream.ClientBody:
		r.failBody(failure.Err)
	case upstream.ClientGone:
		r.leave()
	}
	g.log.Debug("request failed", "request_id", string(r.hop.RequestID), "error", failure)
}

// failBody answers for a body that could not be read.
func (r *request) failBody(err error) {
	var malformed *http1.Error
	switch {
	case errors.As(err, &malformed):
		r.CloseAfter()
		r.refuse(problem.BadRequest, malformed.Reason)
	case errors.Is(err, os.ErrDeadlineExceeded):
		r.CloseAfter()
		r.refuse(problem.RequestTimeout, "the request's body stopped arriving")
	default:
		r.leave()
	}
}

// leave ends a request whose client has gone: there is nobody to answer.
func (r *request) leave() {
	r.gone = true
	r.Abort()
}

// statusGone is how a request without an answer is counted, as other gateways do.
const statusGone = 499

// finish counts and logs the request.
func (g *Gateway) finish(r *request) {
	status := r.Status()
	if r.gone || status == 0 {
		status = statusGone
	}
	took := time.Since(r.Start)
	outcome := r.outcome(status)
	g.metrics.count(r, status, outcome, took)
	if outcome == limited && len(r.client.Name) > 0 {
		g.meter.CountRefused(r.client.Name, window.At(r.Start))
	}
	if r.settings.access {
		g.logAccess(r, status, took)
	}
}

func (g *Gateway) logAccess(r *request, status int, took time.Duration) {
	routePath := ""
	if r.route != nil {
		routePath = r.route.metrics.name
	}
	g.log.LogAttrs(context.Background(), slog.LevelInfo, "request",
		slog.String("request_id", string(r.hop.RequestID)),
		slog.String("client", g.metrics.clients.shown(r.client.Name)),
		slog.String("address", r.client.Addr.String()),
		slog.String("method", string(r.Method)),
		slog.String("target", string(r.Target)),
		slog.String("route", routePath),
		slog.String("upstream", r.target),
		slog.String("limit", r.limitedBy()),
		slog.Int("status", status),
		slog.Int64("bytes", r.Written()),
		slog.Float64("queued_ms", float64(r.queued.Microseconds())/1000),
		slog.Float64("took_ms", float64(took.Microseconds())/1000))
}

// holdHead is the size, in bytes, up to which a body of known length is awaited before the head is sent, so that both
// go out together.
const holdHead = 4 << 10

// relay passes the response on as it arrives.
func (g *Gateway) relay(r *request, call *upstream.Call) error {
	if err := r.relayInterim(call); err != nil {
		return err
	}
	resp := call.Response()
	g.study(r, resp)
	defer func() { r.keep.drop() }()
	if resp.Upgraded() {
		r.relayHead(resp)
		return r.tunnel(call)
	}
	return r.relayFrom(resp, call.Body())
}

// relayInterim passes on what comes before the final response.
func (r *request) relayInterim(call *upstream.Call) error {
	resp := call.Response()
	for resp.Status < 200 && !resp.Upgraded() {
		if err := r.Interim(resp.Status, resp.Reason, resp.Fields); err != nil {
			return err
		}
		if err := call.NextInterim(); err != nil {
			return err
		}
	}
	return nil
}

// source is a body on its way: straight from an upstream, or by way of a spool.
type source interface {
	Next() ([]byte, error)
	Ready() bool
	Trailer() []http1.Field
}

// relayFrom passes on a response whose body comes from src.
func (r *request) relayFrom(resp *http1.Response, src source) error {
	r.relayHead(resp)
	r.EndHead(relayLength(resp))
	short := resp.Length >= 0 && resp.Length <= holdHead
	for {
		if !src.Ready() && !short {
			if err := r.Flush(); err != nil {
				return err
			}
		}
		p, err := src.Next()
		if err == io.EOF {
			r.keep.end()
			return r.Finish(src.Trailer())
		}
		if err != nil {
			return err
		}
		r.keep.add(p)
		if _, err := r.Write(p); err != nil {
			return err
		}
	}
}

// relayLength is the length to declare: that of the body, or what a body would have had.
func relayLength(resp *http1.Response) int64 {
	if resp.Length == 0 {
		return resp.Declared
	}
	return resp.Length
}

// relayHead passes the head on: every field as it came and in its order, but for those of one hop and the framing.
func (r *request) relayHead(resp *http1.Response) {
	r.Begin(resp.Status, resp.Reason)
	for i := range resp.Fields {
		f := &resp.Fields[i]
		if f.HopByHop() || f.Kind == http1.ContentLength || f.Kind == http1.XRequestID || r.grant.Replaces(f.Name) || r.state.Collapsed && ofOneClient(f.Name) {
			continue
		}
		r.Add(f.Name, f.Value)
	}
	if resp.Minor == 0 {
		r.AddString("Via", "1.0 sluice")
	} else {
		r.AddString("Via", "1.1 sluice")
	}
	r.addOwn()
}

// addOwn adds the fields that are this request's alone.
func (r *request) addOwn() {
	if r.status != nil {
		var buf [128]byte
		r.Add(cacheStatusName, r.status.Append(buf[:0]))
	}
	r.Add(requestIDName, r.hop.RequestID)
	r.grant.AddFields(r.Exchange)
	r.addPayments()
}

var requestIDName = []byte("X-Request-Id")
