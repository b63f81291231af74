package jobs

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Errors of a Service, beside those of its Log.
var (
	ErrConflict = errors.New("the idempotency key was used for another job")
	ErrFull     = errors.New("too many jobs are queued")
	ErrNotFound = errors.New("no such job")
	ErrRefused  = errors.New("the job is in no state for this")
	ErrInvalid  = errors.New("not a valid job")
	ErrClosed   = errors.New("the service of jobs is closed")
)

// How sessions are kept alive and taken over. No clock of a node is compared with that of another.
const (
	BeatEvery = 2 * time.Second
	ReapAfter = 6 * time.Second
)

// Options say what a Service stands on. Log and Node are required.
type Options struct {
	Log    Log
	Blobs  Blobs  // nil: there are no blobs, and results are cut at MaxPayload
	Node   string // of the data directory: 32 hexadecimal digits
	Logger *slog.Logger

	Registerer prometheus.Registerer // gets the service's metrics; nil: none
	Notify     func(Event)           // is told what happens to jobs through this node, and must not block; nil: nobody

	MaxQueued int              // jobs that may be queued before Enqueue returns ErrFull, as far as this node knows; 0: MaxQueued
	Now       func() time.Time // nil: the system's

	// BeatEvery, ReapAfter: 0 means the constants. JanitorEvery is how often blobs without a job are looked for, and OrphanAge how old they
	// are at least when they are deleted: 10 minutes and an hour.
	BeatEvery    time.Duration
	ReapAfter    time.Duration
	JanitorEvery time.Duration
	OrphanAge    time.Duration
}

// An Event is something that happened to a job.
type Event struct {
	Kind    string `json:"kind"` // accepted, started, done, retry, released, failed, retried
	ID      ID     `json:"id"`
	Queue   string `json:"queue,omitempty"`
	Tenant  string `json:"tenant,omitempty"`
	Attempt int    `json:"attempt,omitzero"`
	Status  int    `json:"status,omitzero"`
	Error   string `json:"error,omitempty"`
}

// Service is a node of the jobs. Make one with Open; its methods are safe for concurrent use.
type Service struct {
	opts  Options
	log   Log
	blobs Blobs
	node  [16]byte
	logr  *slog.Logger
	hooks *hooks
	skew  atomic.Int64 // how far the clock of the state is ahead of this node's, at least, in nanoseconds

	session  atomic.Uint64
	watching map[uint64]*sighting // other sessions; of the goroutine that beats
	metrics  metrics

	ctx     context.Context // ends when Close has no more patience
	cancel  context.CancelCauseFunc
	closing chan struct{}  // no further claims
	tasks   sync.WaitGroup // dispatchers and what serves the session
	workers sync.WaitGroup
	garbage chan string // blobs to delete

	claiming sync.RWMutex  // held to read while a claim is made
	unsure   atomic.Bool   // a claim failed, and may have taken effect
	lost     chan struct{} // a claim was refused because the session has ended

	mu      sync.Mutex // guards what follows
	running map[claimID]*attempt
	queues  map[string]*dispatcher
	closed  bool
}

// Open opens a session of the node. Those that the node had before end, and what they ran is queued again.
func Open(ctx context.Context, opts Options) (*Service, error) {
	s, err := open(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	return s, nil
}

func open(ctx context.Context, opts Options) (*Service, error) {
	opts.complete()
	s := &Service{
		opts: opts, log: opts.Log, blobs: opts.Blobs, logr: opts.Logger, watching: map[uint64]*sighting{},
		closing: make(chan struct{}), lost: make(chan struct{}, 1), garbage: make(chan string, 1024), running: map[claimID]*attempt{}, queues: map[string]*dispatcher{},
	}
	if n, err := hex.Decode(s.node[:], []byte(opts.Node)); err != nil || n != len(s.node) {
		return nil, fmt.Errorf("a node %q: want 32 hexadecimal digits", opts.Node)
	}
	if err := s.log.Read(func(st *State) { s.hooks = st.hooks }); err != nil {
		return nil, err
	}
	if err := s.openSession(ctx); err != nil {
		return nil, err
	}
	s.metrics.init()
	if opts.Registerer != nil {
		if err := opts.Registerer.Register(s); err != nil {
			return nil, err
		}
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	for _, task := range []func(){s.live, s.tickWhenDue, s.collect, s.clean} {
		s.tasks.Go(task)
	}
	return s, nil
}

func (o *Options) complete() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Blobs == nil {
		o.Blobs = noBlobs{}
	}
	o.MaxQueued = cmp.Or(o.MaxQueued, MaxQueued)
	o.BeatEvery = cmp.Or(o.BeatEvery, BeatEvery)
	o.ReapAfter = cmp.Or(o.ReapAfter, ReapAfter)
	o.JanitorEvery = cmp.Or(o.JanitorEvery, 10*time.Minute)
	o.OrphanAge = cmp.Or(o.OrphanAge, time.Hour)
}

// now is this node's clock, put forward so that it is never behind that of the state, which is the fastest of all nodes'.
func (s *Service) now() time.Time {
	wall := s.opts.Now()
	ahead := int64(Time(s.hooks.now.Load()).Time().Sub(wall))
	for {
		skew := s.skew.Load()
		if ahead <= skew || s.skew.CompareAndSwap(skew, ahead) {
			return wall.Add(time.Duration(max(skew, ahead)))
		}
	}
}

// closeTimeout bounds what Close still has to tell the log, when its own patience has ended.
const closeTimeout = 5 * time.Second

// Close claims nothing more, gives back what was not begun, and waits for the attempts that are under way. When ctx ends it cancels them and gives
// back what they did not finish. Then it ends the session, so that nobody waits for it. The Log stays open. It returns the error of ctx if
// attempts were cancelled.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return ErrClosed
	}
	close(s.closing)
	idle := make(chan struct{})
	go func() {
		s.workers.Wait()
		close(idle)
	}()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = context.Cause(ctx)
		s.cancelRunning(errClosing)
		select {
		case <-idle:
		case <-time.After(closeTimeout): // the log doesn't take what they came to
		}
	}
	s.cancel(ErrClosed)
	<-idle
	s.tasks.Wait()
	if s.opts.Registerer != nil {
		s.opts.Registerer.Unregister(s)
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return errors.Join(err, s.endSession(ending))
}

// do appends a command, tells who wants to know what it did beside its own, and deletes the blobs that it left without a job.
func (s *Service) do(ctx context.Context, cmd []byte) (Reply, error) {
	r, err := s.log.Do(ctx, cmd)
	if err != nil {
		return Reply{}, err
	}
	for _, id := range r.Died {
		e := Event{Kind: "failed", ID: id}
		if v := &r.Job; v.ID == id {
			e.Queue, e.Tenant, e.Attempt, e.Status = v.Queue, v.Tenant, v.Attempts, v.Status
		}
		s.notify(e)
	}
	for _, e := range r.Ended {
		select {
		case s.garbage <- e.Blob:
		default: // the janitor comes by
		}
	}
	return r, nil
}

func (s *Service) notify(e Event) {
	if s.opts.Notify != nil {
		s.opts.Notify(e)
	}
}
