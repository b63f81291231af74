package main

import (
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sluicegate/sluice/bench/harness"
)

// A gate is an upstream that answers no request before it is told to, and then as many as it is told.
type gate struct {
	addr string

	mu      sync.Mutex
	changed *sync.Cond
	waiting int // requests
	free    int // answers that nobody has asked for yet
}

// newGate serves until the program ends.
func newGate() *gate {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Fatal(err)
	g := &gate{addr: ln.Addr().String()}
	g.changed = sync.NewCond(&g.mu)
	server := &fasthttp.Server{Handler: g.hold, NoDefaultServerHeader: true, IdleTimeout: time.Hour}
	go server.Serve(ln)
	return g
}

func (g *gate) hold(ctx *fasthttp.RequestCtx) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting++
	for g.changed.Broadcast(); g.free == 0; {
		g.changed.Wait()
	}
	g.waiting--
	g.free--
	ctx.SetStatusCode(fasthttp.StatusNoContent)
}

// full returns when so many requests wait.
func (g *gate) full(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.waiting < n || g.free > 0 {
		g.changed.Wait()
	}
}

// pass answers so many requests, and returns when they are and n others wait.
func (g *gate) pass(answers, n int) {
	g.mu.Lock()
	g.free += answers
	g.changed.Broadcast()
	g.mu.Unlock()
	g.full(n)
}
