package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/sluicegate/sluice/bench/harness"
	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/journal"
	"github.com/sluicegate/sluice/internal/market"
)

// filling says what is to be in a log.
type filling struct {
	after    int // commands that are there already
	commands int // in all
	users    int
	sales    bool // after every 19 bids one, of a little less than they ask for: 10 units, so that about one bid in a hundred stays open
	keys     bool // with every tenth bid

	snapshotEvery, snapshotBytes uint64 // 0: the defaults
}

const (
	prices    = 1000
	maxVolume = 100
	perSale   = 20 // commands
	saleSize  = (perSale-1)*(maxVolume+1)/2 - 10
	perKey    = 10 // commands
	senders   = 1024
)

// fill puts orders into the log in dir through a market of this process, without syncing, and closes it in order.
func fill(dir string, f filling) {
	ctx := context.Background()
	d, err := datadir.Open(dir)
	harness.Fatal(err)
	defer d.Close()
	broker, err := journal.Embed(journal.EmbedConfig{Dir: d, NoSync: true})
	harness.Fatal(err)
	defer broker.Close()
	m, err := market.Open(ctx, market.Options{Dir: d, Broker: broker, SnapshotEvery: f.snapshotEvery, SnapshotBytes: f.snapshotBytes})
	harness.Fatal(err)
	defer m.Close()
	var next atomic.Int64
	next.Store(int64(f.after))
	var all sync.WaitGroup
	for seed := range uint64(senders) {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(f.after), seed))
			for i := next.Add(1); i <= int64(f.commands); i = next.Add(1) {
				harness.Fatal(f.place(ctx, m, i, rng))
			}
		})
	}
	all.Wait()
}

// place sends order number i.
func (f *filling) place(ctx context.Context, m *market.Market, i int64, rng *rand.Rand) error {
	var r market.Reply
	var err error
	if f.sales && i%perSale == 0 {
		r, err = m.Sell(ctx, saleSize, nil)
	} else {
		var key *market.ID
		if f.keys && i%perKey == 1 {
			id := market.KeyOf(strconv.AppendInt(nil, i, 10))
			key = &id
		}
		r, err = m.Buy(ctx, "user-"+strconv.Itoa(rng.IntN(f.users)), 1+rng.Uint64N(maxVolume), 1+rng.Uint64N(prices), key)
	}
	if err == nil && r.Outcome != market.Done {
		err = fmt.Errorf("order %d: outcome %d", i, r.Outcome)
	}
	return err
}
