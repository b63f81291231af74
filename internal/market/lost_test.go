package market_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/market"
)

// A deafener passes bytes on to a server. While it is deaf, what the server says is dropped, and new connections are refused.
type deafener struct {
	listener net.Listener
	server   string
	tasks    sync.WaitGroup

	mu    sync.Mutex
	deaf  bool
	conns []net.Conn
}

func newDeafener(t *testing.T, server string) *deafener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &deafener{listener: l, server: server}
	d.tasks.Go(d.accept)
	t.Cleanup(func() {
		l.Close()
		d.cut()
		d.tasks.Wait()
	})
	return d
}

func (d *deafener) accept() {
	for {
		client, err := d.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", d.server)
		if err != nil || d.isDeaf() {
			client.Close()
			continue
		}
		d.mu.Lock()
		d.conns = append(d.conns, client, server)
		d.mu.Unlock()
		d.tasks.Go(func() {
			io.Copy(server, client)
			server.Close()
		})
		d.tasks.Go(func() {
			defer client.Close()
			buf := make([]byte, 4096)
			for {
				n, err := server.Read(buf)
				if err != nil {
					return
				}
				if !d.isDeaf() {
					client.Write(buf[:n])
				}
			}
		})
	}
}

func (d *deafener) isDeaf() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.deaf
}

func (d *deafener) setDeaf(deaf bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deaf = deaf
}

// cut ends the connections.
func (d *deafener) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		c.Close()
	}
	d.conns = nil
}

// The log takes an order and its reply is lost. The client is told so, and the same order under the same key tells what became of it.
func TestTheReplyIsLost(t *testing.T) {
	_, url := natsServer(t, t.TempDir(), 0)
	d := newDeafener(t, strings.TrimPrefix(url, "nats://"))
	n := join(t, t.TempDir(), "nats://"+d.listener.Addr().String(), func(o *market.Options) { o.AppendTimeout = 500 * time.Millisecond })
	other := join(t, t.TempDir(), url)
	n.buy("u1", 10, 1)

	d.setDeaf(true)
	const key = "k1"
	a := n.sell(4, "Idempotency-Key", key)
	a.problem(t, 503, "outcome-unknown", "may or may not take effect", "repeat the request with the same Idempotency-Key")
	if a.head.Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q", a.head.Get("Retry-After"))
	}
	n.sell(1).problem(t, 503, "outcome-unknown", "had no Idempotency-Key", "GET /bids")
	other.sell(4, "Idempotency-Key", key).is(t, 200, `{"allocated":4,"left":0}`) // as it was answered, had it been heard
	d.setDeaf(false)
	d.cut()

	eventually(t, "an order to be taken", func() bool { return n.sell(4, "Idempotency-Key", key).status == 200 })
	n.sell(4, "Idempotency-Key", key).is(t, 200, `{"allocated":4,"left":0}`)
	agree(t, n, other)
	n.get("/allocation?username=u1").is(t, 200, "5")
	n.ask("DELETE", "/bids/1", "").is(t, 200, `{"id":1,"cancelled":5,"allocated":5}`)
}
