package upstream

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
)

// maxHead bounds the head of a response, in bytes.
const maxHead = 64 << 10

// Pool is one upstream: its targets, their connections and their health. Safe for concurrent use.
type Pool struct {
	cfg     *config.Upstream
	log     *slog.Logger
	targets []*target
	dialer  net.Dialer
	budget  *budget
	turn    atomic.Uint64 // where the next search for a target begins
	retries atomic.Int64

	closed atomic.Bool
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	jobs   sync.WaitGroup // health checks and the closing of idle connections

	leaving leaving
}

// New starts an upstream. Close stops it.
func New(cfg *config.Upstream, log *slog.Logger) *Pool {
	p := &Pool{
		cfg:    cfg,
		log:    log.With("upstream", cfg.Name),
		budget: newBudget(float64(cfg.Retries.Budget)),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for _, u := range cfg.Targets {
		p.targets = append(p.targets, newTarget(u))
	}
	p.jobs.Go(p.trimIdle)
	if cfg.Health != nil {
		for _, t := range p.targets {
			p.jobs.Go(func() { p.checkHealth(t) })
		}
	}
	return p
}

// Config is what the pool was made from.
func (p *Pool) Config() *config.Upstream { return p.cfg }

// Close stops the checks, and closes idle connections and those of calls that were given up. Calls under way go on, and close their connections at
// their end.
func (p *Pool) Close() {
	if p.closed.Swap(true) {
		return
	}
	p.cancel()
	p.jobs.Wait()
	p.leaving.close()
	for _, t := range p.targets {
		t.closeIdle(time.Now().Add(time.Hour))
	}
}

// Do sends a request to a target and returns the call when the response has begun.
func (p *Pool) Do(req *Request, hop *Hop) (*Call, *Error) {
	p.budget.request()
	var tried tries
	t := p.pick(req.Start, &tried)
	if t == nil {
		return nil, &Error{Kind: NoTarget}
	}
	sent := false
	for attempt := 0; ; attempt++ {
		call, err := p.call(t, req, hop)
		if err == nil {
			p.noteSuccess(t)
			return call, nil
		}
		sent = sent || err.Sent || err.Kind != Connect
		err.Sent = sent
		p.note(t, err)
		tried.add(t)
		if attempt >= p.cfg.Retries.Max || !p.repeatable(req, err) || p.overdue(req) {
			return nil, err
		}
		if t = p.pick(req.Start, &tried); t == nil || !p.budget.take() {
			return nil, err
		}
		p.retries.Add(1)
	}
}

// timeouts are those of a request.
func (p *Pool) timeouts(req *Request) config.UpstreamTimeouts {
	t := p.cfg.Timeouts
	if req.Within > 0 {
		t.Header, t.Total = req.Within, req.Within
	}
	return t
}

// overdue reports whether the time for the request as a whole has passed.
func (p *Pool) overdue(req *Request) bool {
	total := p.timeouts(req).Total
	return total > 0 && time.Since(req.Start) >= total
}

// tries are the targets that a request has been sent to. Retries are few, so it is a list.
type tries struct {
	list [maxTries]*target
	n    int
}

const maxTries = 11 // the first and config's bound of ten retries

func (s *tries) add(t *target) {
	if s.n < maxTries {
		s.list[s.n] = t
		s.n++
	}
}

func (s *tries) has(t *target) bool {
	for _, u := range s.list[:s.n] {
		if u == t {
			return true
		}
	}
	return false
}

// pick chooses a target that has not been tried. One that was ejected is better than none: ejecting is a guess, and
// must not turn a bad moment of every target into an outage.
func (p *Pool) pick(now time.Time, tried *tries) *target {
	if len(p.targets) == 1 {
		if t := p.targets[0]; t.healthy.Load() && tried.n == 0 {
			return t
		}
		return nil
	}
	from := int(p.turn.Add(1) % uint64(len(p.targets)))
	if t := p.search(from, func(t *target) bool { return !t.ejected(now) && !tried.has(t) }); t != nil {
		return t
	}
	return p.search(from, func(t *target) bool { return !tried.has(t) })
}

// search returns the target that the balance prefers among the healthy ones that will do, looking from index from on.
func (p *Pool) search(from int, will func(*target) bool) *target {
	var best *target
	for i := range p.targets {
		t := p.targets[(from+i)%len(p.targets)]
		if !t.healthy.Load() || !will(t) {
			continue
		}
		if p.cfg.Balance == config.RoundRobin {
			return t
		}
		if best == nil || t.inFlight.Load() < best.inFlight.Load() {
			best = t
		}
	}
	return best
}

// repeatable reports whether the request may be sent once more: nothing of it was sent, or it is idempotent and its
// body, if any, is still at hand. Timeouts are not repeated: they would double the load of an upstream that is slow.
func (p *Pool) repeatable(req *Request, err *Error) bool {
	_, whole := req.Body.Whole()
	if !whole || req.Upgrades() {
		return err.Kind == Connect
	}
	return err.Kind == Connect || err.Kind == Lost && req.Idempotent()
}

// failingAfter is how many failures in a row are worth a line in the log, once until the target answers again.
const failingAfter = 3

// noteSuccess ends a row of failures.
func (p *Pool) noteSuccess(t *target) {
	if t.failures.Load() > 0 && t.failures.Swap(0) >= failingAfter {
		p.log.Info("target answers again", "target", t.addr)
	}
}

// note counts a failure, and ejects a target that fails too often.
func (p *Pool) note(t *target, err *Error) {
	t.outcomes[err.Kind].Add(1)
	if !err.Kind.blamesTarget() {
		return
	}
	n := t.failures.Add(1)
	if n == failingAfter {
		p.log.Warn("target failing", "target", t.addr, "failures", n, "last", err.Error())
	}
	if limit := int64(p.cfg.Eject.Failures); limit > 0 && n >= limit && len(p.targets) > 1 {
		now := time.Now()
		if !t.ejected(now) {
			t.ejectedUntil.Store(now.Add(p.cfg.Eject.For).UnixNano())
			t.ejections.Add(1)
			p.log.Warn("target ejected after failures in a row", "target", t.addr, "failures", n, "for", p.cfg.Eject.For.String(), "last", err.Error())
		}
	}
}

// call sends the request to t. A kept connection that turns out to have been closed by the target is replaced once.
func (p *Pool) call(t *target, req *Request, hop *Hop) (*Call, *Error) {
	t.calls.Add(1)
	t.inFlight.Add(1)
	call, err := p.callKept(t, req, hop)
	if call == nil && (err == nil || err.Kind == Lost && p.repeatable(req, err)) {
		lost := err != nil
		call, err = p.callNew(t, req, hop)
		if err != nil {
			err.Sent = lost
		}
	}
	if err != nil {
		t.inFlight.Add(-1)
	}
	return call, err
}

// callKept sends the request on a kept connection. Both results are nil if there is none that is good.
func (p *Pool) callKept(t *target, req *Request, hop *Hop) (*Call, *Error) {
	_, whole := req.Body.Whole()
	for c := t.popIdle(); c != nil; c = t.popIdle() {
		if !c.fresh(whole) {
			c.nc.Close()
			continue
		}
		if call, err := p.attempt(c, req, hop); err == nil || err.Err != errStale {
			return call, err
		}
	}
	return nil, nil
}

func (p *Pool) callNew(t *target, req *Request, hop *Hop) (*Call, *Error) {
	c, failure := p.dial(t, req)
	if failure != nil {
		return nil, failure
	}
	call, failure := p.attempt(c, req, hop)
	if failure != nil && failure.Err == errStale {
		failure.Kind, failure.Err = Connect, errSpokeFirst
	}
	return call, failure
}

var errSpokeFirst = errors.New("the target closed, or spoke, before it was asked")

// keep puts a connection back.
func (p *Pool) keep(c *conn) {
	if p.closed.Load() || !c.target.pushIdle(c, p.cfg.KeepAlive.MaxIdle) {
		c.nc.Close()
		return
	}
	if p.closed.Load() { // Close may have emptied the list just before c was put there
		c.target.closeIdle(time.Now().Add(time.Hour))
	}
}

// attempt sends the request on c and waits for the response to begin. If it fails, c is closed.
func (p *Pool) attempt(c *conn, req *Request, hop *Hop) (*Call, *Error) {
	c.begin(req.Start, p.timeouts(req))
	req.From.WhenGone(c)
	call := &c.call
	call.req = req
	c.send(req, hop, call)
	err := c.awaitHead(req, call.sender)
	if err == nil {
		return call, nil
	}
	req.From.WhenGone(nil)
	failure := c.explain(req, err, call.sender)
	if call.sender != nil {
		call.sender.stop(c, req)
	}
	c.part(req)
	return nil, failure
}

// send writes the head, and the body with it if it has been received already. A longer body gets a goroutine.
func (c *conn) send(req *Request, hop *Hop, call *Call) {
	host := ""
	if c.pool.cfg.Host == config.HostTarget {
		host = c.target.host
	}
	c.out = appendHead(c.out[:0], req.Request, hop, host, c.target.host)
	body, whole := req.Body.Whole()
	if whole {
		c.out = append(c.out, body...)
	}
	c.setDeadline(time.Now().Add(c.header))
	if whole && c.turn != nil {
		c.due = c.out
		return
	}
	c.nc.Write(c.out) // a failure is not the end: see turn
	if !whole {
		c.setReadDeadline(time.Time{}) // until the body is sent
		call.sender = startSender(c, req, hop.MaxBody)
	}
}

// awaitHead reads the next head, and passes over 100 Continue, which the client has got already if it wanted it.
func (c *conn) awaitHead(req *Request, s *sender) error {
	for {
		if err := c.stream.Next(maxHead, req.IsMethod("HEAD")); err != nil {
			return err
		}
		if c.stream.Response.Status != 100 {
			break
		}
	}
	if c.stream.Response.Status >= 200 || c.stream.Response.Upgraded() {
		c.responseBegun()
	}
	if s != nil {
		s.join(req)
	}
	if c.stream.Response.Upgraded() {
		return c.upgraded(req, s)
	}
	return nil
}

// upgraded checks that the protocol may be switched. The new one begins where the request ends, so a body that is
// still being sent is awaited.
func (c *conn) upgraded(req *Request, s *sender) error {
	if !req.Upgrades() {
		return errUpgrade
	}
	if s != nil {
		<-s.done
		req.From.UnshareBody()
		if c.aborted.Load() {
			return os.ErrDeadlineExceeded
		}
		return s.err
	}
	return nil
}

var errUpgrade = errors.New("101 Switching Protocols that nobody asked for")

// explain finds out why no response has begun.
func (c *conn) explain(req *Request, err error, s *sender) *Error {
	e := &Error{Kind: Lost, Target: c.target.addr, Err: err}
	var malformed *http1.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Kind, e.Err = c.explainTimeout(req, s)
	case errors.As(err, &malformed) || err == errUpgrade:
		e.Kind = BadResponse
	case err == io.EOF:
		e.Err = errors.New("closed without an answer")
	}
	return e
}

func (c *conn) explainTimeout(req *Request, s *sender) (Kind, error) {
	if c.aborted.Load() && s != nil {
		s.stop(c, req)
		var failed *bodyError
		if errors.As(s.err, &failed) {
			return failed.kind, failed.err
		}
	}
	switch {
	case c.aborted.Load():
		return ClientGone, nil
	case !c.total.IsZero() && !time.Now().Before(c.total):
		return TotalTimeout, nil
	}
	return HeaderTimeout, nil
}

// trimIdle closes connections that have been idle too long.
func (p *Pool) trimIdle() {
	tick := time.NewTicker(max(p.cfg.KeepAlive.Idle/4, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case now := <-tick.C:
			for _, t := range p.targets {
				t.closeIdle(now.Add(-p.cfg.KeepAlive.Idle))
			}
		}
	}
}
