package redislimit

import (
	"context"

	"github.com/sluicegate/sluice/internal/lease"
)

// Exchange carries x out in Redis and returns its answer and Redis's time in microseconds.
func (l *Link) Exchange(key string, i lease.Interval, x lease.Exchange) (g []int64, err error) {
	return l.do(context.Background(), l.exchange(key, i, x))
}

// DecideRaw runs the decide script for one key and returns its reply.
func (l *Link) DecideRaw(r Request) ([]int64, error) {
	i, err := lease.NewInterval(r.Limit)
	if err != nil {
		return nil, err
	}
	args := spans([]any{1, i.P, max(1, i.Q), i.Size}, cost(i, r.N), i.Room(r.N))
	return l.do(context.Background(), &call{script: l.scripts.decide, keys: []string{l.key(&r)}, args: args})
}

// Key returns the name of a request's value in Redis.
func (l *Link) Key(r Request) string { return l.key(&r) }
