package coalesce

import (
	"context"
	"hash/maphash"
)

// Stats says what a group has at hand.
type Stats struct {
	Slots   int   // that wait
	Calls   int   // under way
	Waiters int   // in both
	Bytes   int64 // as told by Call.Hold
	Keys    int   // known, with and without a slot or call
}

// Stats returns what the group has at hand. The numbers are each right, but not of the same instant.
func (g *Group[I, V]) Stats() Stats {
	calls := g.calls.Load()
	s := Stats{
		Slots: int(max(0, g.keys.Load()-calls)), Calls: int(calls),
		Waiters: int(g.waiters.Load()), Bytes: g.bytes.Load(),
	}
	for i := range g.shards {
		sh := &g.shards[i]
		sh.mu.Lock()
		s.Keys += len(sh.keys)
		sh.mu.Unlock()
	}
	return s
}

// Fence keeps requests that come from now on from joining a call for the key that is in flight now, as if they were strict. It is for
// writes: what was read before is not given to those who come after.
func (g *Group[I, V]) Fence(key string) {
	g.update(key, func(e *entry[I, V]) { e.flight = nil })
}

// Forget forgets that the key is not shareable, if it is remembered as that.
func (g *Group[I, V]) Forget(key string) {
	g.update(key, func(e *entry[I, V]) { e.unshared = 0 })
}

// update changes the entry of the key, if there is one.
func (g *Group[I, V]) update(key string, change func(*entry[I, V])) {
	sh := g.shardOf(maphash.String(g.seed, key))
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.keys[key]; e != nil {
		change(e)
	}
}

// Close lets nobody in any more: from now on Do returns [ErrClosed]. Slots are served at once. Close returns nil when all calls have ended and
// no goroutine of the group is left. If ctx ends before, it cancels the contexts of the calls and returns ctx.Err(); calling it
// again waits for them to end.
func (g *Group[I, V]) Close(ctx context.Context) error {
	for i := range g.shards {
		g.closeShard(&g.shards[i])
	}
	done := make(chan struct{})
	go func() { // left behind only if a fetch doesn't heed its context
		g.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		g.cancel(ErrClosed)
		return nil
	case <-ctx.Done():
		g.cancel(ErrClosed)
		return ctx.Err()
	}
}

func (g *Group[I, V]) closeShard(sh *shard[I, V]) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.closed = true
	now := g.now()
	for _, e := range sh.keys {
		if e.open != nil {
			e.open.serveLocked(ByClose, now)
		}
	}
}
