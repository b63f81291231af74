package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/work"
)

var (
	errClosing = errors.New("the node stops")
	errLost    = errors.New("the job may be another node's by now")
)

// An attempt is a claim of this node, from when it is known until its end is in the log.
type attempt struct {
	cancel    context.CancelCauseFunc // nil until it begins
	cancelled error                   // why it need not begin or go on
}

type claimID struct {
	id    ID
	fence uint32
}

// A dispatcher claims the jobs of a queue for its workers.
type dispatcher struct {
	s       *Service
	queue   string
	handler Handler
	workers int
	wake    chan struct{}     // there may be something to claim
	freed   chan struct{}     // a slot is free
	pool    *work.Pool[Claim] // has room for all claims that may be held
	mean    atomic.Int64      // of how long attempts take, in nanoseconds
	held    int               // claims; guarded by the service's mu
	stop    chan struct{}     // closed when the queue is somebody else's, or nobody's
}

// quick is what the mean attempt takes at most for a node to claim as many jobs as it has workers beside those that run. Of slow ones it claims none in
// advance: another node may be idle.
const quick = 20 * time.Millisecond

// Handle runs the jobs of a queue on so many workers, until the service closes; if it is closed, Handle does nothing. Call it once for a queue.
func (s *Service) Handle(queue string, h Handler, workers int) {
	workers = max(1, workers)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queues[queue] != nil {
		panic(fmt.Sprintf("jobs: Handle(%q) twice", queue))
	}
	if s.closed {
		return
	}
	d := &dispatcher{
		s: s, queue: queue, handler: h, workers: workers, wake: s.hooks.watch(queue), freed: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	d.pool = work.New(work.Options[Claim]{Run: func(_ context.Context, c Claim) { d.work(&c) }, Workers: workers, Queue: 2 * workers})
	s.queues[queue] = d
	s.workers.Go(func() {
		d.dispatch()
		d.pool.Close(context.Background()) // gives back what has not begun, and waits for what has
	})
}

// dispatch claims as long as there is something to claim and somebody to run it.
func (d *dispatcher) dispatch() {
	for !d.stopped() {
		if room := d.room(); room > 0 && d.ready() {
			if err := d.claim(room); err == nil {
				continue
			}
			select {
			case <-d.s.closing:
				return
			case <-time.After(tickRetry):
				continue
			}
		}
		select {
		case <-d.wake:
		case <-d.freed:
		case <-d.stop:
		case <-d.s.closing:
			return
		}
	}
}

func (d *dispatcher) room() int {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if mean := d.mean.Load(); mean != 0 && mean < int64(quick) {
		return 2*d.workers - d.held
	}
	return d.workers - d.held
}

// ready asks this node's state, which may be behind, so that a node with nothing to do writes nothing.
func (d *dispatcher) ready() (ready bool) {
	err := d.s.log.Read(func(st *State) { ready = st.Ready(d.queue) })
	return err == nil && ready
}

// claim claims jobs for a room that was found: meanwhile attempts may have turned out to be slow, and what there is room for then be less than nothing.
func (d *dispatcher) claim(room int) error {
	s := d.s
	s.claiming.RLock()
	defer s.claiming.RUnlock()
	r, err := s.do(s.ctx, EncodeClaim(s.session.Load(), d.queue, min(room, MaxClaim), s.now()))
	if err != nil {
		s.unsure.Store(true)
		return err
	}
	if r.Outcome != OK {
		signal(s.lost)
		return errLost
	}
	s.mu.Lock()
	d.held += len(r.Claimed)
	for i := range r.Claimed {
		c := &r.Claimed[i]
		c.service = s
		s.running[claimID{c.ID, c.Fence}] = &attempt{}
	}
	s.mu.Unlock()
	for _, c := range r.Claimed {
		d.pool.Submit(context.Background(), "", c) // in one line, for the order is fair already; there is room, and Close comes later
	}
	return nil
}

// adopt gives back what is claimed for this session although nobody here knows of it: a claim whose reply was lost took effect.
func (s *Service) adopt() error {
	if !s.unsure.Load() {
		return nil
	}
	s.claiming.Lock()
	defer s.claiming.Unlock()
	// When a later record of this node is applied, a claim that was given up before either was too or never will be.
	if r, err := s.do(s.ctx, EncodeBeat(s.session.Load(), s.now())); err != nil || r.Outcome != OK {
		return err
	}
	var lost []Claim
	if err := s.log.Read(func(st *State) { lost = st.Claims(s.session.Load()) }); err != nil {
		return err
	}
	s.unsure.Store(false)
	for _, c := range lost {
		s.mu.Lock()
		known := s.running[claimID{c.ID, c.Fence}] != nil
		s.mu.Unlock()
		if known {
			continue
		}
		if _, err := s.do(s.ctx, EncodeRelease(c.ID, c.Fence, s.now())); err != nil {
			s.unsure.Store(true)
			return err
		}
	}
	return nil
}

// cancelRunning cancels what runs.
func (s *Service) cancelRunning(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.running {
		a.cancelled = cause
		if a.cancel != nil {
			a.cancel(cause)
		}
	}
}

func (d *dispatcher) work(c *Claim) {
	d.attempt(c)
	d.s.mu.Lock()
	delete(d.s.running, claimID{c.ID, c.Fence})
	d.held--
	d.s.mu.Unlock()
	signal(d.freed)
}

func (d *dispatcher) attempt(c *Claim) {
	s := d.s
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	cause := s.begin(c, cancel)
	if cause == nil && d.stopped() {
		cause = errClosing
	}
	if cause != nil {
		s.settle(c, Result{Verdict: Abandon}, cause)
		return
	}
	s.notify(Event{Kind: "started", ID: c.ID, Queue: c.Queue, Tenant: c.Tenant, Attempt: c.Attempt})
	timed, stop := context.WithTimeout(ctx, c.Timeout)
	defer stop()
	began := time.Now()
	result := d.run(timed, c)
	took := time.Since(began)
	d.mean.Store(d.mean.Load()/8*7 + int64(took)/8 + 1)
	s.metrics.ran(d.queue, result.Verdict, took)
	s.settle(c, result, context.Cause(ctx))
}

// begin returns why the attempt need not begin, nil if it has.
func (s *Service) begin(c *Claim, cancel context.CancelCauseFunc) error {
	select {
	case <-s.closing:
		return errClosing
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.running[claimID{c.ID, c.Fence}]
	a.cancel = cancel
	return a.cancelled
}

// run calls the handler. What it panics with is the attempt's error.
func (d *dispatcher) run(ctx context.Context, c *Claim) (r Result) {
	defer func() {
		if v := recover(); v != nil {
			d.s.logr.Error("jobs: a handler panics", "queue", d.queue, "job", c.ID.String(), "panic", v, "stack", string(debug.Stack()))
			r = Result{Verdict: Retry, Error: fmt.Sprintf("the handler panicked: %v", v)}
		}
	}()
	r = d.handler.Run(ctx, c)
	if r.Verdict == 0 || r.Verdict > Abandon {
		r.Verdict = Retry
	}
	return r
}

// settle brings the end of an attempt into the log. cause says why its context ended, nil if it didn't.
func (s *Service) settle(c *Claim, r Result, cause error) {
	if errors.Is(cause, errLost) {
		return // whoever has the job now says how it ends
	}
	if errors.Is(cause, errClosing) && r.Verdict == Retry {
		r.Verdict = Abandon
	}
	kept := s.keep(c, &r)
	due := s.now().Add(s.delay(c.Attempt, r.After))
	reply, err := s.persist(s.ctx, func() []byte {
		switch r.Verdict {
		case Succeed:
			return EncodeFinish(c.ID, c.Fence, kept, s.now())
		case Fail:
			return EncodeFail(c.ID, c.Fence, kept, s.now())
		case Abandon:
			return EncodeRelease(c.ID, c.Fence, s.now())
		default:
			return EncodeRetryLater(c.ID, c.Fence, due, kept, s.now())
		}
	})
	if err != nil {
		s.logr.Error("jobs: how an attempt ended is not in the log; it is made again", "job", c.ID.String(), "error", err)
		return
	}
	kind := map[Phase]string{Done: "done", Queued: "retry"}[reply.Job.State]
	if r.Verdict == Abandon && kind != "" {
		kind = "released"
	}
	if reply.Outcome == OK && kind != "" {
		s.notify(Event{Kind: kind, ID: c.ID, Queue: c.Queue, Tenant: c.Tenant, Attempt: c.Attempt, Status: r.Status, Error: r.Error})
	}
}

// keep returns what the log has of a result. A body that is too large for it goes to the store of blobs; if it can't be put there, it is cut.
func (s *Service) keep(c *Claim, r *Result) *Stored {
	k := &Stored{Status: r.Status, Error: r.Error, Head: r.Head, Body: r.Body, Blob: r.Blob, BlobSize: r.BlobSize}
	k.Head = k.Head[:min(len(k.Head), MaxPayload)]
	room := MaxPayload - len(k.Head)
	if len(k.Body) <= room || r.Verdict == Abandon {
		return k
	}
	if k.Blob == "" {
		name := fmt.Sprintf("%s-%d.result", c.ID, c.Fence)
		size, err := s.blobs.Put(s.ctx, name, bytes.NewReader(k.Body), int64(len(k.Body)))
		if err == nil {
			k.Blob, k.BlobSize, k.Body = name, size, nil
			return k
		}
		s.logr.Warn("jobs: a result is cut, for the store of blobs doesn't take it", "job", c.ID.String(), "bytes", len(k.Body), "error", err)
	}
	k.Body = k.Body[:room]
	return k
}

// How long a job waits before it is tried again: exponential, with full jitter (Brooker, "Exponential Backoff And Jitter", 2015).
const (
	firstDelay = time.Second
	lastDelay  = 5 * time.Minute
)

func (s *Service) delay(attempt int, after time.Duration) time.Duration {
	if after > 0 {
		return min(after, MaxSpan)
	}
	limit := lastDelay
	if attempt < 10 {
		limit = min(limit, firstDelay<<(attempt-1))
	}
	return time.Duration(rand.Int64N(int64(limit)))
}
