package redislimit

import (
	"fmt"
	"time"

	"github.com/sluicegate/sluice/gcra"
)

// A Share decides by this node's part of the limits, without Redis: what "local_share" does while Redis is away. Over all nodes it admits what the
// limit allows if each sees its part of the traffic, less if they don't, and more only in two cases: nodes that were cut off when
// others joined don't know of those, and a node's part is never less than one token at a time.
//
// It is safe for concurrent use.
type Share struct {
	link    *Link
	limiter *gcra.Limiter[name]
}

// NewShare returns a share on a link, which counts the nodes. maxKeys is as in [gcra.Config].
func NewShare(link *Link, maxKeys int) (*Share, error) {
	limiter, err := gcra.New[name](gcra.Config{MaxKeys: maxKeys})
	if err != nil {
		return nil, fmt.Errorf("local share: %w", err)
	}
	return &Share{link: link, limiter: limiter}, nil
}

// Decide decides all requests, or none, at the time now since any start, and sets their decisions.
func (s *Share) Decide(now time.Duration, requests []Request) (allowed bool, err error) {
	nodes := s.link.Nodes()
	parts := make([]gcra.Request[name], len(requests))
	for k := range requests {
		r := &requests[k]
		limit, err := Part(r.Limit, nodes)
		if err != nil {
			return false, err
		}
		parts[k] = gcra.Request[name]{Limiter: s.limiter.WithLimit(limit), Key: name{r.Rule, r.Key}, N: r.N}
	}
	allowed = gcra.All(now, parts)
	for k := range requests {
		requests[k].Decision = parts[k].Decision
	}
	return allowed, nil
}

// Peek sets a request's decision to what Decide would, and spends nothing.
func (s *Share) Peek(now time.Duration, r *Request) error {
	limit, err := Part(r.Limit, s.link.Nodes())
	if err != nil {
		return err
	}
	r.Decision = s.limiter.WithLimit(limit).PeekAt(name{r.Rule, r.Key}, now, r.N)
	return nil
}

// Refund gives back what requests spent for nothing.
func (s *Share) Refund(now time.Duration, requests []Request) error {
	for k := range requests {
		r := &requests[k]
		limit, err := Part(r.Limit, s.link.Nodes())
		if err != nil {
			return err
		}
		s.limiter.WithLimit(limit).RefundAt(name{r.Rule, r.Key}, now, r.N)
	}
	return nil
}

// Part returns a limit's part for one of so many nodes: the rate divided by them, and the burst such that all of them together allow at most burst+1
// at once, or one each if that is more.
func Part(limit gcra.Limit, nodes int) (gcra.Limit, error) {
	count, period := limit.Rate()
	if count == 0 || nodes <= 1 {
		return limit, nil
	}
	size := max(1, (limit.Burst()+1)/int64(nodes))
	part, err := gcra.NewLimit(count, period*time.Duration(nodes), size-1)
	if err != nil {
		return gcra.Limit{}, fmt.Errorf("local share of %v for %d nodes: %w", limit, nodes, err)
	}
	return part, nil
}
