package jobs_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/jobs"
)

// press enqueues jobs from so many goroutines.
func press(t testing.TB, n *node, goroutines, total int) {
	var left atomic.Int64
	left.Store(int64(total))
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			spec := jobs.Spec{Queue: "q", Tenant: tenants[g%100], Payload: bytes.Repeat([]byte("p"), 256), Deadline: time.Hour, KeepResult: time.Millisecond}
			for left.Add(-1) >= 0 {
				if _, _, err := n.Enqueue(context.Background(), spec); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkEnqueue accepts jobs on the embedded log, synced, from 256 goroutines.
func BenchmarkEnqueue(b *testing.B) {
	n := embedded(b, b.TempDir())
	b.ResetTimer()
	press(b, n, 256, b.N)
}

// BenchmarkJobs accepts jobs and does them, with so many others queued behind: what is enqueued, claimed and finished is in the log, synced.
func BenchmarkJobs(b *testing.B) {
	for _, queued := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint("queued=", queued), func(b *testing.B) {
			n := embedded(b, b.TempDir())
			press(b, n, 1024, queued)
			done := make(chan struct{}, 1024)
			n.Handle("q", jobs.HandlerFunc(func(context.Context, *jobs.Claim) jobs.Result {
				done <- struct{}{}
				return jobs.Result{Verdict: jobs.Succeed}
			}), 256)
			b.ResetTimer()
			var all sync.WaitGroup
			all.Go(func() { press(b, n, 256, b.N) })
			for range b.N {
				<-done
			}
			all.Wait()
			b.StopTimer()
			go func() {
				for range done {
				}
			}()
			n.stop()
			close(done)
		})
	}
}

// TestServiceMemory says what a process takes that has a million jobs queued on the embedded log. It is asked for by SLUICE_SOAK=1.
func TestServiceMemory(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("SLUICE_SOAK is not set")
	}
	n := embedded(t, t.TempDir())
	for range 10 {
		press(t, n, 256, 100_000)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("%d queued: heap %d MiB, from the system %d MiB, resident %s", queuedOf(n), m.HeapAlloc>>20, m.Sys>>20, resident())
	}
	if rss := residentBytes(t); rss > 300<<20 {
		t.Errorf("%d MiB are resident, want less than 300", rss>>20)
	}
}

func queuedOf(n *node) (queued int) {
	n.log.Read(func(s *jobs.State) { queued = s.Count(jobs.Queued) })
	return queued
}
