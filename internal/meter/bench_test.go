package meter_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/meter"
	"github.com/sluicegate/sluice/window"
)

// BenchmarkRequest is what the stage costs a request: its client and its route, at the time that was read before.
func BenchmarkRequest(b *testing.B) {
	for _, clients := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(clients, "clients"), func(b *testing.B) {
			m, _ := busy(b, b.TempDir(), clients)
			names := make([][]byte, clients)
			for i := range names {
				names[i] = clientName(i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				at := time.Now()
				for i := 0; pb.Next(); i++ {
					if i%64 == 0 {
						at = time.Now()
					}
					now := window.At(at)
					m.CountClient(names[i*7919%clients], now)
					m.CountRoute("/api/*", now)
				}
			})
		})
	}
}

// BenchmarkNewClient counts a request of a name that is new to a full table.
func BenchmarkNewClient(b *testing.B) {
	m, _ := busy(b, b.TempDir(), 10_000)
	now := window.Now()
	name := make([]byte, 0, 32)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		name = fmt.Append(name[:0], "new-", i)
		m.CountClient(name, now)
	}
}

// BenchmarkList is one reading of /api/v1/meters with as many clients as there may be.
func BenchmarkList(b *testing.B) {
	m, _ := busy(b, b.TempDir(), 10_000)
	for b.Loop() {
		if _, err := m.List(meter.Query{Sort: meter.SortCount, Limit: 100}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSync is the work of one sync interval: a snapshot, and two files that are synced and renamed.
func BenchmarkSync(b *testing.B) {
	for _, clients := range []int{100, 10_000} {
		b.Run(fmt.Sprint(clients, "clients"), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				_, closeNow := busy(b, b.TempDir(), clients)
				b.StartTimer()
				closeNow()
			}
		})
	}
}

// busy is a meter with the default configuration in which every client has made two requests a second for a minute:
// 20,000 a second in all if there are 10,000 clients.
func busy(b *testing.B, dir string, clients int) (m *meter.Meter, closeNow func()) {
	s := window.TableSnapshot{Taken: time.Now(), Timeframe: time.Minute, Precision: 100 * time.Millisecond}
	for i := range clients {
		n := window.Named{Name: string(clientName(i))}
		for age := i % 5; age < 600; age += 5 {
			n.Buckets = append(n.Buckets, window.Bucket{Age: age, Count: 1})
		}
		s.Windows = append(s.Windows, n)
	}
	if err := window.Save(in(dir)("meter-clients.bin"), s); err != nil {
		b.Fatal(err)
	}
	cfg := config.Default().Meter
	cfg.SyncInterval = time.Minute
	return open(b, cfg, meter.Options{Path: in(dir)})
}

// clientName is the name of the i-th client; later ones have greater names.
func clientName(i int) []byte { return fmt.Appendf(nil, "client-%06d", i) }
