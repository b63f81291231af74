package counter

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// connections knows the open connections.
type connections struct {
	mu    sync.Mutex // guards what follows; taken when a connection opens or closes, not for each request
	open  map[net.Conn]struct{}
	empty *sync.Cond // open has become empty
}

func (c *connections) init() {
	c.open = make(map[net.Conn]struct{})
	c.empty = sync.NewCond(&c.mu)
}

// changed is the server's ConnState hook.
func (c *connections) changed(conn net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open[conn] = struct{}{}
	case fasthttp.StateClosed:
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, conn)
		if len(c.open) == 0 {
			c.empty.Broadcast()
		}
	}
}

// closeRead lets every connection end by itself: what has been read of it is answered, and then nothing more comes.
func (c *connections) closeRead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		if half, ok := conn.(interface{ CloseRead() error }); ok {
			half.CloseRead()
		} else {
			conn.Close()
		}
	}
}

// cut closes every connection.
func (c *connections) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		conn.Close()
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

// listener accepts again where fasthttp would give up: when there are too many open files for the moment.
type listener struct {
	net.Listener
	log  *slog.Logger
	full bool // the last attempt failed; used by the goroutine that accepts
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		var passing interface{ Temporary() bool }
		if err == nil || !errors.As(err, &passing) || !passing.Temporary() {
			l.full = l.full && err != nil
			return conn, err
		}
		if !l.full {
			l.log.Warn("connections have to wait", "error", err)
		}
		l.full = true
		time.Sleep(acceptPause)
	}
}
