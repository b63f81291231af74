package upstream_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/upstream"
)

// slot is a Hold that its caller has taken once.
type slot struct {
	holders atomic.Int64
	free    chan struct{} // closed when nobody holds it
}

func newSlot() *slot {
	s := &slot{free: make(chan struct{})}
	s.holders.Store(1)
	return s
}

func (s *slot) Retain() { s.holders.Add(1) }

func (s *slot) Release() {
	if s.holders.Add(-1) == 0 {
		close(s.free)
	}
}

func (s *slot) isFree() bool {
	select {
	case <-s.free:
		return true
	default:
		return false
	}
}

func (s *slot) await(t *testing.T) {
	t.Helper()
	select {
	case <-s.free:
	case <-time.After(patience):
		t.Fatal("the slot stays taken")
	}
}

// give calls once for a client that leaves when left is closed, and gives the slot back as a gateway does.
func give(t *testing.T, p *upstream.Pool, s *slot, left <-chan struct{}) *upstream.Error {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		select {
		case <-left:
			cancel()
		case <-ctx.Done():
		}
	}()
	req := upstream.Own(ctx, head("GET"), nil)
	if s != nil {
		req.Hold = s
		defer s.Release()
	}
	call, failure := p.Do(req, &upstream.Hop{})
	if failure != nil {
		return failure
	}
	defer call.Close()
	for {
		if _, err := call.Body().Next(); err != nil {
			return nil
		}
	}
}

func pool(t *testing.T, addr string, change func(*config.Upstream)) *upstream.Pool {
	cfg := settings(addr)
	if change != nil {
		change(cfg)
	}
	p := upstream.New(cfg, slog.New(slog.DiscardHandler))
	t.Cleanup(p.Close)
	return p
}

// A slot is held until the target knows that its work is for nobody, and has ended it: before the head of its answer, and within its body.
func TestSlotIsHeldWhileTargetWorks(t *testing.T) {
	for name, begin := range map[string]string{"before the answer": "", "within the answer": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"} {
		t.Run(name, func(t *testing.T) {
			left, noticed, work := make(chan struct{}), make(chan struct{}), make(chan struct{})
			addr := target(t, func(w *wire) {
				if _, err := http.ReadRequest(w.r); err != nil {
					return
				}
				w.send("%s", begin)
				close(left)
				if _, err := w.r.ReadByte(); err == io.EOF {
					close(noticed)
				}
				<-work
			})
			s := newSlot()
			give(t, pool(t, addr, nil), s, left)
			<-noticed
			if s.isFree() {
				t.Error("the slot is free while the target works")
			}
			close(work)
			s.await(t)
		})
	}
}

// A target that does not answer in time works on, too.
func TestSlotIsHeldAfterTimeout(t *testing.T) {
	noticed, work := make(chan struct{}), make(chan struct{})
	addr := target(t, func(w *wire) {
		w.head()
		w.r.ReadByte()
		close(noticed)
		<-work
	})
	cfg := func(u *config.Upstream) { u.Timeouts.Total = 10 * time.Millisecond }
	s := newSlot()
	if failure := give(t, pool(t, addr, cfg), s, nil); failure == nil || failure.Kind != upstream.TotalTimeout {
		t.Fatal(failure)
	}
	<-noticed
	if s.isFree() {
		t.Error("the slot is free while the target works")
	}
	close(work)
	s.await(t)
}

// A target that does not mind is cut off: when it has had time for a head, or has sent too much.
func TestTargetThatWorksOnIsCutOff(t *testing.T) {
	t.Run("silent", func(t *testing.T) {
		left, cut := make(chan struct{}), make(chan struct{})
		addr := target(t, func(w *wire) {
			w.head()
			w.send("HTTP/1.1 200 OK\r\n\r\n")
			close(left)
			<-cut
		})
		s := newSlot()
		give(t, pool(t, addr, func(u *config.Upstream) { u.Timeouts.Header = 50 * time.Millisecond }), s, left)
		s.await(t)
		close(cut)
	})
	t.Run("loud", func(t *testing.T) {
		left, cut := make(chan struct{}), make(chan struct{})
		addr := target(t, func(w *wire) {
			defer close(cut)
			w.head()
			w.send("HTTP/1.1 200 OK\r\n\r\n")
			close(left)
			for block := make([]byte, 64<<10); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		})
		s := newSlot()
		give(t, pool(t, addr, nil), s, left)
		s.await(t)
		<-cut
	})
}

// A pool that closes waits for no target.
func TestCloseEndsLingering(t *testing.T) {
	left, noticed, end := make(chan struct{}), make(chan struct{}), make(chan struct{})
	defer close(end)
	addr := target(t, func(w *wire) {
		w.head()
		close(left)
		w.r.ReadByte()
		close(noticed)
		<-end
	})
	p, s := pool(t, addr, nil), newSlot()
	give(t, p, s, left)
	<-noticed
	p.Close()
	if !s.isFree() {
		t.Error("the slot stays taken")
	}
}

// Where the target has done its work, or nothing is held, nothing lingers: the connection is closed at once.
func TestNothingLingersInVain(t *testing.T) {
	for name, answer := range map[string]string{
		"closed after the answer": "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"closed by the target":    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
		"nonsense":                "",
	} {
		t.Run(name, func(t *testing.T) {
			addr := target(t, func(w *wire) {
				w.head()
				w.send("%s", answer)
				if name != "closed after the answer" {
					return
				}
				w.r.ReadByte() // as long as the gateway likes
			})
			s := newSlot()
			give(t, pool(t, addr, nil), s, nil)
			if !s.isFree() {
				t.Error("the slot stays taken")
			}
		})
	}
	t.Run("nothing held", func(t *testing.T) {
		left, closed := make(chan struct{}), make(chan struct{})
		addr := target(t, func(w *wire) {
			w.head()
			close(left)
			w.r.ReadByte()
			for { // until a write meets a connection that is closed in both directions
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					close(closed)
					return
				}
			}
		})
		give(t, pool(t, addr, nil), nil, left)
		<-closed
	})
}
