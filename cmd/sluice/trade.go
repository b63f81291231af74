package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/journal"
	"github.com/sluicegate/sluice/internal/market"
	"github.com/sluicegate/sluice/internal/wallet"
)

// trade is the market as a part of a gateway: its log, what clients spend of what they bought, and, with a section market, the listener for
// orders.
type trade struct {
	market *market.Market
	wallet *wallet.Wallet

	stop   context.CancelFunc // nil while nobody serves
	served chan error
}

// openTrade restores the market from its log.
func openTrade(ctx context.Context, broker *journal.Broker, dir *datadir.Dir, log *slog.Logger) (t *trade, err error) {
	t = new(trade)
	if t.market, err = market.Open(ctx, market.Options{Dir: dir, Broker: broker, Log: log}); err != nil {
		return nil, fmt.Errorf("restoring the market: %w", err)
	}
	t.wallet = wallet.New(bank{t.market}, log)
	return t, nil
}

// serve takes orders from ln until close.
func (t *trade) serve(ln net.Listener) {
	ctx, stop := context.WithCancel(context.Background())
	t.stop, t.served = stop, make(chan error, 1)
	server := market.NewServer(t.market)
	go func() { t.served <- server.Serve(ctx, ln) }()
}

// close gives back what is not spent and closes the log. Call it after the last request.
func (t *trade) close(ctx context.Context) error {
	var err error
	if t.stop != nil {
		t.stop()
		err = <-t.served
	}
	t.wallet.Close(ctx)
	return errors.Join(err, t.market.Close())
}

// bank is the market as wallets see it.
type bank struct{ market *market.Market }

func (b bank) Balance(client string) (units uint64) {
	b.market.Read(func(s *market.State) { // of a market that has stopped nothing can be leased, which Lease tells
		balance, _ := s.Balance(client)
		units = balance.Balance
	})
	return units
}

func (b bank) Lease(ctx context.Context, id wallet.ID, client string, units uint64) (uint64, error) {
	reply, err := b.market.Lease(ctx, market.ID(id), client, units)
	switch {
	case err != nil:
		return 0, err
	case reply.Outcome == market.Full:
		return 0, errors.New("too many leases are out")
	}
	return reply.Allocated, nil
}

func (b bank) Return(ctx context.Context, id wallet.ID, left uint64) error {
	reply, err := b.market.Return(ctx, market.ID(id), left)
	if err == nil && reply.Outcome != market.Done {
		err = errors.New("the lease has ended")
	}
	return err
}

func (b bank) NewID() wallet.ID { return wallet.ID(market.NewID()) }
