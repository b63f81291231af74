package market_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/sluicegate/sluice/internal/market"
)

// traffic is commands that keep about 100,000 bids open at 1,000 prices, of 1,000 users.
func traffic(n int) [][]byte {
	p := newPlayer(1)
	cmds := make([][]byte, n)
	for i := range cmds {
		c := market.Command{Kind: "buy", Time: 1e12, Name: fmt.Sprint("user-", p.IntN(1000)), Volume: 1 + uint64(p.IntN(100)), Price: uint64(p.IntN(1000))}
		if i >= 100_000 && i%2 == 1 {
			c = market.Command{Kind: "sell", Time: 1e12, Volume: 1 + uint64(p.IntN(100))}
		}
		cmds[i] = c.Encode()
	}
	return cmds
}

// BenchmarkApply is a bid or a sale, with its fills.
func BenchmarkApply(b *testing.B) {
	cmds := traffic(1_100_000)
	s := market.NewState()
	for _, cmd := range cmds[:100_000] {
		s.Apply(cmd)
	}
	cmds = cmds[100_000:]
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Apply(cmds[i%len(cmds)])
	}
}

// BenchmarkApplyKeyed is a bid with an idempotency key of its own.
func BenchmarkApplyKeyed(b *testing.B) {
	s := market.NewState()
	for i := 0; b.Loop(); i++ {
		id := market.ID{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}
		s.Apply(market.Command{Kind: "buy", Time: 1e12, Key: &id, Name: "u", Volume: 1, Price: uint64(i % 1000)}.Encode())
	}
}

// BenchmarkSweep is one sale that fills a million bids.
func BenchmarkSweep(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := market.NewState()
		for i := range uint64(1_000_000) {
			s.Apply(market.Command{Kind: "buy", Name: "u", Volume: 1, Price: i % 1000}.Encode())
		}
		b.StartTimer()
		s.Apply(market.Command{Kind: "sell", Volume: 1_000_000}.Encode())
	}
}

// BenchmarkSnapshot writes and reads a state of a million bids of 1,000 users.
func BenchmarkSnapshot(b *testing.B) {
	s := market.NewState()
	for i := range uint64(1_000_000) {
		s.Apply(market.Command{Kind: "buy", Time: 1e12 + i, Name: fmt.Sprint("user-", i%1000), Volume: 1 + i%100, Price: i % 1000}.Encode())
	}
	var data bytes.Buffer
	if err := s.Snapshot(&data); err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(data.Len()))
		for b.Loop() {
			s.Snapshot(io.Discard)
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(data.Len()))
		for b.Loop() {
			if err := market.NewState().Restore(bytes.NewReader(data.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkMemory says what a bid, a user and a key take.
func BenchmarkMemory(b *testing.B) {
	const n = 1 << 20
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for name, command := range map[string]func(i uint64) market.Command{
		"bid": func(i uint64) market.Command {
			return market.Command{Kind: "buy", Name: "u", Volume: 1, Price: i % 1000}
		},
		"bid and user": func(i uint64) market.Command {
			return market.Command{Kind: "buy", Name: fmt.Sprintf("user-%08d", i), Volume: 1, Price: i % 1000}
		},
		"key": func(i uint64) market.Command {
			return market.Command{Kind: "sell", Key: &market.ID{byte(i), byte(i >> 8), byte(i >> 16)}}
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				before := heap()
				s := market.NewState()
				for i := range uint64(n) {
					s.Apply(command(i).Encode())
				}
				b.ReportMetric(float64(heap()-before)/n, "B/each")
				runtime.KeepAlive(s)
			}
		})
	}
}
