package jobs

import (
	"sync"
	"sync/atomic"
)

// hooks tell the node's service what changed in the state. They are no part of it.
type hooks struct {
	due    atomic.Uint64 // when a tick has something to do, 0 never
	sooner chan struct{} // due has come nearer
	queued atomic.Int64  // jobs

	mu     sync.Mutex
	queues map[string]chan struct{}
}

func newHooks() *hooks {
	return &hooks{sooner: make(chan struct{}, 1), queues: map[string]chan struct{}{}}
}

func (h *hooks) setDue(t Time) {
	before := Time(h.due.Swap(uint64(t)))
	if t != 0 && (before == 0 || t < before) {
		signal(h.sooner)
	}
}

func (h *hooks) wake(queue string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ch := h.queues[queue]; ch != nil {
		signal(ch)
	}
}

// watch returns what gets a value when a queue may have something to claim.
func (h *hooks) watch(queue string) chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.queues[queue] == nil {
		h.queues[queue] = make(chan struct{}, 1)
	}
	return h.queues[queue]
}
