package journal_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/journal"
)

// nothing is a machine that costs nothing, so that the log is what is measured.
type nothing struct{ tally }

func (m *nothing) Apply([]byte) reply { m.total++; return reply{place: m.total} }
func (m *nothing) Hash() uint64       { return m.total }

// BenchmarkDo measures commands from 256 goroutines, synced before the reply, and not.
func BenchmarkDo(b *testing.B) {
	for _, mode := range []string{"synced", "unsynced"} {
		b.Run(mode, func(b *testing.B) { benchmarkDo(b, mode == "unsynced") })
	}
}

func benchmarkDo(b *testing.B, unsynced bool) {
	dir, err := datadir.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer dir.Close()
	broker, err := journal.Embed(journal.EmbedConfig{Dir: dir, NoSync: unsynced})
	if err != nil {
		b.Fatal(err)
	}
	defer broker.Close()
	j, err := journal.Open(b.Context(), broker, journal.Config{Name: "bench", Dir: dir}, &nothing{})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	b.ReportAllocs()
	b.ResetTimer()
	doAll(b, j, 256)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	b.ReportMetric(float64(b.N)/float64(j.Status().Sequence), "commands/record")
}

func doAll(b *testing.B, j *journal.Journal[reply], goroutines int) {
	var next atomic.Int64
	var all sync.WaitGroup
	cmd := make([]byte, 48)
	for range goroutines {
		all.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if _, err := j.Do(context.Background(), cmd); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}
