package redislimit

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/sluicegate/sluice/internal/lease"
)

// Strict decides every request in Redis, by Redis's clock, exactly: in every window of time t the tokens admitted to a key, over all nodes,
// are at most rate·t + burst+1. It is safe for concurrent use.
type Strict struct {
	link                       *Link
	allowed, refused, refunded atomic.Uint64
}

// NewStrict returns a strict limiter on a link.
func NewStrict(link *Link) *Strict { return &Strict{link: link} }

// Decide decides all requests in one call: either all are allowed, and spend their cost, or none does. It sets each Decision: of those refused
// it says when to come again.
//
// An error that wraps [ErrUnavailable] means that there is no decision; the cost may have been spent. Decide takes no longer than the link's
// Timeout.
func (s *Strict) Decide(ctx context.Context, requests []Request) (allowed bool, err error) {
	allowed, err = s.run(ctx, requests, 1)
	if err == nil && allowed {
		s.allowed.Add(1)
	} else if err == nil {
		s.refused.Add(1)
	}
	return allowed, err
}

// Peek says what Decide would, and spends nothing.
func (s *Strict) Peek(ctx context.Context, requests []Request) (allowed bool, err error) {
	return s.run(ctx, requests, 0)
}

func (s *Strict) run(ctx context.Context, requests []Request, spend int) (bool, error) {
	all, err := intervals(requests)
	if err != nil {
		return false, err
	}
	if len(requests) == 0 {
		return true, nil
	}
	keys := make([]string, len(requests))
	args := make([]any, 1, 1+7*len(requests))
	args[0] = spend
	for k := range requests {
		r, i := &requests[k], all[k]
		keys[k] = s.link.key(r)
		args = append(args, i.P, max(1, i.Q), i.Size)
		args = spans(args, cost(i, r.N), i.Room(r.N))
	}
	reply, err := s.link.do(ctx, &call{script: s.link.scripts.decide, keys: keys, args: args})
	if err != nil {
		return false, err
	}
	if len(reply) != 2+3*len(requests) {
		return false, fmt.Errorf("redis: decide replied with %d numbers", len(reply))
	}
	for k := range requests {
		refused, debt := reply[2+3*k] == 1, lease.Span{Whole: reply[3+3*k], Rest: reply[4+3*k]}
		requests[k].Decision = all[k].Decision(debt, requests[k].N, !refused)
	}
	return reply[1] == 1, nil
}

// cost returns what n tokens add to a debt; what can never fit is refused by its room and costs nothing.
func cost(i lease.Interval, n int64) lease.Span {
	if n < 0 || n > i.Size {
		return lease.Span{}
	}
	return i.Times(n)
}

// Refund gives back what requests spent for nothing, in one round trip. What has come back with time already is not given a second time.
func (s *Strict) Refund(ctx context.Context, requests []Request) error {
	all, err := intervals(requests)
	if err != nil {
		return err
	}
	calls := make([]*call, 0, len(requests))
	tokens := int64(0)
	for k, i := range all {
		if n := min(requests[k].N, i.Size); n > 0 {
			calls = append(calls, s.link.exchange(s.link.key(&requests[k]), i, lease.Exchange{Slot: lease.Refund, Back: n}))
			tokens += n
		}
	}
	if _, err := s.link.do(ctx, calls...); err != nil {
		return err
	}
	s.refunded.Add(uint64(tokens))
	return nil
}

// exchange returns the call that carries x out.
func (l *Link) exchange(key string, i lease.Interval, x lease.Exchange) *call {
	args := make([]any, 0, 14)
	args = append(args, i.P, i.Q, i.Size)
	args = spans(args, i.Times(i.Size))
	args = append(args, x.Slot, x.Settle, x.Carry)
	args = spans(args, i.Times(min(x.Back, i.Size)))
	args = append(args, x.Need, x.Want)
	args = spans(args, i.Times(x.Need))
	return &call{script: l.scripts.exchange, keys: []string{key}, args: args}
}

// StrictStats counts decisions.
type StrictStats struct{ Allowed, Refused, Refunded uint64 }

// Stats returns the counters; a Refund counts in tokens.
func (s *Strict) Stats() StrictStats {
	return StrictStats{Allowed: s.allowed.Load(), Refused: s.refused.Load(), Refunded: s.refunded.Load()}
}
