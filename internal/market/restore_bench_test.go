package market_test

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/sluicegate/sluice/internal/market"
)

// BenchmarkApply measures the state machine: 19 bids of 100,000 users at 1,000 prices to a sale of what they ask for, a tenth of the orders
// with an idempotency key, and 100,000 bids open at the beginning.
func BenchmarkApply(b *testing.B) {
	s := market.NewState()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		s.Apply(someBid(rng, 0).Encode())
	}
	all := make([][]byte, min(b.N, 1_000_000)) // what comes again has its keys answered
	for i := range all {
		if i%20 == 0 {
			all[i] = sale(19 * 101 / 2).Encode()
			continue
		}
		all[i] = someBid(rng, i).Encode()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		s.Apply(all[i%len(all)])
	}
}

// someBid makes bid number i, where every tenth has a key.
func someBid(rng *rand.Rand, i int) market.Command {
	c := market.Command{Kind: "buy", Time: 1e12, Name: "user-" + strconv.Itoa(rng.IntN(100_000)), Volume: 1 + rng.Uint64N(100), Price: 1 + rng.Uint64N(1000)}
	if i%10 == 1 {
		key := market.KeyOf(strconv.AppendInt(nil, int64(i), 10))
		c.Key = &key
	}
	return c
}
