package upstream

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// Request is what a pool sends: that of a client, whose body may still be on its way, or one of the gateway's own. It must not
// be changed before its call is closed.
type Request struct {
	*http1.Request
	Body   *http1.Body
	Start  time.Time // when its time began to run
	From   Client
	Within time.Duration // from Start to the end of the response, in place of the upstream's header and total; 0: those
	Hold   Hold          // what the caller holds during the call, and the pool after it if a target may be at work still; nil: nothing
}

// Client is the side that a request comes from. An *http1.Exchange is one; see there for the methods.
type Client interface {
	WhenGone(http1.Aborter)
	ShareBody()
	UnshareBody()
	StopBody()
}

// Own is a request of the gateway's own, which ends with ctx instead of with a client. Its head is framed anew for its body.
func Own(ctx context.Context, head *http1.Request, body []byte) *Request {
	head.SetLength(int64(len(body)))
	return &Request{Request: head, Body: http1.NewBody(body), Start: time.Now(), From: &owner{ctx: ctx}}
}

// OwnStream is Own for a body of n bytes that r delivers while the request is sent. stop makes a Read that waits return; it may be called from any
// goroutine, and more than once.
func OwnStream(ctx context.Context, head *http1.Request, r io.Reader, n int64, stop func()) *Request {
	head.SetLength(n)
	return &Request{Request: head, Body: http1.NewBodyFrom(r, n), Start: time.Now(), From: &streamer{owner: owner{ctx: ctx}, stop: stop}}
}

// streamer is the owner of a body that may have to be waited for.
type streamer struct {
	owner
	stop func()
}

func (s *streamer) StopBody() { s.stop() }

// owner stands for the client of a request that has none. Safe for concurrent use.
type owner struct {
	ctx   context.Context
	mu    sync.Mutex // guards what follows
	abort http1.Aborter
	watch func() bool // ends the watch of ctx; nil without one
}

// WhenGone watches the context only while there is something to abort: the end of a call that is over, which ends every call's context,
// is to cost no goroutine.
func (o *owner) WhenGone(a http1.Aborter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.abort = a
	switch {
	case a == nil && o.watch != nil:
		o.watch()
		o.watch = nil
	case a != nil && o.watch == nil:
		o.watch = context.AfterFunc(o.ctx, o.leave)
	case a != nil && o.ctx.Err() != nil:
		a.Abort()
	}
}

// leave may come late, when the watch has been ended already: then there is nothing to abort, or something newer, which is to end, too.
func (o *owner) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.abort != nil {
		o.abort.Abort()
	}
}

// A body that is at hand goes out with its head and is never waited for.
func (*owner) ShareBody()   {}
func (*owner) UnshareBody() {}
func (*owner) StopBody()    {}
