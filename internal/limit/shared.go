package limit

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/redislimit"
)

// Shared is this node's part in limits that nodes have in common through Redis: the modes strict and lease, and the overrides that are
// set at run time. Open one for each process. Safe for concurrent use.
type Shared struct {
	link      *redislimit.Link
	stricts   *redislimit.Strict
	leases    *redislimit.Lease
	overrides *redislimit.Overrides

	strict, lease *shared // backends
}

// maxShareKeys is how many keys are remembered while Redis is away.
const maxShareKeys = 1_000_000

// OpenShared returns at once: Redis may be away.
func OpenShared(c redislimit.Config) (*Shared, error) {
	link := redislimit.Open(c)
	share, err := redislimit.NewShare(link, maxShareKeys)
	if err != nil {
		return nil, errors.Join(err, link.Close())
	}
	s := &Shared{
		link: link, stricts: redislimit.NewStrict(link), leases: redislimit.NewLease(link, 0), overrides: redislimit.NewOverrides(link),
	}
	s.strict = &shared{decider: s.stricts, share: share}
	s.lease = &shared{decider: s.leases, share: share}
	return s, nil
}

// Close returns the tokens that this node holds, tells the other nodes that it leaves, and closes the connections. Call it once, after the stage
// is closed. With an error that wraps redislimit.ErrUnavailable, tokens could not be returned; they come back by themselves.
func (s *Shared) Close() error {
	s.overrides.Close()
	return errors.Join(s.leases.Close(), s.link.Close())
}

// decider is what the modes strict and lease have in common.
type decider interface {
	Decide(ctx context.Context, requests []redislimit.Request) (allowed bool, err error)
	Peek(ctx context.Context, requests []redislimit.Request) (allowed bool, err error)
	Refund(ctx context.Context, requests []redislimit.Request) error
}

// shared is the backend of a mode that asks Redis. It takes no longer than the link's Timeout; without an answer every rule does
// what its on_error says.
type shared struct {
	decider decider
	share   *redislimit.Share
	buffers sync.Pool // of *[maxRules]redislimit.Request: they escape, and would be allocated for every request
}

// ways is what a rule can do without Redis, in the order in which an account counts it.
var ways = [...]config.LimitOnError{config.OnErrorOpen, config.OnErrorClosed, config.OnErrorLocalShare}

// borrow returns the requests that stand for calls, until takeBack.
func (b *shared) borrow(calls []call) *[maxRules]redislimit.Request {
	buffer, _ := b.buffers.Get().(*[maxRules]redislimit.Request)
	if buffer == nil {
		buffer = new([maxRules]redislimit.Request)
	}
	for i := range calls {
		buffer[i] = calls[i].request()
	}
	return buffer
}

func (b *shared) takeBack(buffer *[maxRules]redislimit.Request) {
	clear(buffer[:]) // the keys are views of what ends with the request
	b.buffers.Put(buffer)
}

func (c *call) request() redislimit.Request {
	return redislimit.Request{Rule: c.rule.ledger, Key: c.key, Limit: c.terms.limit, N: c.n}
}

func (b *shared) decide(now time.Duration, calls []call) (bool, error) {
	buffer := b.borrow(calls)
	defer b.takeBack(buffer)
	requests := buffer[:len(calls)]
	allowed, err := b.decider.Decide(context.Background(), requests)
	if err != nil {
		return b.decideAlone(now, calls, err)
	}
	for i := range calls {
		calls[i].decision, calls[i].alone = requests[i].Decision, false
	}
	return allowed, nil
}

// decideAlone decides without Redis, because of err. One rule that is closed closes all.
func (b *shared) decideAlone(now time.Duration, calls []call, err error) (bool, error) {
	closed := false
	for i := range calls {
		r := calls[i].rule
		r.alone[slices.Index(ways[:], r.cfg.OnError)].Add(1)
		closed = closed || r.cfg.OnError == config.OnErrorClosed
	}
	if closed {
		return false, err
	}
	requests, of := b.requestsAlone(calls)
	allowed, err := b.share.Decide(now, requests)
	if err != nil {
		return false, err
	}
	for i := range calls {
		calls[i].alone, calls[i].decision = true, unlimited(calls[i].terms.limit)
	}
	for k, i := range of {
		calls[i].decision = requests[k].Decision
	}
	return allowed, nil
}

// requestsAlone are the requests of those calls that this node's share of the limit decides, and which calls those are. The share keeps keys, so
// they are copied.
func (b *shared) requestsAlone(calls []call) (requests []redislimit.Request, of []int) {
	for i := range calls {
		if calls[i].rule.cfg.OnError == config.OnErrorLocalShare {
			r := calls[i].request()
			r.Key = strings.Clone(r.Key)
			requests, of = append(requests, r), append(of, i)
		}
	}
	return requests, of
}

// unlimited is the decision of a rule that lets everything pass.
func unlimited(l gcra.Limit) gcra.Decision {
	return gcra.Decision{Allowed: true, Limit: l.Burst() + 1, Remaining: l.Burst() + 1}
}

// refund gives each back to whom it was taken from: Redis, this node's share, or nobody. If Redis does not take it, it is lost.
func (b *shared) refund(now time.Duration, calls []call) {
	var asked, alone []call
	for i := range calls {
		c := &calls[i]
		switch {
		case !c.alone:
			asked = append(asked, *c)
			c.decision = returned(c.decision, c.terms.limit, c.n)
		case c.rule.cfg.OnError == config.OnErrorLocalShare:
			alone = append(alone, *c)
			c.decision = returned(c.decision, c.terms.limit, c.n)
		}
	}
	if len(asked) > 0 {
		buffer := b.borrow(asked)
		defer b.takeBack(buffer)
		_ = b.decider.Refund(context.Background(), buffer[:len(asked)]) // the link counts the error
	}
	if len(alone) > 0 {
		requests, _ := b.requestsAlone(alone)
		_ = b.share.Refund(now, requests) // it fails for limits alone that it did not decide either
	}
}

// returned is a decision after n tokens came back, as far as is known without asking.
func returned(d gcra.Decision, l gcra.Limit, n int64) gcra.Decision {
	each := float64(l.Window()) / float64(l.Burst()+1)
	d.Remaining = min(d.Limit, d.Remaining+n)
	d.ResetAfter = max(0, d.ResetAfter-time.Duration(each*float64(n)))
	d.Allowed, d.RetryAfter = true, 0
	return d
}

func (b *shared) peek(now time.Duration, c *call) error {
	requests := []redislimit.Request{c.request()}
	_, err := b.decider.Peek(context.Background(), requests)
	if err == nil {
		c.decision = requests[0].Decision
		return nil
	}
	switch c.rule.cfg.OnError {
	case config.OnErrorOpen:
		c.decision = unlimited(c.terms.limit)
		return nil
	case config.OnErrorLocalShare:
		err = b.share.Peek(now, &requests[0])
		c.decision = requests[0].Decision
	}
	return err
}
