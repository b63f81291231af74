package env

import (
	"context"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// A connection has the sessions that were begun on it.
type connection struct {
	all *atomic.Int64 // sessions of all connections

	mu       sync.Mutex // guards what follows
	sessions map[uint64]*session
	last     uint64
	ended    bool
}

// connections makes a connection for each of the server's, and ends it with that.
type connections struct{ sessions *atomic.Int64 }

type connectionKey struct{}

func connectionOf(ctx context.Context) *connection { return ctx.Value(connectionKey{}).(*connection) }

// TagConn implements [stats.Handler].
func (c connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{all: c.sessions, sessions: map[uint64]*session{}})
}

// HandleConn implements [stats.Handler].
func (c connections) HandleConn(ctx context.Context, s stats.ConnStats) {
	if _, ended := s.(*stats.ConnEnd); ended {
		connectionOf(ctx).end()
	}
}

// TagRPC implements [stats.Handler].
func (connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements [stats.Handler].
func (connections) HandleRPC(context.Context, stats.RPCStats) {}

// begin makes a session and returns its number, 0 if there are too many.
func (c *connection) begin() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all.Add(1) > MaxSessions || c.ended {
		c.all.Add(-1)
		return 0
	}
	c.last++
	c.sessions[c.last] = &session{over: true}
	return c.last
}

// find returns a session, nil if there is none of that number.
func (c *connection) find(id uint64) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions[id]
}

// close ends a session, and reports false if there is none of that number.
func (c *connection) close(id uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions[id] == nil {
		return false
	}
	delete(c.sessions, id)
	c.all.Add(-1)
	return true
}

// end ends all of them, and lets none begin.
func (c *connection) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all.Add(-int64(len(c.sessions)))
	c.sessions, c.ended = nil, true
}
