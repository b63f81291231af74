// Package wallet is the stage that lets clients spend what they bought on the market: a rule with from: market.
//
// A unit that was allocated to a client is a number of requests. What may be spent is kept in the market's log, where a node takes some
// units of a client's balance as a lease; the requests of a lease are counted here, in memory. So a request costs no append to the log but
// for the first of each lease, a client never spends more than it was allocated on however many nodes, and a crash loses what was left of the leases that
// were out, one for each client and rule.
//
// Leases are small for a client that spends slowly and grow with its rate. What a client has not spent for a while goes back.
package wallet

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Bank is where the balances are. Its methods are safe for concurrent use.
type Bank interface {
	// Balance is how many units of a client can be leased, as far as this node knows. It reads memory.
	Balance(client string) uint64
	// Lease takes up to units of a client's balance and returns how many it took. The id is the caller's, and the call may be repeated with it.
	Lease(ctx context.Context, id ID, client string, units uint64) (uint64, error)
	// Return ends a lease of which so many units are left.
	Return(ctx context.Context, id ID, left uint64) error
	// NewID draws an id.
	NewID() ID
}

// ID is the name of a lease.
type ID [16]byte

// Bounds.
const (
	maxUnits   = 1024             // of a lease
	maxPurses  = 100_000          // clients and rules that are known at once
	leaseTime  = 30 * time.Minute // a lease is not spent from for longer: the market takes one back after an hour
	idleTime   = 10 * time.Second // after which what is left goes back
	sweepEvery = time.Second
	bankTime   = 2 * time.Second // a request waits for the bank at most
)

// ErrUnavailable says that the bank gave no answer in time.
var ErrUnavailable = errors.New("wallet: the market's log is not available")

// ErrFull says that too many clients spend at once.
var ErrFull = errors.New("wallet: too many clients")

// Wallet is what clients have at hand on this node. Make one with New, and Close it. Safe for concurrent use.
type Wallet struct {
	bank Bank
	log  *slog.Logger

	mu     sync.Mutex // guards purses
	purses map[name]*purse

	stop    context.CancelFunc
	stopped chan struct{}
}

// name is whose purse it is.
type name struct{ rule, client string }

// New makes a wallet that has nothing. It starts a goroutine, which Close ends.
func New(bank Bank, log *slog.Logger) *Wallet {
	ctx, stop := context.WithCancel(context.Background())
	w := &Wallet{bank: bank, log: log, purses: make(map[name]*purse), stop: stop, stopped: make(chan struct{})}
	go w.sweepUntil(ctx)
	return w
}

// Charge is what a request is to pay.
type Charge struct {
	Rule    string
	Client  string
	N       int64 // requests, 0 or more
	PerUnit int64 // requests that a unit is worth, 1 or more; the same for all charges of a rule
}

// Spend pays for a request. left is what the client may still spend by the rule, in requests; ok is false if that is less than the charge, and
// nothing was spent then. On an error, too, nothing was.
func (w *Wallet) Spend(ctx context.Context, c Charge) (left int64, ok bool, err error) {
	p, err := w.purse(c)
	if err != nil {
		return 0, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, bankTime)
	defer cancel()
	for {
		now := time.Now()
		filling, paid := p.pay(c.N, now)
		if paid {
			return p.left(w.bank, &c), true, nil
		}
		if filling != nil {
			select {
			case <-filling:
				continue
			case <-ctx.Done():
				return 0, false, ErrUnavailable
			}
		}
		got, err := w.fill(ctx, p, &c)
		if err != nil {
			return 0, false, err
		}
		if !got {
			return p.left(w.bank, &c), false, nil
		}
	}
}

// Refund gives back what a request paid that nobody served.
func (w *Wallet) Refund(c Charge) {
	if p, err := w.purse(c); err == nil {
		p.refund(c.N)
	}
}

// purse finds, or makes, the purse of a client for a rule.
func (w *Wallet) purse(c Charge) (*purse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.purses[name{c.Rule, c.Client}]
	switch {
	case p != nil:
		p.touch() // under w.mu, so that the sweep does not take it away before it is used
	case w.purses == nil:
		return nil, ErrUnavailable
	case len(w.purses) >= maxPurses:
		return nil, ErrFull
	default:
		p = &purse{perUnit: c.PerUnit, used: time.Now()}
		w.purses[name{c.Rule, c.Client}] = p
	}
	return p, nil
}

// fill takes a lease for the purse. It reports false if the client's balance does not cover the charge. Only the caller whom pay has told to
// may call it.
func (w *Wallet) fill(ctx context.Context, p *purse, c *Charge) (bool, error) {
	id, units, first := p.next(w.bank, c)
	defer p.filled()
	if units == 0 {
		return false, nil
	}
	got, err := w.bank.Lease(ctx, id, c.Client, units)
	if err != nil {
		w.log.Debug("no lease of bought capacity", "client", c.Client, "error", err)
		return false, ErrUnavailable // what became of it is found out with the same id
	}
	p.add(lease{id: id, units: got, left: int64(got) * c.PerUnit, since: first})
	return got > 0, nil
}

// sweepUntil gives back what is not used, and forgets those who have nothing.
func (w *Wallet) sweepUntil(ctx context.Context) {
	defer close(w.stopped)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			w.sweep(ctx, now)
		}
	}
}

func (w *Wallet) sweep(ctx context.Context, now time.Time) {
	w.mu.Lock()
	var ended []lease
	for n, p := range w.purses {
		leases, empty := p.idle(now)
		ended = append(ended, leases...)
		if empty {
			delete(w.purses, n)
		}
	}
	w.mu.Unlock()
	w.giveBack(ctx, ended)
}

// giveBack ends leases. One that the bank does not take back counts as spent after its time.
func (w *Wallet) giveBack(ctx context.Context, leases []lease) {
	for i := range leases {
		ctx, cancel := context.WithTimeout(ctx, bankTime)
		err := w.bank.Return(ctx, leases[i].id, leases[i].whole)
		cancel()
		if err != nil {
			w.log.Warn("a lease of bought capacity could not be given back", "units", leases[i].whole, "error", err)
		}
	}
}

// Close gives back what is left, until ctx ends. It must be called once, after the last request.
func (w *Wallet) Close(ctx context.Context) {
	w.stop()
	<-w.stopped
	w.mu.Lock()
	var ended []lease
	for _, p := range w.purses {
		ended = append(ended, p.empty()...)
	}
	w.purses = nil
	w.mu.Unlock()
	w.giveBack(ctx, ended)
}
