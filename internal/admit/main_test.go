package admit_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/internal/admit"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a client that a test can have leave. The zero value is one that stays. Safe for concurrent use.
type client struct {
	mu    sync.Mutex
	abort http1.Aborter
	left  bool
}

func (c *client) WhenGone(a http1.Aborter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abort = a
	if c.left && a != nil {
		a.Abort()
	}
}

func (c *client) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	if c.abort != nil {
		c.abort.Abort()
	}
}

// limited is an upstream with slots, and a queue that change may change.
func limited(slots int, change func(*config.Queue)) *config.Upstream {
	u := &config.Upstream{MaxInFlight: slots, Queue: config.Queue{Max: 1000, Timeout: 2 * time.Second, Order: config.OrderPrice}}
	if change != nil {
		change(&u.Queue)
	}
	return u
}

// request is one that has entered a gate, in a goroutine of its own.
type request struct {
	client
	ticket *admit.Ticket
	err    error
	done   atomic.Bool // it has a ticket or an error
}

// enter has a request enter. Within a bubble, what became of it can be read after synctest.Wait.
func enter(g *admit.Gate, price int64) *request {
	r := new(request)
	go func() {
		r.ticket, r.err = g.Enter(&r.client, price)
		r.done.Store(true)
	}()
	return r
}

// refusal is why a request was refused, nil if it was not.
func (r *request) refusal() *admit.Refusal {
	why, _ := r.err.(*admit.Refusal)
	return why
}
