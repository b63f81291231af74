package journal_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/journal"
)

// A cluster is NATS servers in this process.
type cluster struct {
	t       *testing.T
	options []server.Options
	servers []*server.Server
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startCluster starts so many servers, which are no cluster if it is one.
func startCluster(t *testing.T, n int) *cluster {
	c := &cluster{t: t, servers: make([]*server.Server, n)}
	var routes []*url.URL
	for i := range n {
		o := server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: freePort(t), NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 30,
		}
		if n > 1 {
			o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: freePort(t)}
			routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", o.Cluster.Port)})
		}
		c.options = append(c.options, o)
	}
	for i := range c.options {
		c.options[i].Routes = routes
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.stop(i)
		}
	})
	return c
}

func (c *cluster) start(i int) {
	c.t.Helper()
	o := c.options[i]
	s, err := server.NewServer(&o)
	if err != nil {
		c.t.Fatal(err)
	}
	s.Start()
	c.servers[i] = s
}

func (c *cluster) stop(i int) {
	if c.servers[i] != nil {
		c.servers[i].Shutdown()
		c.servers[i].WaitForShutdown()
		c.servers[i] = nil
	}
}

// leader is the server that leads the journal's stream.
func (c *cluster) leader() int {
	c.t.Helper()
	leader := -1
	eventually(c.t, func() bool {
		for i, s := range c.servers {
			if s != nil && s.JetStreamIsStreamLeader("$G", "SLUICE_test") {
				leader = i
			}
		}
		return leader >= 0
	})
	return leader
}

func (c *cluster) addr(i int) string { return fmt.Sprintf("127.0.0.1:%d", c.options[i].Port) }

func (c *cluster) url() string {
	var all []string
	for i := range c.options {
		all = append(all, "nats://"+c.addr(i))
	}
	return strings.Join(all, ",")
}

// dialed opens a node on servers at url.
func dialed(t *testing.T, path, url string, options ...func(*journal.Config)) *node {
	t.Helper()
	dir, err := datadir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	broker, err := journal.Dial(journal.DialConfig{
		URL: url, Log: testLog(t), Options: []nats.Option{nats.IgnoreDiscoveredServers()},
	})
	if err != nil {
		t.Fatal(err)
	}
	n, err := openNode(t, dir, broker, options...)
	if err != nil {
		broker.Close()
		dir.Close()
		t.Fatal(err)
	}
	return n
}

// agree waits until all nodes have applied the same, and compares their states.
func agree(t *testing.T, nodes ...*node) {
	t.Helper()
	eventually(t, func() bool {
		for _, n := range nodes {
			if err := n.Err(); err != nil {
				t.Fatal(err)
			}
			if n.Status().Sequence != nodes[0].Status().Sequence {
				return false
			}
		}
		return true
	})
	for _, n := range nodes {
		if got, want := n.Status(), nodes[0].Status(); got != want {
			t.Errorf("a node is at %+v, and another at %+v", got, want)
		}
	}
}

// A press is a load that goes on until it is stopped. What isn't answered may count once or not at all.
type press struct {
	stop     context.CancelFunc
	all      sync.WaitGroup
	answers  atomic.Int64
	failures atomic.Int64

	mu       sync.Mutex // guards answered
	answered []uint64
}

func startPress(n *node, goroutines int, from uint64) *press {
	ctx, cancel := context.WithCancel(context.Background())
	p := &press{stop: cancel}
	n.t.Cleanup(func() { p.finish() }) // before the node closes
	for g := range goroutines {
		p.all.Go(func() {
			for k := from + uint64(g); ctx.Err() == nil; k += uint64(goroutines) {
				r, err := n.Do(context.Background(), key(k))
				if errors.Is(err, journal.ErrStopped) {
					if ctx.Err() == nil {
						n.t.Errorf("Do: %v", err)
					}
					return
				}
				if err != nil {
					if p.failures.Add(1); !errors.Is(err, journal.ErrUnavailable) {
						n.t.Errorf("Do: %v, want ErrUnavailable if anything", err)
					}
					continue
				}
				if p.answers.Add(1); r.count != 1 {
					n.t.Errorf("%d counts %d times", k, r.count)
				}
				p.mu.Lock()
				p.answered = append(p.answered, k)
				p.mu.Unlock()
			}
		})
	}
	return p
}

// progress waits for so many further answers.
func (p *press) progress(t *testing.T, answers int64) {
	t.Helper()
	want := p.answers.Load() + answers
	eventually(t, func() bool { return p.answers.Load() >= want })
}

func (p *press) finish() []uint64 {
	p.stop()
	p.all.Wait()
	return p.answered
}

// Two nodes write at once while servers are killed and started.
func TestClusterServersKilled(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	a := dialed(t, t.TempDir(), c.url(), snapshotEvery(500))
	b := dialed(t, t.TempDir(), c.url(), snapshotEvery(500))
	pa, pb := startPress(a, 8, 0), startPress(b, 8, 1<<32)
	rounds := 1
	if soak() {
		rounds = 20
	}
	for round := range rounds {
		pa.progress(t, 300)
		victim := c.leader()
		if round%2 == 1 {
			victim = (victim + 1) % 3
		}
		c.stop(victim)
		pa.progress(t, 300)
		pb.progress(t, 300)
		c.start(victim)
		pb.progress(t, 300)
	}
	answered := append(pa.finish(), pb.finish()...)
	agree(t, a, b)
	a.checkAnswered(answered)
	b.checkAnswered(answered)
	fresh := dialed(t, t.TempDir(), c.url())
	agree(t, a, fresh)
	fresh.checkAnswered(answered)
}

// All servers are away for a while: nothing is answered, and then all goes on.
func TestServerAway(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	n := dialed(t, t.TempDir(), c.url(), func(cfg *journal.Config) { cfg.AppendTimeout = 300 * time.Millisecond })
	p := startPress(n, 8, 0)
	p.progress(t, 100)
	c.stop(0)
	failures := p.failures.Load()
	eventually(t, func() bool { return p.failures.Load() > failures+20 })
	c.start(0)
	p.progress(t, 100)
	n.checkAnswered(p.finish())
}

// A proxy stands between a node and a server, and can lose what the server says.
type proxy struct {
	to       string
	listener net.Listener
	deaf     atomic.Bool // replies are lost
	cut      atomic.Bool // nobody gets through

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

func startProxy(t *testing.T, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{to: to, listener: l}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(in) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.closeAll()
		all.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *proxy) serve(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", p.to)
	if err != nil || p.cut.Load() {
		return
	}
	defer out.Close()
	p.mu.Lock()
	p.conns = append(p.conns, in, out)
	p.mu.Unlock()
	go func() {
		defer out.Close()
		io.Copy(out, in)
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := out.Read(buf)
		if err != nil {
			return
		}
		if p.deaf.Load() {
			continue
		}
		if _, err := in.Write(buf[:n]); err != nil {
			return
		}
	}
}

// Appends arrive and their replies get lost: each counts once, and is answered once that is known.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	px := startProxy(t, c.addr(0))
	n := dialed(t, t.TempDir(), px.url())
	other := dialed(t, t.TempDir(), c.url())
	p := startPress(n, 8, 0)
	for range 3 {
		p.progress(t, 50)
		px.deaf.Store(true)
		stored := other.Status().Commands
		eventually(t, func() bool { return other.Status().Commands > stored })
		px.closeAll()
		px.deaf.Store(false)
	}
	p.progress(t, 50)
	answered := p.finish()
	agree(t, n, other)
	n.checkAnswered(answered)
	other.checkAnswered(answered)
}

// A node that is cut off answers nothing, and is back with the others afterwards, also if the log was purged meanwhile.
func TestPartition(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	px := startProxy(t, c.addr(0))
	short := func(cfg *journal.Config) { cfg.AppendTimeout, cfg.SnapshotEvery = 500*time.Millisecond, 200 }
	n, other := dialed(t, t.TempDir(), px.url(), short), dialed(t, t.TempDir(), c.url(), snapshotEvery(200))
	p, po := startPress(n, 4, 0), startPress(other, 4, 1<<32)
	p.progress(t, 50)
	px.cut.Store(true)
	px.closeAll()
	eventually(t, func() bool { return p.failures.Load() > 10 })
	po.progress(t, 2000)
	px.cut.Store(false)
	p.progress(t, 50)
	answered := append(p.finish(), po.finish()...)
	agree(t, n, other)
	n.checkAnswered(answered)
	other.checkAnswered(answered)
}
