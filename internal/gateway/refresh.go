package gateway

import (
	"context"
	"sync"
)

// maxRefreshes bounds the calls under way that confirm what was answered stale. Past it, stale answers are confirmed a little later.
const maxRefreshes = 256

// refreshes are the calls that nobody waits for, one for each key at most. The zero value has ended; start with newRefreshes.
// Safe for concurrent use.
type refreshes struct {
	ctx    context.Context
	cancel context.CancelFunc
	run    sync.WaitGroup

	mu   sync.Mutex
	keys map[string]struct{} // nil once it has ended
}

func newRefreshes() *refreshes {
	r := &refreshes{keys: make(map[string]struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// start runs what prepare returns in a goroutine of its own, unless one runs for the key, or too many do: then it is not prepared either. The
// context ends with close.
func (r *refreshes) start(key string, prepare func() func(context.Context)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, runs := r.keys[key]; runs || r.keys == nil || len(r.keys) >= maxRefreshes {
		return
	}
	r.keys[key] = struct{}{}
	do := prepare()
	r.run.Go(func() {
		defer r.end(key)
		do(r.ctx)
	})
}

func (r *refreshes) end(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.keys, key)
}

// close ends all of them and waits.
func (r *refreshes) close() {
	r.mu.Lock()
	r.keys = nil
	r.mu.Unlock()
	r.cancel()
	r.run.Wait()
}
