package market

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/journal"
)

// Options say where a market keeps its log. Dir is required.
type Options struct {
	Dir    *datadir.Dir
	Broker *journal.Broker
	Log    *slog.Logger // nil discards

	// Now is the clock; nil is the system's.
	Now func() time.Time

	// SnapshotEvery, SnapshotBytes and AppendTimeout are those of [journal.Config].
	SnapshotEvery uint64
	SnapshotBytes uint64
	AppendTimeout time.Duration
	Replicas      int

	state *State // to begin with; nil: an empty one
}

// logName names the log of the market on a broker.
const logName = "market"

// Market is a node of the market: the state machine on its journal. Make one with Open. Its methods are safe for concurrent use.
type Market struct {
	journal *journal.Journal[Reply]
	machine *machine
	now     func() time.Time
	log     *slog.Logger
	buffers sync.Pool
	failed  atomic.Int64 // when the log last could not be written, in Unix nanoseconds; 0 if it could the last time
	metrics metrics
}

// Open restores the market from its log. It returns what [journal.Open] returns.
func Open(ctx context.Context, opts Options) (*Market, error) {
	if opts.state == nil {
		opts.state = NewState()
	}
	m := &Market{machine: &machine{State: opts.state}, now: opts.Now, log: opts.Log}
	m.machine.news.tell(opts.state.fills.last)
	if m.now == nil {
		m.now = time.Now
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	m.buffers.New = func() any { return new([]byte) }
	m.metrics.init()
	var err error
	m.journal, err = journal.Open(ctx, opts.Broker, journal.Config{
		Name: logName, Dir: opts.Dir, Log: m.log,
		SnapshotEvery: opts.SnapshotEvery, SnapshotBytes: opts.SnapshotBytes, AppendTimeout: opts.AppendTimeout, Replicas: opts.Replicas,
	}, m.machine)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Close answers what is under way and closes the journal. The broker stays open.
func (m *Market) Close() error { return m.journal.Close() }

// Stopped is closed when the market answers nothing any more; Err says why.
func (m *Market) Stopped() <-chan struct{} { return m.journal.Stopped() }

// Err returns nil while the market works.
func (m *Market) Err() error { return m.journal.Err() }

// Status is where the log is.
func (m *Market) Status() journal.Status { return m.journal.Status() }

// Read calls f while nothing changes. f must not change the state, or keep what it points to.
func (m *Market) Read(f func(*State)) error { return m.journal.Read(func() { f(m.machine.State) }) }

// unreadyFor is for how long after a failed append a node that nobody asks anything says that it isn't ready.
const unreadyFor = 5 * time.Second

// Ready says why orders should go to another node; nil: they need not.
func (m *Market) Ready() error {
	if err := m.Err(); err != nil {
		return err
	}
	if at := m.failed.Load(); at != 0 && time.Since(time.Unix(0, at)) < unreadyFor {
		return errors.New("the log could not be written to just now")
	}
	return nil
}

// Buy bids for volume. key is what [KeyOf] made of the idempotency key, nil without one.
func (m *Market) Buy(ctx context.Context, username string, volume, price uint64, key *ID) (Reply, error) {
	return m.do(ctx, &command{kind: buy, name: username, volume: volume, price: price}, key)
}

// Sell adds supply.
func (m *Market) Sell(ctx context.Context, volume uint64, key *ID) (Reply, error) {
	return m.do(ctx, &command{kind: sell, volume: volume}, key)
}

// Cancel takes an open bid out of the book.
func (m *Market) Cancel(ctx context.Context, id uint64) (Reply, error) {
	return m.do(ctx, &command{kind: cancel, bid: id}, nil)
}

// Lease takes up to units of a user's balance, to be spent by the caller, who returns what is left with Return within [LeaseTime]. id is what
// [NewID] drew; the command may be repeated with the same one.
func (m *Market) Lease(ctx context.Context, id ID, username string, units uint64) (Reply, error) {
	return m.do(ctx, &command{kind: lease, name: username, volume: units, key: id}, nil)
}

// Return ends a lease of which so many units were not spent. A lease that has ended is not found.
func (m *Market) Return(ctx context.Context, id ID, left uint64) (Reply, error) {
	return m.do(ctx, &command{kind: giveBack, volume: left, key: id}, nil)
}

// NewID draws an id for a lease.
func NewID() (id ID) {
	rand.Read(id[:]) // never fails
	return id
}

// KeyOf is what the log has of an idempotency key: 128 bits of its SHA-256, so that nobody can make two keys that collide.
func KeyOf(key []byte) ID {
	sum := sha256.Sum256(key)
	return ID(sum[:16])
}

// do appends a command, and returns what became of it. Errors are those of [journal.Journal.Do].
func (m *Market) do(ctx context.Context, c *command, key *ID) (Reply, error) {
	if (c.kind == buy || c.kind == lease) && CheckName(c.name) != nil {
		return Reply{Outcome: Invalid}, nil
	}
	if key != nil {
		c.keyed, c.key = true, *key
	}
	began := m.now()
	c.time = uint64(max(0, min(began.UnixMilli(), maxTime)))
	buf := m.buffers.Get().(*[]byte)
	*buf = appendCommand((*buf)[:0], c)
	r, err := m.journal.Do(ctx, *buf)
	m.buffers.Put(buf)
	m.observe(c.kind, r, err, began)
	if err != nil {
		return Reply{}, fmt.Errorf("%s: %w", c.kind, err)
	}
	return r, nil
}

func (m *Market) observe(k kind, r Reply, err error, began time.Time) {
	switch {
	case err == nil:
		if m.failed.Load() != 0 {
			m.failed.Store(0)
		}
	case errors.Is(err, journal.ErrUnavailable):
		m.failed.Store(time.Now().UnixNano())
	}
	m.metrics.observe(k, r, err, m.now().Sub(began))
}

// machine is the state, and wakes those who wait for fills.
type machine struct {
	*State
	news news
}

// Apply implements journal.Machine.
func (m *machine) Apply(cmd []byte) Reply {
	r := m.State.Apply(cmd)
	m.news.tell(m.State.fills.last)
	return r
}

// Restore implements journal.Machine.
func (m *machine) Restore(r io.Reader) error {
	err := m.State.Restore(r)
	m.news.tell(m.State.fills.last)
	return err
}

// news wakes those who wait for a number to rise. The zero value is ready.
type news struct {
	last atomic.Uint64
	mu   sync.Mutex
	wake chan struct{} // closed by the next change; nil if nobody waits; guarded by mu
	wait atomic.Bool   // wake isn't nil
}

// tell sets the number. A waiter sets wait before it reads the number, and tell writes the number before it reads wait: one of them sees the
// other.
func (n *news) tell(last uint64) {
	if n.last.Load() == last {
		return
	}
	n.last.Store(last)
	if !n.wait.Load() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.wake != nil {
		close(n.wake)
		n.wake = nil
	}
	n.wait.Store(false)
}

// above returns what is closed when the number has changed, or is closed already if it is above after.
func (n *news) above(after uint64) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.wake == nil {
		n.wake = make(chan struct{})
		n.wait.Store(true)
	}
	wake := n.wake
	if n.last.Load() > after {
		close(wake)
		n.wake = nil
		n.wait.Store(false)
	}
	return wake
}
