package jobs_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/jobs"
)

// A load keeps so many jobs queued, of 100 tenants, with payloads of 256 bytes, that came at 100,000 a second.
type load struct {
	*jobs.State
	spec jobs.Spec
	now  time.Time
	n    uint64
}

func newLoad(b testing.TB, queued int) *load {
	l := &load{State: jobs.NewState(onDisk(b)), now: testEpoch}
	l.spec = jobs.Spec{Queue: "q", Payload: bytes.Repeat([]byte("p"), 256), Deadline: 24 * time.Hour, KeepResult: time.Millisecond}
	if err := l.spec.Complete(l.now); err != nil {
		b.Fatal(err)
	}
	l.Apply(jobs.EncodeOpenSession([16]byte{1}, 1, l.now))
	for i := range queued {
		if l.Apply(l.enqueue()); i%100 == 0 {
			l.now = l.now.Add(time.Millisecond)
		}
	}
	return l
}

var tenants = func() (names [100]string) {
	for i := range names {
		names[i] = fmt.Sprint("tenant-", i)
	}
	return names
}()

func (l *load) enqueue() []byte {
	l.n++
	l.spec.ID = jobs.NewID(l.now)
	l.spec.Tenant = tenants[l.n%100]
	return jobs.EncodeEnqueue(&l.spec, l.now)
}

// BenchmarkApply is the cost of a job's three commands at so many that are queued: jobs come in by hundreds, are claimed by hundreds, and are done.
func BenchmarkApply(b *testing.B) {
	for _, queued := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint("queued=", queued), func(b *testing.B) {
			const batch = 100
			l := newLoad(b, queued)
			stored := jobs.Stored{Status: 200, Body: bytes.Repeat([]byte("r"), 100)}
			var enqueue, claim, finish time.Duration
			cmds := make([][]byte, batch)
			jobsDone := 0
			b.ResetTimer()
			for b.Loop() {
				for i := range cmds {
					cmds[i] = l.enqueue()
				}
				began := time.Now()
				for _, cmd := range cmds {
					l.Apply(cmd)
				}
				enqueued := time.Now()
				claimed := l.Apply(jobs.EncodeClaim(1, "q", batch, l.now)).Claimed
				done := time.Now()
				for i, c := range claimed {
					cmds[i] = jobs.EncodeFinish(c.ID, c.Fence, &stored, l.now)
				}
				finishing := time.Now()
				for _, cmd := range cmds {
					l.Apply(cmd)
				}
				l.now = l.now.Add(time.Millisecond)
				l.Apply(jobs.EncodeTick(l.now))
				enqueue, claim, finish = enqueue+enqueued.Sub(began), claim+done.Sub(enqueued), finish+time.Since(finishing)
				jobsDone += len(claimed)
			}
			per := func(d time.Duration, name string) { b.ReportMetric(float64(d.Nanoseconds())/float64(jobsDone), name) }
			per(enqueue, "ns/enqueue")
			per(claim, "ns/claim")
			per(finish, "ns/finish")
			per(enqueue+claim+finish, "ns/job")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkSnapshot writes and reads a state of 200,000 jobs.
func BenchmarkSnapshot(b *testing.B) {
	l := newLoad(b, 200_000)
	var data bytes.Buffer
	if err := l.Snapshot(&data); err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(data.Len()))
		for b.Loop() {
			l.Snapshot(io.Discard)
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(data.Len()))
		for b.Loop() {
			if err := jobs.NewState(onDisk(b)).Restore(bytes.NewReader(data.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestMemory says what a million queued jobs take, of the state and of the process. It is asked for by SLUICE_SOAK=1, for one case at a time:
// go test -run TestMemory/plain.
func TestMemory(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("SLUICE_SOAK is not set")
	}
	for _, name := range []string{"plain", "keyed"} {
		t.Run(name, func(t *testing.T) {
			l := newLoad(t, 0)
			for i := range 1_000_000 {
				if name == "keyed" {
					l.spec.Key = fmt.Sprint("key-", i)
				}
				l.Apply(l.enqueue())
			}
			report := func(when string) {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				t.Logf("%s: heap %d MiB, from the system %d MiB, resident %s", when, m.HeapAlloc>>20, m.Sys>>20, resident())
			}
			report("1,000,000 queued, as it comes")
			runtime.GC()
			report("after a collection")
			if rss := residentBytes(t); rss > 300<<20 {
				t.Errorf("%d MiB are resident, want less than 300", rss>>20)
			}
			debug.FreeOSMemory()
			report("after giving back what is free")
			runtime.KeepAlive(l)
		})
	}
}

func resident() string {
	data, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return "unknown"
}

func residentBytes(t *testing.T) (n int64) {
	if _, err := fmt.Sscanf(resident(), "%d kB", &n); err != nil {
		t.Skip("the system doesn't say what is resident")
	}
	return n << 10
}

// BenchmarkGet finds jobs among a million.
func BenchmarkGet(b *testing.B) {
	l := newLoad(b, 0)
	var ids [1 << 20]jobs.ID
	for i := range ids {
		l.Apply(l.enqueue())
		ids[i] = l.spec.ID
	}
	for i := 0; b.Loop(); i++ {
		if _, ok := l.Get(ids[(uint64(i)*0x9e3779b97f4a7c15)>>44]); !ok {
			b.Fatal("a job is missing")
		}
	}
	binary.LittleEndian.Uint64(ids[0][:])
}
