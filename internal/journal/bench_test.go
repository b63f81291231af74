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

// BenchmarkReplay measures a start without a snapshot and one with, after so many commands: -benchtime 10000000x.
func BenchmarkReplay(b *testing.B) {
	b.Run("log", func(b *testing.B) { benchmarkStart(b, 1<<60) })
	b.Run("snapshot", func(b *testing.B) { benchmarkStart(b, 1_000_000) })
}

func benchmarkStart(b *testing.B, snapshotEvery uint64) {
	path := b.TempDir()
	fill := embedded(b, path, func(c *journal.Config) { c.SnapshotEvery, c.SnapshotBytes = snapshotEvery, 1<<60 })
	var next atomic.Int64
	var all sync.WaitGroup
	for range 1024 {
		all.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if _, err := fill.Do(context.Background(), key(uint64(i%100_000))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	fill.close()
	before := fill.Status()
	b.ReportMetric(float64(before.Sequence), "records")
	b.ResetTimer()
	n := embedded(b, path)
	b.StopTimer()
	if after := n.Status(); after != before {
		b.Errorf("Status = %+v after a restart, want %+v", after, before)
	}
	b.ReportMetric(b.Elapsed().Seconds(), "s/start")
	n.close()
}
