package cache

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	tolerated  = 5                      // failures in a row that open the breaker
	probeEvery = 100 * time.Millisecond // how often an open one asks whether Redis is back
)

// breaker remembers whether Redis answers. While it is open nobody asks but its owner's probe, so that no request pays for
// a Redis that is away. Safe for concurrent use.
type breaker struct {
	failures atomic.Int64
	wake     chan struct{} // of capacity 1: the probe has work
}

func (b *breaker) open() bool { return b.failures.Load() >= tolerated }

// note takes down how a call went. That a key is not there is an answer.
func (b *breaker) note(err error) {
	if err == nil || errors.Is(err, redis.Nil) {
		if b.failures.Load() != 0 {
			b.failures.Store(0)
		}
		return
	}
	if b.failures.Add(1) == tolerated {
		select {
		case b.wake <- struct{}{}:
		default: // it has been told
		}
	}
}

// probe asks Redis until it answers or ctx ends. A write, because a server may answer and yet refuse those.
func (s *Shared) probe(ctx context.Context) {
	for s.breaker.open() && ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, patience)
		s.breaker.note(s.client.Set(try, s.prefix+"probe", 1, time.Minute).Err())
		cancel()
		if s.breaker.open() {
			timer := time.NewTimer(probeEvery)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		}
	}
}
