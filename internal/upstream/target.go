package upstream

import (
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// target is one server of an upstream. Safe for concurrent use.
type target struct {
	addr string // host:port
	host string // what a Host field says of it
	tls  bool

	inFlight     atomic.Int64
	healthy      atomic.Bool  // by the active checks; true without them
	failures     atomic.Int64 // of real requests, in a row
	ejectedUntil atomic.Int64 // UnixNano; 0: not ejected
	ejections    atomic.Int64
	calls        atomic.Int64
	outcomes     [ClientGone + 1]atomic.Int64 // failed calls by kind

	mu   sync.Mutex
	idle []*conn // connections that wait for a request, the latest last; guarded by mu
}

func newTarget(u *url.URL) *target {
	t := &target{addr: u.Host, host: u.Host, tls: u.Scheme == "https"}
	if u.Port() == "" {
		port := "80"
		if t.tls {
			port = "443"
		}
		t.addr = net.JoinHostPort(u.Hostname(), port)
	}
	t.healthy.Store(true)
	return t
}

// ejected reports whether failures have taken the target out until after now.
func (t *target) ejected(now time.Time) bool {
	until := t.ejectedUntil.Load()
	return until != 0 && until > now.UnixNano()
}

// popIdle takes the connection that was used last.
func (t *target) popIdle() *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.idle)
	if n == 0 {
		return nil
	}
	c := t.idle[n-1]
	t.idle[n-1] = nil
	t.idle = t.idle[:n-1]
	return c
}

// pushIdle keeps c for later. It reports false when there are max already.
func (t *target) pushIdle(c *conn, max int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.idle) >= max {
		return false
	}
	t.idle = append(t.idle, c)
	return true
}

// closeIdle closes the connections that have been idle since before then.
func (t *target) closeIdle(then time.Time) {
	t.mu.Lock()
	n := 0
	for n < len(t.idle) && t.idle[n].idleSince.Before(then) {
		n++
	}
	old := append([]*conn(nil), t.idle[:n]...)
	kept := copy(t.idle, t.idle[n:])
	clear(t.idle[kept:])
	t.idle = t.idle[:kept]
	t.mu.Unlock()
	for _, c := range old {
		c.nc.Close()
	}
}

func (t *target) idleCount() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.idle)
}
