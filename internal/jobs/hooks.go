package jobs

import (
	"maps"
	"sync"
	"sync/atomic"
)

// hooks tell the node's service what changed in the state. They are no part of it, and outlive a Restore.
type hooks struct {
	now    atomic.Uint64
	due    atomic.Uint64 // as State.Due
	sooner chan struct{} // due has come nearer
	queued atomic.Int64  // jobs

	mu      sync.Mutex // held to change watched
	watched atomic.Pointer[map[string]chan struct{}]
}

func newHooks() *hooks {
	h := &hooks{sooner: make(chan struct{}, 1)}
	h.watched.Store(&map[string]chan struct{}{})
	return h
}

// show tells what is as the state is now.
func (h *hooks) show(s *State) {
	h.now.Store(uint64(s.now))
	h.queued.Store(int64(s.counts[Queued]))
	before := Time(h.due.Load())
	if before == s.due {
		return
	}
	h.due.Store(uint64(s.due))
	if s.due != 0 && (before == 0 || s.due < before) {
		signal(h.sooner)
	}
}

// wake says that a queue has something to claim.
func (h *hooks) wake(queue string) {
	if ch := (*h.watched.Load())[queue]; ch != nil {
		signal(ch)
	}
}

// wakeAll says that any queue may have something to claim.
func (h *hooks) wakeAll() {
	for _, ch := range *h.watched.Load() {
		signal(ch)
	}
}

// watch returns what gets a value when a queue may have something to claim.
func (h *hooks) watch(queue string) chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := maps.Clone(*h.watched.Load())
	if all[queue] == nil {
		all[queue] = make(chan struct{}, 1)
		h.watched.Store(&all)
	}
	return all[queue]
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
