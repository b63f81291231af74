package jobs_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/jobs"
)

// small is a state with segments of 64 KiB, in a directory.
func small(t *testing.T) (b *bench, dir string) {
	dir = filepath.Join(t.TempDir(), "payloads")
	p, err := jobs.OpenPayloads(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	p.Shrink(64<<10, 4<<10)
	b = newBenchOn(t, p)
	return b, dir
}

func payload(n int) []byte { return bytes.Repeat([]byte{byte('a' + n%26)}, 1000+n%50) }

// addSome adds jobs with payloads that tell them apart.
func (b *bench) addSome(n int, keep bool) (ids []jobs.ID) {
	tenant := "short"
	if keep {
		tenant = "long"
	}
	for range n {
		ids = append(ids, b.add(jobs.Spec{Tenant: tenant, Queue: tenant, Payload: payload(b.n + 1), KeepResult: time.Millisecond}))
	}
	return ids
}

// finishAll does the jobs of a queue and forgets them.
func (b *bench) finishAll(queue string) {
	b.t.Helper()
	for {
		claims := b.Apply(jobs.EncodeClaim(1, queue, 1000, b.now)).Claimed
		if len(claims) == 0 {
			return
		}
		for _, c := range claims {
			b.Apply(jobs.EncodeFinish(c.ID, c.Fence, &jobs.Stored{Body: []byte("done")}, b.now))
		}
		b.now = b.now.Add(time.Second)
		for b.Apply(jobs.EncodeTick(b.now)).More {
		}
	}
}

func (b *bench) has(ids []jobs.ID) {
	b.t.Helper()
	for _, id := range ids {
		n := int(binary.BigEndian.Uint64(id[:8])) - 1 // see testID
		if p, err := b.Payload(id); err != nil || !bytes.Equal(p, payload(n)) {
			b.t.Fatalf("the payload of job %d has %d bytes: %v", n, len(p), err)
		}
	}
}

// What is done takes no room any more.
func TestPayloadsAreReleased(t *testing.T) {
	b, dir := small(t)
	for range 10 {
		b.addSome(500, false)
		b.finishAll("short")
		if st := b.PayloadStats(); st.Live != 0 || st.Disk > 128<<10 {
			t.Fatalf("with nothing queued, there are %+v", st)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("there are files with names: %v, %v", left, err)
	}
}

// What is needed for longer than what is around it moves together.
func TestPayloadsAreCompacted(t *testing.T) {
	b, _ := small(t)
	var kept []jobs.ID
	for range 200 {
		kept = append(kept, b.addSome(1, true)...)
		b.addSome(20, false)
		b.finishAll("short")
	}
	b.has(kept)
	if st := b.PayloadStats(); st.Disk > 2*st.Live+192<<10 || st.Live < 200_000 {
		t.Errorf("there are %+v, want little more than what is needed", st)
	}
}

// While the disk takes nothing, payloads stay in memory; when it does again, they go there.
func TestFullDisk(t *testing.T) {
	b, dir := small(t)
	ids := b.addSome(100, true)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, b.addSome(400, true)...)
	if st := b.PayloadStats(); st.Memory < 200_000 {
		t.Errorf("without a disk there are %+v", st)
	}
	b.has(ids)
	var data bytes.Buffer
	if err := b.Snapshot(&data); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, b.addSome(200, true)...)
	if st := b.PayloadStats(); st.Memory > 8<<10 || st.Disk < 700_000 {
		t.Errorf("with a disk again there are %+v", st)
	}
	b.has(ids)
	hash := b.Hash()
	if err := b.Restore(&data); err != nil || b.Hash() == hash {
		t.Fatal(err)
	}
	b.has(ids[:500])
	b.finishAll("long")
	if st := b.PayloadStats(); st.Live != 0 {
		t.Errorf("with nothing queued there are %+v", st)
	}
}

// Payloads are read while others are written and moved.
func TestPayloadsUnderChange(t *testing.T) {
	path := t.TempDir()
	n := embedded(t, path)
	done := make(chan error, 1000)
	n.Handle("q", jobs.HandlerFunc(func(_ context.Context, c *jobs.Claim) jobs.Result {
		p, err := c.Payload()
		if err == nil && (len(p) != 1000 || bytes.Count(p, p[:1]) != 1000) {
			err = os.ErrInvalid
		}
		done <- err
		return jobs.Result{Verdict: jobs.Succeed, Body: p}
	}), 8)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 100 {
				if _, _, err := n.Enqueue(t.Context(), jobs.Spec{Queue: "q", Payload: bytes.Repeat([]byte{byte(g*100 + i)}, 1000)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for range 800 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}
