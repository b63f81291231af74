package http1_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// shutdown begins a shutdown that waits for as long as it takes, and returns when it has begun.
func (s *server) shutdown(t *testing.T) (done chan error) {
	t.Helper()
	done = make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	eventually(t, "the server drains", s.Draining)
	return done
}

func TestShutdownClosesIdle(t *testing.T) {
	s := serve(t, limits(), echo)
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	c.response("GET")
	done := s.shutdown(t)
	c.expectEnd()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if nc, err := net.Dial("tcp", s.addr); err == nil {
		nc.Close()
		t.Error("the listener is open after Shutdown")
	}
}

func TestShutdownFinishesRequests(t *testing.T) {
	entered, proceed := make(chan struct{}), make(chan struct{})
	s := serve(t, limits(), func(x *http1.Exchange) {
		entered <- struct{}{}
		<-proceed
		echo(x)
	})
	c := s.dial(t)
	c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe")
	<-entered
	done := s.shutdown(t)
	c.send("llo")
	close(proceed)
	if resp, body := c.response("POST"); body != "hello" || !resp.Close {
		t.Errorf("%q, close %v", body, resp.Close)
	}
	c.expectEnd()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A request that is on its way when the shutdown begins is served, however much of it has arrived.
func TestShutdownServesPartialHeads(t *testing.T) {
	for _, first := range []string{"", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"} {
		s := serve(t, limits(), echo)
		const head = "GET /late HTTP/1.1\r\nHost: h\r\n\r\n"
		var clients []*client
		for n := range len(head) - 1 {
			c := s.dial(t)
			if c.send(first); first != "" {
				c.response("GET")
			}
			c.send(head[:n+1])
			clients = append(clients, c)
		}
		done := s.shutdown(t)
		for n, c := range clients {
			c.send(head[n+1:])
			if resp, _ := c.response("GET"); resp.StatusCode != 200 || !resp.Close {
				t.Errorf("%d bytes before the shutdown, behind %q: %s, close %v", n+1, first, resp.Status, resp.Close)
			}
			c.expectEnd()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Clients whom the kernel has connected, but the server not accepted yet, are served and not reset.
func TestShutdownServesBacklog(t *testing.T) {
	for range 20 {
		s := serve(t, limits(), echo)
		var clients []*client
		for range 20 {
			c := s.dial(t)
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			clients = append(clients, c)
		}
		done := s.shutdown(t)
		for i, c := range clients {
			if resp, _ := c.response("GET"); resp.StatusCode != 200 {
				t.Fatalf("client %d: %s", i, resp.Status)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// aborter is something a handler waits for.
type aborter struct {
	once    sync.Once
	aborted chan struct{}
}

func newAborter() *aborter { return &aborter{aborted: make(chan struct{})} }
func (a *aborter) Abort()  { a.once.Do(func() { close(a.aborted) }) }
func (a *aborter) wait() bool {
	select {
	case <-a.aborted:
		return true
	case <-time.After(patience):
		return false
	}
}

// When the time is over, what is left is cut: a handler that waits, one between two waits, and a body on its way.
func TestShutdownCuts(t *testing.T) {
	entered, cut := make(chan struct{}, 3), make(chan struct{})
	var missed atomic.Int64
	s := serve(t, limits(), func(x *http1.Exchange) {
		entered <- struct{}{}
		switch string(x.Path) {
		case "/wait":
			a := newAborter()
			x.WhenGone(a)
			if !a.wait() {
				missed.Add(1)
			}
			x.WhenGone(nil)
		case "/between":
			<-cut
			a := newAborter()
			x.WhenGone(a)
			if !a.wait() {
				missed.Add(1)
			}
			x.WhenGone(nil)
		case "/body":
			if _, err := readBody(x); err == nil {
				missed.Add(1)
			}
		}
		x.Abort()
	})
	for _, path := range []string{"/wait", "/between", "/body"} {
		s.dial(t).sendf("POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", path)
		<-entered
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(ctx) }()
	eventually(t, "the others are cut", func() bool { return s.Stats().Open == 1 })
	close(cut)
	if err := <-done; err != context.Canceled {
		t.Errorf("Shutdown returned %v", err)
	}
	if n := missed.Load(); n > 0 {
		t.Errorf("%d handlers were not cut", n)
	}
}

func TestShutdownTwice(t *testing.T) {
	s := serve(t, limits(), echo)
	first, second := s.shutdown(t), s.shutdown(t)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(ln); err != http1.ErrServerClosed {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

// Clients that ask again and again get whole answers until their connection says that it closes. None is reset.
func TestShutdownUnderLoad(t *testing.T) {
	for range 5 {
		s := serve(t, limits(), echo)
		var clients sync.WaitGroup
		var answered atomic.Int64
		for range 20 {
			c := s.dial(t)
			clients.Go(func() {
				for {
					c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
					if _, err := c.r.Peek(1); err != nil {
						return // closed between two requests: a client must expect that
					}
					resp, body := c.response("POST")
					if resp.StatusCode != 200 || body != "hello" {
						t.Errorf("%s %q", resp.Status, body)
					}
					answered.Add(1)
					if resp.Close {
						return
					}
				}
			})
		}
		eventually(t, "traffic flows", func() bool { return answered.Load() > 200 })
		done := s.shutdown(t)
		clients.Wait()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestMaxConns(t *testing.T) {
	l := limits()
	l.MaxConns = 3
	var open, most atomic.Int64
	s := serve(t, l, func(x *http1.Exchange) {
		most.Store(max(most.Load(), open.Add(1)))
		echo(x)
		open.Add(-1)
	})
	var all sync.WaitGroup
	for range 60 {
		c := s.dial(t) // at once: the kernel's backlog takes them
		all.Go(func() {
			defer c.Close()
			for range 3 {
				c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				if resp, _ := c.response("GET"); resp.StatusCode != 200 {
					t.Error(resp.Status)
				}
				if got := s.Stats().Open; got > 3 {
					t.Errorf("%d connections open, want at most 3", got)
				}
			}
		})
	}
	all.Wait()
	if got := most.Load(); got > 3 {
		t.Errorf("%d requests at once, want at most 3", got)
	}
}

// More room lets those in who wait.
func TestMoreRoom(t *testing.T) {
	l := limits()
	l.MaxConns = 1
	s := serve(t, l, echo)
	first, second := s.dial(t), s.dial(t)
	first.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	first.response("GET")
	second.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	l.MaxConns = 2
	s.SetLimits(l)
	if resp, _ := second.response("GET"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

func TestClientGone(t *testing.T) {
	aborted := make(chan bool)
	entered := make(chan struct{})
	s := serve(t, limits(), func(x *http1.Exchange) {
		a := newAborter()
		x.WhenGone(a)
		entered <- struct{}{}
		aborted <- a.wait()
		x.WhenGone(nil)
		late := newAborter()
		x.WhenGone(late)
		aborted <- late.wait()
		x.Abort()
	})
	for _, leave := range []func(c *client){
		func(c *client) { c.Close() },
		func(c *client) { c.SetLinger(0); c.Close() },
	} {
		c := s.dial(t)
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		<-entered
		leave(c)
		if !<-aborted {
			t.Error("the handler was not told that its client has gone")
		}
		if !<-aborted {
			t.Error("a wait that began later was not told")
		}
	}
}

// Nobody is forgotten when more leave than are looked at in one go.
func TestManyClientsGone(t *testing.T) {
	for _, n := range []int{32, 33, 100} {
		entered, told := make(chan struct{}), make(chan bool)
		s := serve(t, limits(), func(x *http1.Exchange) {
			a := newAborter()
			x.WhenGone(a)
			entered <- struct{}{}
			told <- a.wait()
			x.Abort()
		})
		var all []*client
		for range n {
			c := s.dial(t)
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			<-entered
			all = append(all, c)
		}
		for _, c := range all {
			c.Close()
		}
		for i := range n {
			if !<-told {
				t.Errorf("of %d clients that have gone, the handler of number %d was not told", n, i)
			}
		}
	}
}

// A client that has sent its next request already is there, and nothing of it is lost by looking.
func TestClientThere(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) {
		a := newAborter()
		x.WhenGone(a)
		select {
		case <-a.aborted:
			t.Error("aborted with its client there")
		case <-time.After(3 * http1.GoneInterval):
		}
		x.WhenGone(nil)
		echo(x)
	})
	c := s.dial(t)
	c.send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n")
	c.send("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
	for _, want := range []string{"/1", "/2"} {
		if resp, _ := c.response("GET"); resp.Header.Get("X-Target") != want {
			t.Errorf("answer to %s, want %s", resp.Header.Get("X-Target"), want)
		}
	}
}

// Clients that do everything wrong at once: whoever behaves gets its own bytes back and nothing else.
func TestMixedClients(t *testing.T) {
	s := serve(t, limits(), echo)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 3))
			for range 40 {
				s.misbehave(t, rng, i)
			}
		})
	}
	all.Wait()
}

func (s *server) misbehave(t *testing.T, rng *rand.Rand, i int) {
	c := s.dial(t)
	defer c.Close()
	body := strings.Repeat(string(rune('a'+i)), rng.IntN(200<<10))
	raw := "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, 1+rng.IntN(70<<10))
	switch rng.IntN(4) {
	case 0: // leaves in the middle
		c.send(raw[:rng.IntN(len(raw))])
	case 1: // leaves without taking the answer
		c.send(raw)
		c.SetLinger(0)
	default:
		go io.WriteString(c, raw+raw)
		for range 2 {
			if _, got := c.response("POST"); got != body {
				t.Errorf("client %d: %d bytes came back of %d, or another's", i, len(got), len(body))
			}
		}
	}
}
