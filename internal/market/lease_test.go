package market_test

import (
	"testing"

	"github.com/sluicegate/sluice/internal/market"
)

// A node spends what a user was allocated in leases. One that crashes loses its lease, and no user spends more than there is.
func TestSpending(t *testing.T) {
	path := t.TempDir()
	n := serve(t, path)
	n.buy("u1", 100, 3)
	n.sell(100)
	first, second := market.NewID(), market.NewID()
	take := func(id market.ID, units uint64, want market.Reply) {
		t.Helper()
		if r, err := n.market.Lease(t.Context(), id, "u1", units); err != nil || r != want {
			t.Errorf("Lease = %+v, %v, want %+v", r, err, want)
		}
	}
	take(first, 30, market.Reply{Allocated: 30, Rest: 70})
	take(second, 50, market.Reply{Allocated: 50, Rest: 20})
	if r, err := n.market.Return(t.Context(), first, 10); err != nil || r != (market.Reply{Allocated: 10, Rest: 30}) {
		t.Errorf("Return = %+v, %v", r, err)
	}
	n.get("/balance?username=u1").is(t, 200, `{"allocated":100,"spent":20,"leased":50,"balance":30}`)
	n.stop() // without the second lease
	n = serve(t, path)
	n.get("/balance?username=u1").is(t, 200, `{"allocated":100,"spent":20,"leased":50,"balance":30}`)
	take(market.NewID(), 100, market.Reply{Allocated: 30})
	take(market.NewID(), 1, market.Reply{})
	if r, err := n.market.Lease(t.Context(), market.NewID(), "nobody", 1); err != nil || r.Outcome != market.NotFound {
		t.Errorf("Lease of nobody = %+v, %v", r, err)
	}
	if r, err := n.market.Lease(t.Context(), market.NewID(), "", 1); err != nil || r.Outcome != market.Invalid {
		t.Errorf("Lease of no name = %+v, %v", r, err)
	}
}
