package counter

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// A conn knows since when it has been in its state: waiting for a request, or receiving one and answering it.
type conn struct {
	net.Conn
	since atomic.Int64 // in ticks of connections
	ended bool         // a read has failed; used by the goroutine that serves the connection
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.ended = c.ended || err != nil
	return n, err
}

// closeRead makes reads end once everything that has arrived is read.
func (c *conn) closeRead() {
	if half, ok := c.Conn.(interface{ CloseRead() error }); ok {
		half.CloseRead()
	} else {
		c.Conn.Close()
	}
}

// connections knows the open connections, each a [*conn], and ends those on which nothing has moved for long. fasthttp's
// own timeouts set three deadlines for each request, with a reading of the clock for each. Here a request costs two
// stores, and the precision of a second is enough.
type connections struct {
	ticks atomic.Int64 // one per second

	mu    sync.Mutex // guards what follows; taken when a connection opens or closes, not for each request
	open  map[*conn]struct{}
	empty *sync.Cond // open has become empty
}

func (c *connections) init() {
	c.open = make(map[*conn]struct{})
	c.empty = sync.NewCond(&c.mu)
}

// changed is the server's ConnState hook.
func (c *connections) changed(nc net.Conn, state fasthttp.ConnState) {
	changed := nc.(*conn)
	changed.since.Store(c.ticks.Load())
	switch state {
	case fasthttp.StateNew:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open[changed] = struct{}{}
	case fasthttp.StateClosed:
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, changed)
		if len(c.open) == 0 {
			c.empty.Broadcast()
		}
	}
}

// watch ends connections whose time is up, until ctx ends.
func (c *connections) watch(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.tick()
		}
	}
}

// tick lets a second pass. A connection that waits for a request, or for the rest of one, ends when it can read no more.
// That does not help against a client that does not read its answers, so some time later the connection is cut.
func (c *connections) tick() {
	now := c.ticks.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	for open := range c.open {
		switch age := now - open.since.Load(); {
		case age > 2*timeout:
			open.Close()
		case age > timeout:
			open.closeRead()
		}
	}
}

// closeRead lets every connection end by itself: what has been read of it is answered, and then nothing more comes.
func (c *connections) closeRead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for open := range c.open {
		open.closeRead()
	}
}

// cut closes every connection.
func (c *connections) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for open := range c.open {
		open.Close()
	}
}

// wait returns when no connection is open.
func (c *connections) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.open) > 0 {
		c.empty.Wait()
	}
}

// acceptPause is how long accepting pauses when the process has too many files open.
const acceptPause = 50 * time.Millisecond

// listener makes each connection a [conn], and accepts again where fasthttp would give up: when there are too many open files
// for the moment.
type listener struct {
	net.Listener
	log  *slog.Logger
	full bool // the last attempt failed; used by the goroutine that accepts
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err == nil {
			l.full = false
			return &conn{Conn: accepted}, nil
		}
		var passing interface{ Temporary() bool }
		if !errors.As(err, &passing) || !passing.Temporary() {
			return nil, err
		}
		if !l.full {
			l.log.Warn("connections have to wait", "error", err)
		}
		l.full = true
		time.Sleep(acceptPause)
	}
}
