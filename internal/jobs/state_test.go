package jobs_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/internal/jobs"
)

func onDisk(t testing.TB) *jobs.Payloads {
	t.Helper()
	p, err := jobs.OpenPayloads(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// A run applies the same commands to the model, to a state, and to one that is restored from snapshots of the other now and then.
type run struct {
	t        *rapid.T
	m        *model
	a, b     *jobs.State
	clock    time.Time
	claims   []jobs.Claim
	sessions uint64
}

var testEpoch = time.UnixMilli(1_700_000_000_000)

func newRun(t *rapid.T, p *jobs.Payloads) *run {
	return &run{t: t, m: newModel(), a: jobs.NewState(p), b: jobs.NewState(nil), clock: testEpoch}
}

func testID(n int) (id jobs.ID) {
	binary.BigEndian.PutUint64(id[:], uint64(n)+1)
	return id
}

// now moves the time, back too, and tells the model.
func (r *run) now() time.Time {
	step := rapid.SampledFrom([]time.Duration{0, 0, 1, 7, 900, 2_000, 60_000, 3_600_000, 90_000_000, 700_000_000, -50}).Draw(r.t, "step")
	t := r.clock.Add(step * time.Millisecond)
	r.clock = t
	r.m.time(t)
	return t
}

func (r *run) apply(cmd []byte, want jobs.Reply) {
	r.t.Helper()
	got, again := r.a.Apply(cmd), r.b.Apply(cmd)
	if !reflect.DeepEqual(got, again) {
		r.t.Fatalf("the restored state replies\n%+v, not\n%+v", again, got)
	}
	for _, v := range [][]jobs.Ended{got.Ended, want.Ended} { // of jobs that are forgotten at once the order is left open, and which is a blob's last
		slices.SortFunc(v, func(a, b jobs.Ended) int { return cmp.Compare(a.Blob, b.Blob) })
		for i := range v {
			v[i].ID = jobs.ID{}
		}
	}
	if len(got.Claimed) == 0 {
		got.Claimed = nil
	}
	if !reflect.DeepEqual(got, want) {
		r.t.Fatalf("replied\n%+v, want\n%+v", got, want)
	}
	r.claims = append(r.claims, got.Claimed...)
	r.sessions = max(r.sessions, got.Session)
}

func (r *run) id() jobs.ID { return testID(rapid.IntRange(0, 25).Draw(r.t, "id")) }

func (r *run) claim() (jobs.ID, uint32) {
	if len(r.claims) == 0 || rapid.IntRange(0, 9).Draw(r.t, "bogus") == 0 {
		return r.id(), uint32(rapid.IntRange(0, 3).Draw(r.t, "fence"))
	}
	n := max(0, len(r.claims)-6)
	c := rapid.SampledFrom(r.claims[n:]).Draw(r.t, "claim")
	return c.ID, c.Fence
}

func (r *run) session() uint64 {
	n := int(r.sessions)
	return uint64(rapid.IntRange(max(0, n-2), n).Draw(r.t, "session"))
}

func (r *run) queue() string { return rapid.SampledFrom([]string{"q", "p"}).Draw(r.t, "queue") }

func (r *run) result() jobs.Stored {
	s := jobs.Stored{Status: rapid.SampledFrom([]int{0, 200, 503}).Draw(r.t, "status"), Error: rapid.SampledFrom([]string{"", "broken"}).Draw(r.t, "error")}
	switch rapid.IntRange(0, 2).Draw(r.t, "result") {
	case 1:
		s.Head, s.Body = []byte("head"), bytes.Repeat([]byte("b"), rapid.IntRange(0, 3000).Draw(r.t, "body"))
	case 2:
		s.Blob, s.BlobSize = rapid.SampledFrom([]string{"r1", "r2"}).Draw(r.t, "blob"), 9
	}
	return s
}

func (r *run) spec() jobs.Spec {
	s := jobs.Spec{
		ID: r.id(), Queue: r.queue(), Tenant: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r.t, "tenant"), Owner: rapid.SampledFrom([]string{"", "o"}).Draw(r.t, "owner"),
		Key: rapid.SampledFrom([]string{"", "", "k1", "k2"}).Draw(r.t, "key"), Fingerprint: uint64(rapid.IntRange(1, 2).Draw(r.t, "fingerprint")),
		Ordered: rapid.Bool().Draw(r.t, "ordered"), Weight: rapid.IntRange(1, 3).Draw(r.t, "weight"),
		Payload: bytes.Repeat([]byte("p"), rapid.IntRange(0, 2000).Draw(r.t, "payload")), MaxAttempts: uint16(rapid.IntRange(1, 3).Draw(r.t, "attempts")),
		Timeout: time.Second, KeepResult: rapid.SampledFrom([]time.Duration{time.Second, 48 * time.Hour}).Draw(r.t, "keep"),
	}
	if rapid.Bool().Draw(r.t, "deadline") { // one class: see the model's tick
		s.MaxAttempts, s.KeepResult, s.Deadline = 2, time.Second, 10*time.Second
	}
	if rapid.IntRange(0, 3).Draw(r.t, "with blob") == 0 {
		s.Blob, s.BlobSize = rapid.SampledFrom([]string{"b1", "b2"}).Draw(r.t, "blob"), 7
	}
	return s
}

func (r *run) actions() map[string]func(*rapid.T) {
	enqueue := func(*rapid.T) {
		s := r.spec()
		r.apply(jobs.EncodeEnqueue(&s, r.now()), r.m.enqueue(s))
	}
	claim := func(*rapid.T) {
		e, q, n := r.session(), r.queue(), rapid.IntRange(0, 5).Draw(r.t, "max")
		r.apply(jobs.EncodeClaim(e, q, n, r.now()), r.m.claim(e, q, n))
	}
	return map[string]func(*rapid.T){
		"enqueue": enqueue, "enqueue again": enqueue, "enqueue once more": enqueue,
		"claim": claim, "claim again": claim,
		"finish": func(*rapid.T) {
			id, fence := r.claim()
			s := r.result()
			r.apply(jobs.EncodeFinish(id, fence, &s, r.now()), r.m.finish(id, fence, s))
		},
		"fail": func(*rapid.T) {
			id, fence := r.claim()
			s := r.result()
			r.apply(jobs.EncodeFail(id, fence, &s, r.now()), r.m.fail(id, fence, s))
		},
		"retry later": func(*rapid.T) {
			id, fence := r.claim()
			s := r.result()
			now, wait := r.now(), time.Duration(rapid.IntRange(-5, 20_000).Draw(r.t, "wait"))*time.Millisecond
			for wait > 0 && r.m.isDue(r.m.now+ms(wait)) {
				wait += time.Millisecond
			}
			r.apply(jobs.EncodeRetryLater(id, fence, now.Add(wait), &s, now), r.m.retryLater(id, fence, max(0, wait), s))
		},
		"release": func(*rapid.T) {
			id, fence := r.claim()
			r.apply(jobs.EncodeRelease(id, fence, r.now()), r.m.release(id, fence))
		},
		"open session": func(*rapid.T) {
			node, epoch := [16]byte{byte(rapid.IntRange(1, 2).Draw(r.t, "node"))}, uint64(rapid.IntRange(1, 50).Draw(r.t, "epoch"))
			r.apply(jobs.EncodeOpenSession(node, epoch, r.now()), r.m.openSession(node, epoch))
		},
		"beat": func(*rapid.T) {
			e := r.session()
			r.apply(jobs.EncodeBeat(e, r.now()), r.m.beat(e))
		},
		"reap": func(*rapid.T) {
			e, beats := r.session(), uint64(rapid.IntRange(0, 2).Draw(r.t, "beats"))
			r.apply(jobs.EncodeReap(e, beats, r.now()), r.m.reap(e, beats))
		},
		"tick": func(*rapid.T) { r.apply(jobs.EncodeTick(r.now()), r.m.tick()) },
		"retry": func(*rapid.T) {
			id := r.id()
			r.apply(jobs.EncodeRetry(id, r.now()), r.m.retry(id))
		},
		"cancel": func(*rapid.T) {
			id := r.id()
			r.apply(jobs.EncodeCancel(id, r.now()), r.m.cancel(id))
		},
		"purge": func(*rapid.T) {
			q, before := rapid.SampledFrom([]string{"", "q"}).Draw(r.t, "queue"), r.clock.Add(-time.Hour)
			r.apply(jobs.EncodePurge(q, before, nil, r.now()), r.m.purge(q, jobs.TimeOf(before), nil))
		},
		"purge some": func(*rapid.T) {
			ids := []jobs.ID{r.id(), r.id()}
			r.apply(jobs.EncodePurge("", r.clock, ids, r.now()), r.m.purge("", 0, ids))
		},
		"restore": func(*rapid.T) { r.restore() },
		"":        func(*rapid.T) { r.check() },
	}
}

func (r *run) restore() {
	var data bytes.Buffer
	if err := r.a.Snapshot(&data); err != nil {
		r.t.Fatal(err)
	}
	text := data.Bytes()
	if err := r.b.Restore(&data); err != nil {
		r.t.Fatal(err)
	}
	var again bytes.Buffer
	if err := r.b.Snapshot(&again); err != nil {
		r.t.Fatal(err)
	}
	if !bytes.Equal(again.Bytes(), text) {
		r.t.Fatal("a restored state has another snapshot")
	}
}

// check compares all that can be asked for.
func (r *run) check() {
	if r.a.Hash() != r.b.Hash() {
		r.t.Fatalf("the restored state has the hash %x, not %x", r.b.Hash(), r.a.Hash())
	}
	counts := map[jobs.Phase]int{}
	for n := range 26 {
		id := testID(n)
		j := r.m.jobs[id]
		for _, s := range []*jobs.State{r.a, r.b} {
			v, ok := s.Get(id)
			if ok != (j != nil) {
				r.t.Fatalf("job %d is there: %v, want %v", n, ok, j != nil)
			}
			if j == nil {
				continue
			}
			want := r.m.view(j)
			if want.Error = r.m.message(j); v != want {
				r.t.Fatalf("job %d is\n%+v, want\n%+v", n, v, want)
			}
			if p, err := s.Payload(id); err != nil || !bytes.Equal(p, j.spec.Payload) {
				r.t.Fatalf("the payload of job %d has %d bytes, want %d: %v", n, len(p), len(j.spec.Payload), err)
			}
			got, err := s.Result(id)
			if err != nil || !bytes.Equal(got.Body, j.result.Body) || !bytes.Equal(got.Head, j.result.Head) || got.Blob != j.result.Blob || got.Error != want.Error {
				r.t.Fatalf("the result of job %d is %+v, want %+v: %v", n, got, j.result, err)
			}
		}
		if j != nil {
			counts[j.view.State]++
		}
	}
	for _, q := range []string{"q", "p"} {
		if r.a.Ready(q) != (len(r.m.rings[q]) > 0) || r.b.Ready(q) != r.a.Ready(q) {
			r.t.Fatalf("queue %s is ready: %v, want %v", q, r.a.Ready(q), len(r.m.rings[q]) > 0)
		}
	}
	for p := jobs.Queued; p <= jobs.Failed; p++ {
		if r.a.Count(p) != counts[p] || r.b.Count(p) != counts[p] {
			r.t.Fatalf("%d jobs are %s, want %d", r.a.Count(p), p, counts[p])
		}
	}
	for _, blob := range []string{"b1", "b2", "r1", "r2"} {
		if r.a.HasBlob(blob) != r.m.needs(blob) {
			r.t.Fatalf("blob %s is needed: %v", blob, r.a.HasBlob(blob))
		}
	}
	if due := r.m.due(); due != 0 && (r.a.Due() == 0 || r.a.Due() > due) {
		r.t.Fatalf("the next thing is due at %s, not at %s", due, r.a.Due())
	}
}

func TestModel(t *testing.T) {
	p := onDisk(t)
	p.Shrink(8<<10, 1<<10) // so that records move
	rapid.Check(t, func(t *rapid.T) {
		p.Close()
		t.Repeat(newRun(t, p).actions())
	})
}

// Bytes that are no snapshot leave the state as it was, and cause no panic.
func TestDamagedSnapshots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRun(t, nil)
		for n := range 12 {
			s := r.spec()
			s.ID = testID(n)
			r.a.Apply(jobs.EncodeEnqueue(&s, r.clock))
		}
		r.a.Apply(jobs.EncodeOpenSession([16]byte{1}, 1, r.clock))
		for _, c := range r.a.Apply(jobs.EncodeClaim(1, "q", 4, r.clock)).Claimed {
			s := r.result()
			r.a.Apply(jobs.EncodeRetryLater(c.ID, c.Fence, r.clock.Add(time.Minute), &s, r.clock))
		}
		r.a.Apply(jobs.EncodeClaim(1, "p", 2, r.clock))
		var data bytes.Buffer
		if err := r.a.Snapshot(&data); err != nil {
			t.Fatal(err)
		}
		text, hash := data.Bytes(), r.a.Hash()
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		if rapid.Bool().Draw(t, "cut") {
			text = text[:at]
		} else {
			text[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		}
		switch err := r.a.Restore(bytes.NewReader(text)); {
		case err != nil && !errors.Is(err, jobs.ErrSnapshot):
			t.Fatalf("got the error %v", err)
		case err != nil && r.a.Hash() != hash:
			t.Fatal("the state changed")
		}
		r.a.Apply(jobs.EncodeTick(r.clock.Add(400 * 24 * time.Hour)))
		r.a.Apply(jobs.EncodeClaim(1, "q", 100, r.clock))
	})
}

// FuzzApply: whatever the bytes are, nothing panics, what is no command changes nothing, and the state can be restored.
func FuzzApply(f *testing.F) {
	s := jobs.Spec{Queue: "q", Tenant: "t", Owner: "o", Key: "k", Ordered: true, Payload: []byte("p"), Blob: "b", BlobSize: 5}
	if err := s.Complete(testEpoch); err != nil {
		f.Fatal(err)
	}
	stored := jobs.Stored{Status: 200, Head: []byte("h"), Body: []byte("b"), Error: "e"}
	seeds := [][]byte{
		jobs.EncodeEnqueue(&s, testEpoch), jobs.EncodeClaim(1, "q", 5, testEpoch), jobs.EncodeFinish(s.ID, 1, &stored, testEpoch),
		jobs.EncodeFail(s.ID, 1, &stored, testEpoch), jobs.EncodeRetryLater(s.ID, 1, testEpoch, &stored, testEpoch), jobs.EncodeRelease(s.ID, 1, testEpoch),
		jobs.EncodeOpenSession([16]byte{1}, 7, testEpoch), jobs.EncodeBeat(1, testEpoch), jobs.EncodeReap(1, 0, testEpoch), jobs.EncodeTick(testEpoch),
		jobs.EncodeRetry(s.ID, testEpoch), jobs.EncodePurge("q", testEpoch, nil, testEpoch), jobs.EncodePurge("", testEpoch, []jobs.ID{s.ID}, testEpoch),
	}
	for _, cmd := range seeds {
		f.Add(cmd)
	}
	f.Fuzz(func(t *testing.T, cmd []byte) {
		st := jobs.NewState(nil)
		st.Apply(jobs.EncodeOpenSession([16]byte{1}, 1, testEpoch))
		st.Apply(seeds[0])
		st.Apply(seeds[1])
		hash := st.Hash()
		if r := st.Apply(cmd); r.Outcome == jobs.Invalid && st.Hash() != hash {
			t.Error("bytes that are no command changed the state")
		}
		var data bytes.Buffer
		if err := st.Snapshot(&data); err != nil {
			t.Fatal(err)
		}
		again := jobs.NewState(nil)
		if err := again.Restore(&data); err != nil || again.Hash() != st.Hash() {
			t.Errorf("the state can't be restored: %v", err)
		}
	})
}

// A state with one session, and short ways to change it.
type bench struct {
	*jobs.State
	t   testing.TB
	now time.Time
	n   int
}

func newBench(t testing.TB) *bench { return newBenchOn(t, onDisk(t)) }

func newBenchOn(t testing.TB, p *jobs.Payloads) *bench {
	b := &bench{State: jobs.NewState(p), t: t, now: testEpoch}
	if r := b.Apply(jobs.EncodeOpenSession([16]byte{1}, 1, b.now)); r.Session != 1 {
		t.Fatalf("no session: %+v", r)
	}
	return b
}

func (b *bench) add(s jobs.Spec) jobs.ID {
	b.t.Helper()
	b.n++
	s.ID, s.Queue = testID(b.n), cmp.Or(s.Queue, "q")
	if err := s.Complete(b.now); err != nil {
		b.t.Fatal(err)
	}
	if r := b.Apply(jobs.EncodeEnqueue(&s, b.now)); r.Outcome != jobs.OK {
		b.t.Fatalf("a job is not accepted: %s", r.Outcome)
	}
	return s.ID
}

func (b *bench) claim(n int) []jobs.Claim {
	return b.Apply(jobs.EncodeClaim(1, "q", n, b.now)).Claimed
}

func (b *bench) tenants(n int) (all string) {
	for _, c := range b.claim(n) {
		all += c.Tenant
	}
	return all
}

// A claim of less than none is of none.
func TestClaimOfNothing(t *testing.T) {
	b := newBench(t)
	b.add(jobs.Spec{})
	for _, n := range []int{0, -1} {
		if got := b.Apply(jobs.EncodeClaim(1, "q", n, b.now)).Claimed; len(got) > 0 {
			t.Errorf("claimed %d of %d", len(got), n)
		}
	}
}

// Of a tenant that comes after another queued 100,000, the first job is in the next round.
func TestFairness(t *testing.T) {
	b := newBench(t)
	for range 100_000 {
		b.add(jobs.Spec{Tenant: "A"})
	}
	if got := b.tenants(3); got != "AAA" {
		t.Fatalf("claimed %s", got)
	}
	b.add(jobs.Spec{Tenant: "B"})
	b.add(jobs.Spec{Tenant: "B"})
	if got := b.tenants(2); got != "AB" {
		t.Errorf("claimed %s, want one of each", got)
	}
	for range 10 {
		b.add(jobs.Spec{Tenant: "C", Weight: 3})
	}
	if got := b.tenants(10); got != "ABCCCACCCA" {
		t.Errorf("claimed %s, want three of C for one of A", got)
	}
}

func TestOrderedJobs(t *testing.T) {
	b := newBench(t)
	first, second := b.add(jobs.Spec{Tenant: "A", Ordered: true}), b.add(jobs.Spec{Tenant: "A", Ordered: true})
	c := b.claim(5)
	if len(c) != 1 || c[0].ID != first {
		t.Fatalf("claimed %v, want the first alone", c)
	}
	b.Apply(jobs.EncodeRetryLater(first, c[0].Fence, b.now.Add(time.Minute), &jobs.Stored{}, b.now))
	if c := b.claim(5); len(c) != 0 {
		t.Errorf("claimed %v before the first is done", c)
	}
	b.now = b.now.Add(time.Minute)
	b.Apply(jobs.EncodeTick(b.now))
	if c = b.claim(5); len(c) != 1 || c[0].ID != first || c[0].Attempt != 2 {
		t.Fatalf("claimed %v, want the first again", c)
	}
	b.Apply(jobs.EncodeFail(first, c[0].Fence, &jobs.Stored{}, b.now))
	if c := b.claim(5); len(c) != 1 || c[0].ID != second {
		t.Errorf("claimed %v, want the second", c)
	}
}

// A claim that was taken away ends nothing any more.
func TestFencing(t *testing.T) {
	b := newBench(t)
	id := b.add(jobs.Spec{})
	old := b.claim(1)[0]
	if r := b.Apply(jobs.EncodeReap(1, 1, b.now)); r.Outcome != jobs.Stale {
		t.Errorf("a session that has beaten otherwise is reaped: %s", r.Outcome)
	}
	if r := b.Apply(jobs.EncodeReap(1, 0, b.now)); r.Outcome != jobs.OK {
		t.Fatalf("reaping: %s", r.Outcome)
	}
	if r := b.Apply(jobs.EncodeBeat(1, b.now)); r.Outcome != jobs.Gone {
		t.Errorf("a dead session beats: %s", r.Outcome)
	}
	b.Apply(jobs.EncodeOpenSession([16]byte{2}, 1, b.now))
	again := b.Apply(jobs.EncodeClaim(2, "q", 1, b.now)).Claimed
	if len(again) != 1 || again[0].ID != id || again[0].Attempt != 2 {
		t.Fatalf("claimed %v, want the job again", again)
	}
	hash := b.Hash()
	for _, cmd := range [][]byte{
		jobs.EncodeFinish(id, old.Fence, &jobs.Stored{}, b.now), jobs.EncodeFail(id, old.Fence, &jobs.Stored{}, b.now),
		jobs.EncodeRetryLater(id, old.Fence, b.now, &jobs.Stored{}, b.now), jobs.EncodeRelease(id, old.Fence, b.now),
	} {
		if r := b.Apply(cmd); r.Outcome != jobs.Stale || b.Hash() != hash {
			t.Errorf("the old claim: %s", r.Outcome)
		}
	}
	if r := b.Apply(jobs.EncodeFinish(id, again[0].Fence, &jobs.Stored{}, b.now)); r.Outcome != jobs.OK || r.Job.State != jobs.Done {
		t.Errorf("the new claim: %s", r.Outcome)
	}
}

// Work that is more than one command does is done by several, with the same end.
func TestBoundedWork(t *testing.T) {
	b := newBench(t)
	const n = 2500
	for range n {
		b.add(jobs.Spec{MaxAttempts: 1, Deadline: time.Hour})
	}
	for got := 0; got < n; {
		c := b.claim(n)
		if len(c) == 0 || len(c) > jobs.MaxClaim {
			t.Fatalf("claimed %d at once, after %d", len(c), got)
		}
		got += len(c)
	}
	all := func(cmd []byte) (died, commands int) {
		for r := (jobs.Reply{More: true}); r.More; commands++ {
			if r = b.Apply(cmd); len(r.Died) > 1024 {
				t.Errorf("%d died at once", len(r.Died))
			}
			died += len(r.Died)
			cmd = jobs.EncodeTick(b.now)
		}
		return died, commands
	}
	if died, commands := all(jobs.EncodeReap(1, 0, b.now)); died != n || commands != 3 || b.Count(jobs.Failed) != n || len(b.Sessions()) != 0 {
		t.Errorf("%d died in %d commands", died, commands)
	}
	purged := 0
	for r := (jobs.Reply{More: true}); r.More; purged += r.Count {
		r = b.Apply(jobs.EncodePurge("q", b.now.Add(time.Second), nil, b.now))
	}
	if purged != n || b.Count(jobs.Failed) != 0 {
		t.Errorf("%d purged", purged)
	}
	for range n {
		b.add(jobs.Spec{Deadline: time.Hour})
	}
	b.now = b.now.Add(time.Hour)
	if died, _ := all(jobs.EncodeTick(b.now)); died != n {
		t.Errorf("%d died, want all whose deadline passed", died)
	}
}

func TestIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.UnixMilli(rapid.Int64Range(0, 1<<47).Draw(t, "at"))
		a, b := jobs.NewID(at), jobs.NewID(at.Add(time.Millisecond))
		if got, err := jobs.ParseID(a.String()); err != nil || got != a {
			t.Fatalf("%s is read as %s: %v", a, got, err)
		}
		if !a.Time().Equal(at) || a == b || a.String() >= b.String() || len(a.String()) != 26 {
			t.Fatalf("%s is not before %s", a, b)
		}
	})
	for _, text := range []string{"", "0", fmt.Sprintf("%026d", 0)[1:], "8" + fmt.Sprintf("%025d", 0), fmt.Sprintf("%025du", 0), fmt.Sprintf("%024dé", 0)} {
		if id, err := jobs.ParseID(text); err == nil {
			t.Errorf("%q is read as %s", text, id)
		}
	}
}

// At a bound a job is refused, changes nothing but the clock, and leaves its blob to be deleted; a key that is known is answered all the same.
func TestBounds(t *testing.T) {
	for name, bound := range map[string][3]int{"queued": {2, 9, 9}, "jobs": {9, 2, 9}, "keys": {9, 9, 2}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.Bound(bound[0], bound[1], bound[2])
			known := b.add(jobs.Spec{Key: "a"})
			b.add(jobs.Spec{Key: "b"})
			s := jobs.Spec{ID: testID(100), Queue: "q", Key: "c", Blob: "blob"}
			if err := s.Complete(b.now); err != nil {
				t.Fatal(err)
			}
			hash := b.Hash()
			r := b.Apply(jobs.EncodeEnqueue(&s, b.now))
			if r.Outcome != jobs.Full || b.Hash() != hash || !reflect.DeepEqual(r.Ended, []jobs.Ended{{ID: s.ID, Blob: "blob"}}) {
				t.Errorf("replied %+v", r)
			}
			s.Key = "a"
			if r := b.Apply(jobs.EncodeEnqueue(&s, b.now)); r.Outcome != jobs.Existed || r.Job.ID != known {
				t.Errorf("replied %+v", r)
			}
		})
	}
}

// A dead letter isn't retried into a queue that is full.
func TestRetryIntoAFullQueue(t *testing.T) {
	b := newBench(t)
	id := b.add(jobs.Spec{})
	b.Apply(jobs.EncodeFail(id, b.claim(1)[0].Fence, &jobs.Stored{}, b.now))
	b.add(jobs.Spec{})
	b.Bound(1, 9, 9)
	if r := b.Apply(jobs.EncodeRetry(id, b.now)); r.Outcome != jobs.Full || b.Count(jobs.Failed) != 1 {
		t.Errorf("replied %+v", r)
	}
}
