package redislimit

import (
	"context"
	"sync/atomic"
	"time"
)

// tolerated is how many calls in a row may fail before the breaker opens.
const tolerated = 5

// A breaker remembers whether Redis answers. It is closed while it does; tolerated failures in a row open it, any answer closes it. While it is
// open nobody asks but the link's probe, which is what half-open means here: one goroutine tries, no request pays for it.
type breaker struct {
	failures atomic.Int64 // in a row; open at tolerated or more
	probing  atomic.Bool
	opened   atomic.Uint64
	wake     chan struct{}
}

func (b *breaker) open() bool { return b.failures.Load() >= tolerated }

func (b *breaker) fail(n int) {
	after := b.failures.Add(int64(n))
	if after >= tolerated && after-int64(n) < tolerated {
		b.opened.Add(1)
		select {
		case b.wake <- struct{}{}:
		default: // it has been told
		}
	}
}

func (b *breaker) succeed() {
	if b.failures.Load() != 0 {
		b.failures.Store(0)
	}
}

// State is where the breaker is: "closed", "open", or "half-open" while it is tried whether Redis is back.
func (b *breaker) state() string {
	switch {
	case !b.open():
		return "closed"
	case b.probing.Load():
		return "half-open"
	}
	return "open"
}

// probe asks a Redis that failed whether it is back, until it is.
func (l *Link) probe() {
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.breaker.wake:
		}
		for l.breaker.open() && l.ctx.Err() == nil {
			l.tryOnce()
			if l.breaker.open() {
				wait(l.ctx, probeEvery)
			}
		}
	}
}

func (l *Link) tryOnce() {
	l.breaker.probing.Store(true)
	defer l.breaker.probing.Store(false)
	ctx, cancel := context.WithTimeout(l.ctx, 2*ioTimeout)
	defer cancel()
	// A write, because a server may answer and yet refuse those: it is loading, a replica, or out of memory.
	if err := l.client.Set(ctx, l.prefix+"probe", l.node, time.Minute).Err(); err == nil {
		l.breaker.succeed()
	}
}

// wait waits for d or the end of ctx.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
