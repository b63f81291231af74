package upstream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Hold is what a request holds for as long as a target may be at work for it, such as a slot: each Retain is followed by one Release.
type Hold interface {
	Retain()
	Release()
}

// maxLinger bounds what is still taken, in bytes, from a target that nobody listens to any more.
const maxLinger = 1 << 20

// leaving are connections of calls that were given up, while their targets may not know it yet. Safe for concurrent use; the zero value is ready.
type leaving struct {
	run sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

// add runs do in a goroutine of its own. It reports false after close.
func (l *leaving) add(nc net.Conn, do func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.conns == nil {
		l.conns = make(map[net.Conn]struct{})
	}
	l.conns[nc] = struct{}{}
	l.run.Go(func() {
		defer l.remove(nc)
		do()
	})
	return true
}

func (l *leaving) remove(nc net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, nc)
}

// close ends all of them and waits.
func (l *leaving) close() {
	l.mu.Lock()
	l.closed = true
	for nc := range l.conns {
		nc.Close()
	}
	l.mu.Unlock()
	l.run.Wait()
}

// part closes the connection after a call that can't be followed by another. If the call was given up, and its request holds something, that
// is held for as long as the target is at work for it: only our side of the connection is ended, which servers take for a client that has left, until
// the target has ended its own. One that goes on is cut off after the time that it has for a head, or a mebibyte.
func (c *conn) part(req *Request) {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || req.Hold == nil || c.ended || c.inBody && c.stream.Body.Done() {
		c.nc.Close()
		return
	}
	hold, wait := req.Hold, c.pool.cfg.Timeouts.Header
	hold.Retain()
	left := c.pool.leaving.add(c.nc, func() {
		defer hold.Release()
		defer c.nc.Close()
		c.nc.SetDeadline(time.Now().Add(wait))
		if half.CloseWrite() == nil {
			io.CopyN(io.Discard, c.nc, maxLinger)
		}
	})
	if !left {
		c.nc.Close()
		hold.Release()
	}
}

// noteEnd notes from an error of reading that the target has ended the connection.
func (c *conn) noteEnd(err error) {
	c.ended = c.ended || err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}
