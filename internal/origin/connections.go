package origin

import (
	"net"
	"sync"

	"github.com/valyala/fasthttp"
)

// connections knows the open connections, so that a shutdown that runs out of time can close them and wait for the
// goroutines that serve them, neither of which fasthttp does.
type connections struct {
	mu    sync.Mutex // guards what follows; taken when a connection opens or closes, not for each request
	open  map[net.Conn]struct{}
	isCut bool
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
		if c.isCut { // accepted just before the listener closed
			conn.Close()
		}
	case fasthttp.StateClosed:
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, conn)
		if len(c.open) == 0 {
			c.empty.Broadcast()
		}
	}
}

// cut closes every connection, those still to come included.
func (c *connections) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = true
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
