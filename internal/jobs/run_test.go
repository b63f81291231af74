package jobs_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/internal/jobs"
)

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (n *node) enqueue(s jobs.Spec) jobs.View {
	n.t.Helper()
	s.Queue = cmp.Or(s.Queue, "q")
	v, existed, err := n.Enqueue(n.t.Context(), s)
	if err != nil || existed {
		n.t.Fatalf("a job is not accepted as new: %v", err)
	}
	return v
}

// await waits until a job is in a phase.
func (n *node) await(id jobs.ID, p jobs.Phase) (v jobs.View) {
	n.t.Helper()
	eventually(n.t, "job "+id.String()+" to be "+p.String(), func() bool {
		var err error
		v, err = n.Get(n.t.Context(), id)
		return err == nil && v.State == p
	})
	return v
}

// gate is a handler that says which attempts have begun, and waits to be told what becomes of them.
type gate struct {
	begun chan *jobs.Claim
	ends  chan jobs.Result
}

func newGate() *gate {
	return &gate{begun: make(chan *jobs.Claim, 100), ends: make(chan jobs.Result, 100)}
}

func (g *gate) Run(ctx context.Context, c *jobs.Claim) jobs.Result {
	g.begun <- c
	select {
	case r := <-g.ends:
		return r
	case <-ctx.Done():
		return jobs.Result{Verdict: jobs.Retry, Error: context.Cause(ctx).Error()}
	}
}

func TestAJobIsDone(t *testing.T) {
	var kinds []string
	var mu sync.Mutex
	n := embedded(t, t.TempDir(), func(o *setup) {
		o.Notify = func(e jobs.Event) {
			mu.Lock()
			defer mu.Unlock()
			kinds = append(kinds, e.Kind)
		}
	})
	g := newGate()
	n.Handle("q", g, 2)
	v := n.enqueue(jobs.Spec{Tenant: "t", Owner: "o", Payload: []byte("question"), Deadline: time.Hour})
	if v.State != jobs.Queued || v.Accepted == 0 || v.Deadline != v.Accepted+3_600_000 || v.MaxAttempts != jobs.DefaultAttempts || v.Owner != "o" {
		t.Errorf("accepted %+v", v)
	}
	c := <-g.begun
	if p, err := c.Payload(); err != nil || string(p) != "question" || c.Attempt != 1 || c.Tenant != "t" {
		t.Errorf("the handler got %+v with %q: %v", c, p, err)
	}
	if v := n.await(v.ID, jobs.Running); v.Started == 0 || v.Attempts != 1 {
		t.Errorf("it runs as %+v", v)
	}
	g.ends <- jobs.Result{Verdict: jobs.Succeed, Status: 201, Head: []byte("head"), Body: []byte("answer")}
	v = n.await(v.ID, jobs.Done)
	if v.Status != 201 || v.ResultBytes != 6 || v.Finished < v.Started || v.Expires != v.Finished+24*3_600_000 {
		t.Errorf("it is done as %+v", v)
	}
	r, err := n.Result(t.Context(), v.ID)
	if err != nil || r.Status != 201 || string(r.Head) != "head" || string(r.Body) != "answer" {
		t.Errorf("its result is %+v: %v", r, err)
	}
	if _, err := n.Get(t.Context(), jobs.NewID(time.Now())); err != jobs.ErrNotFound {
		t.Errorf("of a job that isn't there: %v", err)
	}
	n.stop()
	if got := strings.Join(kinds, " "); got != "accepted started done" {
		t.Errorf("the events are %s", got)
	}
}

func TestAttempts(t *testing.T) {
	n := embedded(t, t.TempDir())
	g := newGate()
	n.Handle("q", g, 1)
	v := n.enqueue(jobs.Spec{MaxAttempts: 2})
	<-g.begun
	g.ends <- jobs.Result{Status: 503, Error: "busy", After: 30 * time.Millisecond}
	if c := <-g.begun; c.Attempt != 2 {
		t.Errorf("attempt %d, want 2", c.Attempt)
	}
	if v := n.await(v.ID, jobs.Running); v.Status != 503 || v.Error != "busy" {
		t.Errorf("while it is tried again: %+v", v)
	}
	g.ends <- jobs.Result{Status: 500, Error: "broken"}
	if v := n.await(v.ID, jobs.Failed); v.Attempts != 2 || v.Status != 500 || v.Error != "broken" {
		t.Errorf("it failed as %+v", v)
	}
	if v, err := n.Retry(t.Context(), v.ID); err != nil || v.State != jobs.Queued || v.Attempts != 0 {
		t.Errorf("retried as %+v: %v", v, err)
	}
	<-g.begun
	if _, err := n.Retry(t.Context(), v.ID); !errors.Is(err, jobs.ErrRefused) {
		t.Errorf("a job that runs is retried: %v", err)
	}
	g.ends <- jobs.Result{Verdict: jobs.Fail, Status: 400}
	n.await(v.ID, jobs.Failed)
	if k, err := n.Purge(t.Context(), jobs.Dead{OlderThan: time.Hour}); err != nil || k != 0 {
		t.Errorf("purged %d that are not old: %v", k, err)
	}
	if k, err := n.Purge(t.Context(), jobs.Dead{Queue: "q"}); err != nil || k != 1 {
		t.Errorf("purged %d, want 1: %v", k, err)
	}
	if _, err := n.Get(t.Context(), v.ID); err != jobs.ErrNotFound {
		t.Errorf("a purged job: %v", err)
	}
}

// A handler that panics, and one that takes too long.
func TestBadHandlers(t *testing.T) {
	n := embedded(t, t.TempDir())
	n.Handle("panic", jobs.HandlerFunc(func(context.Context, *jobs.Claim) jobs.Result { panic("oh") }), 1)
	n.Handle("slow", jobs.HandlerFunc(func(ctx context.Context, _ *jobs.Claim) jobs.Result {
		<-ctx.Done()
		return jobs.Result{Verdict: jobs.Verdict(99), Error: ctx.Err().Error()}
	}), 1)
	a, b := n.enqueue(jobs.Spec{Queue: "panic", MaxAttempts: 1}), n.enqueue(jobs.Spec{Queue: "slow", MaxAttempts: 1, Timeout: time.Millisecond})
	if v := n.await(a.ID, jobs.Failed); v.Error != "the handler panicked: oh" {
		t.Errorf("failed with %q", v.Error)
	}
	if v := n.await(b.ID, jobs.Failed); v.Error != context.DeadlineExceeded.Error() {
		t.Errorf("failed with %q", v.Error)
	}
}

// Close waits for what runs, and gives back what doesn't.
func TestDrain(t *testing.T) {
	path := t.TempDir()
	n := embedded(t, path)
	g := newGate()
	n.Handle("q", g, 1)
	var ids []jobs.ID
	for range 3 {
		ids = append(ids, n.enqueue(jobs.Spec{}).ID)
	}
	<-g.begun
	closed := make(chan struct{})
	go func() {
		n.stop()
		close(closed)
	}()
	g.ends <- jobs.Result{Verdict: jobs.Succeed}
	<-closed
	n = embedded(t, path)
	for i, id := range ids {
		want := jobs.View{State: jobs.Queued}
		if i == 0 {
			want = jobs.View{State: jobs.Done, Attempts: 1}
		}
		if v, err := n.Get(t.Context(), id); err != nil || v.State != want.State || v.Attempts != want.Attempts {
			t.Errorf("job %d is %+v: %v", i, v, err)
		}
	}
}

// When the patience of Close ends, what runs is cancelled and given back, as if it had not begun.
func TestImpatientClose(t *testing.T) {
	path := t.TempDir()
	n := embedded(t, path)
	g := newGate()
	n.Handle("q", g, 1)
	v := n.enqueue(jobs.Spec{})
	<-g.begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("closed with %v", err)
	}
	if err := n.Close(ctx); err != jobs.ErrClosed {
		t.Errorf("closed again with %v", err)
	}
	n.crash()
	n = embedded(t, path)
	if v, err := n.Get(t.Context(), v.ID); err != nil || v.State != jobs.Queued || v.Attempts != 0 {
		t.Errorf("it is %+v: %v", v, err)
	}
}

func TestInvalidJobs(t *testing.T) {
	n := embedded(t, t.TempDir(), func(o *setup) { o.MaxQueued = 1 })
	for _, s := range []jobs.Spec{
		{}, {Queue: strings.Repeat("q", 257)}, {Queue: "q", Payload: make([]byte, jobs.MaxPayload+1)}, {Queue: "q", Weight: -1}, {Queue: "q", BlobSize: 1},
		{Queue: "q", Timeout: -1}, {Queue: "q", Deadline: 367 * 24 * time.Hour}, {Queue: "q", Tenant: strings.Repeat("q", 257)},
	} {
		if _, _, err := n.Enqueue(t.Context(), s); !errors.Is(err, jobs.ErrInvalid) {
			t.Errorf("accepted %+v: %v", s, err)
		}
	}
	n.enqueue(jobs.Spec{})
	if _, _, err := n.Enqueue(t.Context(), jobs.Spec{Queue: "q"}); err != jobs.ErrFull {
		t.Errorf("accepted more than may be queued: %v", err)
	}
}

// A job that was accepted is found by its key also while no other is accepted: its client asks because it doesn't know.
func TestKnownKeyOfAFullQueue(t *testing.T) {
	n := embedded(t, t.TempDir(), func(o *setup) { o.MaxQueued = 1 })
	first := n.enqueue(jobs.Spec{Owner: "o", Key: "k", Fingerprint: 1})
	v, existed, err := n.Enqueue(t.Context(), jobs.Spec{Queue: "q", Owner: "o", Key: "k", Fingerprint: 1})
	if err != nil || !existed || v.ID != first.ID {
		t.Errorf("the same key gives %+v, existed %v, %v, want the first job", v, existed, err)
	}
	if _, _, err := n.Enqueue(t.Context(), jobs.Spec{Queue: "q", Owner: "o", Key: "k", Fingerprint: 2}); err != jobs.ErrConflict {
		t.Errorf("another request under the key: %v, want ErrConflict", err)
	}
	if _, _, err := n.Enqueue(t.Context(), jobs.Spec{Queue: "q", Owner: "o", Key: "other", Fingerprint: 1}); err != jobs.ErrFull {
		t.Errorf("another key: %v, want ErrFull", err)
	}
}

func TestList(t *testing.T) {
	n := embedded(t, t.TempDir())
	var ids []jobs.ID
	for i := range 25 {
		ids = append(ids, n.enqueue(jobs.Spec{Owner: []string{"a", "b"}[i%2]}).ID)
	}
	n.enqueue(jobs.Spec{Queue: "other"})
	slices.SortFunc(ids, func(a, b jobs.ID) int { return bytes.Compare(a[:], b[:]) })
	var got []jobs.ID
	for f := (jobs.Filter{Queue: "q", State: jobs.Queued, Limit: 10}); ; {
		p, err := n.List(f)
		if err != nil || len(p.Jobs) > 10 {
			t.Fatalf("a page has %d: %v", len(p.Jobs), err)
		}
		for _, v := range p.Jobs {
			got = append(got, v.ID)
		}
		if f.After = p.Next; f.After.IsZero() {
			break
		}
	}
	if !slices.Equal(got, ids) {
		t.Errorf("listed %d, want the %d of the queue in the order of their ids", len(got), len(ids))
	}
	if p, err := n.List(jobs.Filter{Owner: "b"}); err != nil || len(p.Jobs) != 12 || !p.Next.IsZero() {
		t.Errorf("of an owner there are %d: %v", len(p.Jobs), err)
	}
	if p, err := n.List(jobs.Filter{State: jobs.Failed}); err != nil || len(p.Jobs) != 0 {
		t.Errorf("%d failed: %v", len(p.Jobs), err)
	}
}

// store is a store of blobs in memory.
type store struct {
	mu    sync.Mutex
	blobs map[string][]byte
	at    time.Time
}

func (s *store) Put(_ context.Context, name string, r io.Reader, max int64) (int64, error) {
	data, err := io.ReadAll(io.LimitReader(r, max+1))
	if err == nil && int64(len(data)) > max {
		err = jobs.ErrBlobTooLarge
	}
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[name] = data
	return int64(len(data)), nil
}

func (s *store) Open(_ context.Context, name string) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.blobs[name]
	if !ok {
		return nil, jobs.ErrNoBlob
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (s *store) Delete(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blobs, name)
	return nil
}

func (s *store) List(context.Context) (all []jobs.BlobInfo, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, data := range s.blobs {
		all = append(all, jobs.BlobInfo{Name: name, Size: int64(len(data)), Modified: s.at})
	}
	return all, nil
}

func (s *store) names() (all []string) {
	infos, _ := s.List(context.Background())
	for _, b := range infos {
		all = append(all, b.Name)
	}
	slices.Sort(all)
	return all
}

func TestBlobs(t *testing.T) {
	s := &store{blobs: map[string][]byte{"orphan": nil, "request": []byte("large"), "twice": nil}, at: time.Now()}
	n := embedded(t, t.TempDir(), func(o *setup) { o.Blobs = s })
	g := newGate()
	n.Handle("q", g, 1)
	v := n.enqueue(jobs.Spec{Blob: "request", BlobSize: 5, Key: "k"})
	if _, existed, err := n.Enqueue(t.Context(), jobs.Spec{Queue: "q", Blob: "twice", Key: "k"}); err != nil || !existed {
		t.Errorf("the same job again is another: %v", err)
	}
	c := <-g.begun
	body, err := c.Body(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(body); err != nil || string(data) != "large" || c.BlobSize != 5 {
		t.Errorf("the body is %q: %v", data, err)
	}
	if k, err := jobs.Clean(n.Service, t.Context()); err != nil || k != 0 {
		t.Errorf("the janitor deleted %d young ones: %v", k, err)
	}
	s.at = time.Now().Add(-2 * time.Hour)
	if k, err := jobs.Clean(n.Service, t.Context()); err != nil || k == 0 {
		t.Errorf("the janitor deleted %d: %v", k, err)
	}
	if _, err := s.Open(t.Context(), "request"); err != nil {
		t.Errorf("the janitor deleted what is needed: %v", err)
	}
	large := bytes.Repeat([]byte("x"), jobs.MaxPayload+1)
	g.ends <- jobs.Result{Verdict: jobs.Succeed, Body: large}
	if v = n.await(v.ID, jobs.Done); v.ResultBytes != int64(len(large)) {
		t.Errorf("done as %+v", v)
	}
	r, err := n.Result(t.Context(), v.ID)
	if err != nil || r.Blob == "" {
		t.Fatalf("the result is %+v: %v", r, err)
	}
	out, err := n.ResultBody(t.Context(), &r)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(out); err != nil || !bytes.Equal(data, large) {
		t.Errorf("the result's body has %d bytes: %v", len(data), err)
	}
	eventually(t, "the blobs to be deleted that nobody needs", func() bool { return slices.Equal(s.names(), []string{r.Blob}) })
	if k, err := n.Purge(t.Context(), jobs.Dead{IDs: []jobs.ID{v.ID}}); err != nil || k != 1 {
		t.Errorf("purged %d: %v", k, err)
	}
	eventually(t, "the result's blob to be deleted", func() bool { return len(s.names()) == 0 })
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	n := embedded(t, t.TempDir(), func(o *setup) { o.Registerer = reg })
	n.Handle("q", jobs.HandlerFunc(func(context.Context, *jobs.Claim) jobs.Result { return jobs.Result{Verdict: jobs.Succeed} }), 1)
	n.await(n.enqueue(jobs.Spec{}).ID, jobs.Done)
	n.enqueue(jobs.Spec{Queue: "waiting"})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"sluice_jobs q done": 1, "sluice_jobs waiting queued": 1, "sluice_jobs q queued": 0, "sluice_jobs_enqueued_total q ok": 1,
		"sluice_jobs_attempts_total q done": 1, "sluice_jobs_attempt_seconds q": 1,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	if _, ok := got["sluice_jobs_oldest_seconds waiting"]; !ok {
		t.Error("nothing says how old the oldest is")
	}
}

// broken is a log of which the replies to some commands get lost.
type broken struct {
	jobs.Log
	lose *int // used by the one goroutine that claims
}

var errLost = errors.New("the reply is lost")

func (b *broken) Do(ctx context.Context, cmd []byte) (jobs.Reply, error) {
	r, err := b.Log.Do(ctx, cmd)
	if len(r.Claimed) > 0 && *b.lose > 0 {
		*b.lose--
		return jobs.Reply{}, errLost
	}
	return r, err
}

// What a claim took whose reply was lost isn't lost.
func TestLostClaims(t *testing.T) {
	n := embedded(t, t.TempDir(), func(o *setup) {
		o.lose, o.BeatEvery = 2, 5*time.Millisecond
	})
	n.Handle("q", jobs.HandlerFunc(func(context.Context, *jobs.Claim) jobs.Result { return jobs.Result{Verdict: jobs.Succeed} }), 1)
	var ids []jobs.ID
	for range 5 {
		ids = append(ids, n.enqueue(jobs.Spec{MaxAttempts: 1}).ID)
	}
	for _, id := range ids {
		n.await(id, jobs.Done)
	}
}

// A node that was taken for dead cancels what it runs and goes on in another session.
func TestLostSession(t *testing.T) {
	n := embedded(t, t.TempDir(), func(o *setup) { o.BeatEvery = 5 * time.Millisecond })
	g := newGate()
	n.Handle("q", g, 1)
	v := n.enqueue(jobs.Spec{})
	<-g.begun
	eventually(t, "the session to be reaped", func() bool {
		var info jobs.SessionInfo
		n.log.Read(func(s *jobs.State) { info = s.Sessions()[0] })
		r, err := n.log.Do(t.Context(), jobs.EncodeReap(info.ID, info.Beats, time.Now()))
		return err == nil && r.Outcome == jobs.OK
	})
	if c := <-g.begun; c.ID != v.ID || c.Attempt != 2 {
		t.Errorf("begun %+v, want the job again", c)
	}
	g.ends <- jobs.Result{Verdict: jobs.Succeed, Status: 200}
	if v := n.await(v.ID, jobs.Done); v.Attempts != 2 {
		t.Errorf("done as %+v", v)
	}
}
