package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/journal"
	"github.com/sluicegate/sluice/internal/objects"
	"github.com/sluicegate/sluice/internal/quota"
)

// Options say where a storage keeps its log and its content. Dir, Broker and Objects are required.
type Options struct {
	Dir     *datadir.Dir
	Broker  *journal.Broker
	Objects objects.Store // the same for all nodes of one log
	Log     *slog.Logger  // nil discards

	Workers int              // that do jobs on this node; 0: 16
	Queue   int              // jobs that may be queued before more are refused; 0: what package jobs says
	Now     func() time.Time // the clock; nil: the system's

	// Registerer gets the metrics of the jobs; nil: none.
	Registerer prometheus.Registerer

	// SnapshotEvery and AppendTimeout are those of [journal.Config], BeatEvery and ReapAfter those of [jobs.Options].
	SnapshotEvery        uint64
	AppendTimeout        time.Duration
	BeatEvery, ReapAfter time.Duration

	// CollectEvery is how often garbage is looked for that another node has left, 2 s, and SweepEvery how often blobs that nobody knows of, an hour.
	CollectEvery, SweepEvery time.Duration
}

func (o *Options) complete() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Workers <= 0 {
		o.Workers = 16
	}
	if o.CollectEvery <= 0 {
		o.CollectEvery = 2 * time.Second
	}
	if o.SweepEvery <= 0 {
		o.SweepEvery = time.Hour
	}
}

// logName names the log of the storage on a broker.
const logName = "storage"

// What Storage returns, beside the errors of the journal and the store of objects.
var (
	// ErrLost says that other nodes took this one for dead, or that it has no session yet: what it had reserved is released.
	ErrLost = errors.New("this node was taken for dead, and begins anew")

	// ErrDigest says that content has another SHA-256 than was announced.
	ErrDigest = errors.New("the content has another SHA-256 than its digest says")

	errClosed = errors.New("the storage is closed")
)

// A RefusedError says why a command had no effect.
type RefusedError struct {
	Outcome Outcome
	Asked   uint64      // bytes
	Usage   quota.Usage // of the user
}

func (e *RefusedError) Error() string {
	switch e.Outcome {
	case OverQuota:
		return fmt.Sprintf("%d bytes are more than what is left of the quota of %d: %d are used and %d reserved",
			e.Asked, e.Usage.Bytes, e.Usage.Used, e.Usage.Reserved)
	case Full:
		return "there is no room for more objects, users or reservations"
	case NotFound:
		return "there is no such object"
	case Unmet:
		return "the condition is not met"
	}
	return "the command is not valid"
}

// Storage is a node of the storage: the state machine on its journal, and the content. Make one with Open. Its methods are safe for concurrent
// use.
type Storage struct {
	opts     Options
	journal  *journal.Journal[Reply]
	state    *State
	payloads *jobs.Payloads
	jobs     *jobs.Service
	store    objects.Store
	log      *slog.Logger
	failed   atomic.Int64 // when the log last could not be written, in Unix nanoseconds; 0 if it could the last time
	metrics  metrics

	ctx     context.Context // ends when Close begins to end what runs beside requests
	cancel  context.CancelCauseFunc
	tasks   sync.WaitGroup
	garbage chan struct{} // this node made garbage
	doubts  doubts
}

// Open restores the storage from its log and opens a session of this node. It returns what [journal.Open] returns.
func Open(ctx context.Context, opts Options) (*Storage, error) {
	opts.complete()
	s := &Storage{opts: opts, store: opts.Objects, log: opts.Log, garbage: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.metrics.init()
	if err := s.open(ctx); err != nil {
		s.cancel(errClosed)
		return nil, errors.Join(err, s.closeLog())
	}
	s.jobs.Handle(Queue, jobs.HandlerFunc(s.work), opts.Workers)
	s.tasks.Go(s.collect)
	s.tasks.Go(s.sweep)
	return s, nil
}

func (s *Storage) open(ctx context.Context) (err error) {
	if s.payloads, err = jobs.OpenPayloads(s.opts.Dir.Path("payloads-" + logName)); err != nil {
		return fmt.Errorf("files for the payloads of jobs: %w", err)
	}
	s.state = NewState(s.payloads)
	s.journal, err = journal.Open(ctx, s.opts.Broker, journal.Config{
		Name: logName, Dir: s.opts.Dir, Log: s.log, SnapshotEvery: s.opts.SnapshotEvery, AppendTimeout: s.opts.AppendTimeout, MaxCommand: 128 << 10,
	}, s.state)
	if err != nil {
		return err
	}
	s.jobs, err = jobs.Open(ctx, jobs.Options{
		Log: jobLog{s}, Node: s.opts.Dir.ID(), Logger: s.log, Registerer: s.opts.Registerer, MaxQueued: s.opts.Queue, Now: s.opts.Now,
		BeatEvery: s.opts.BeatEvery, ReapAfter: s.opts.ReapAfter,
	})
	return err
}

// Close waits for the jobs that run, until ctx ends, gives the others back, and closes the journal. Requests must have ended. The broker and the
// store stay open.
func (s *Storage) Close(ctx context.Context) error {
	err := s.jobs.Close(ctx)
	if err != nil && errors.Is(err, context.Cause(ctx)) {
		s.log.Warn("jobs were cut off, other nodes or the next run go on with them")
		err = nil
	}
	s.cancel(errClosed)
	s.tasks.Wait()
	return errors.Join(err, s.closeLog())
}

func (s *Storage) closeLog() (err error) {
	if s.journal != nil {
		err = s.journal.Close()
	}
	if s.payloads != nil {
		err = errors.Join(err, s.payloads.Close())
	}
	return err
}

// Stopped is closed when the storage answers nothing any more; Err says why.
func (s *Storage) Stopped() <-chan struct{} { return s.journal.Stopped() }

// Err returns nil while the storage works.
func (s *Storage) Err() error { return s.journal.Err() }

// Status is where the log is.
func (s *Storage) Status() journal.Status { return s.journal.Status() }

// Jobs is the service of the jobs.
func (s *Storage) Jobs() *jobs.Service { return s.jobs }

// Read calls f while nothing changes. f must not change the state, or keep what it points to, but for entries.
func (s *Storage) Read(f func(*State)) error { return s.journal.Read(func() { f(s.state) }) }

// unreadyFor is for how long after a failed append a node that nobody asks anything says that it isn't ready.
const unreadyFor = 5 * time.Second

// Ready says why requests should go to another node; nil: they need not.
func (s *Storage) Ready() error {
	if err := s.Err(); err != nil {
		return err
	}
	if at := s.failed.Load(); at != 0 && time.Since(time.Unix(0, at)) < unreadyFor {
		return errors.New("the log could not be written to just now")
	}
	return nil
}

// do appends a command. Errors are those of [journal.Journal.Do].
func (s *Storage) do(ctx context.Context, cmd []byte) (Reply, error) {
	began := time.Now()
	r, err := s.journal.Do(ctx, cmd)
	switch {
	case err == nil:
		if s.failed.Load() != 0 {
			s.failed.Store(0)
		}
	case errors.Is(err, journal.ErrUnavailable):
		s.failed.Store(time.Now().UnixNano())
	}
	s.metrics.observe(kind(cmd[1]), r, err, time.Since(began))
	return r, err
}

// catchUp returns when this node has applied what is in the log.
func (s *Storage) catchUp(ctx context.Context) error {
	_, err := s.do(ctx, encodeJobs(jobs.EncodeTick(s.opts.Now())))
	return err
}

// newBlob draws the id of a blob.
func newBlob() (id BlobID) {
	rand.Read(id[:]) // never fails
	return id
}

// Find returns an object; nil if there is none. A node may be behind others, so it catches up before it says that.
func (s *Storage) Find(ctx context.Context, user, bucket, object string) (e *Entry, err error) {
	look := func(st *State) { e, _ = st.Get(user, bucket, object) }
	if err := s.Read(look); err != nil || e != nil {
		return e, err
	}
	if err := s.catchUp(ctx); err != nil {
		return nil, err
	}
	return e, s.Read(look)
}

// Content opens what an entry's blob has from offset on. If it was replaced and collected meanwhile, the error wraps [objects.ErrNotFound].
func (s *Storage) Content(ctx context.Context, e *Entry, offset, length int64) (io.ReadCloser, error) {
	return s.store.Open(ctx, keyOf(e.Blob), offset, length)
}

// Remove deletes an object. A *RefusedError says NotFound, or Unmet if the condition isn't met.
func (s *Storage) Remove(ctx context.Context, c Condition, user, bucket, object string) error {
	r, err := s.do(ctx, encodeRemove(s.opts.Now(), c, user, bucket, object))
	if err != nil {
		return err
	}
	if r.Outcome != Done {
		return &RefusedError{Outcome: r.Outcome, Usage: r.Usage}
	}
	s.wakeCollector()
	return nil
}

// SetLimits changes what a user may, or with "" what everybody may without limits of their own.
func (s *Storage) SetLimits(ctx context.Context, user string, c quota.Change) (quota.Usage, error) {
	r, err := s.do(ctx, encodeSet(s.opts.Now(), user, c))
	if err != nil {
		return quota.Usage{}, err
	}
	if r.Outcome != Done {
		return quota.Usage{}, &RefusedError{Outcome: r.Outcome, Usage: r.Usage}
	}
	return r.Usage, nil
}

// Usage returns what a user may and used, as this node knows it.
func (s *Storage) Usage(user string) (u quota.Usage, err error) {
	err = s.Read(func(st *State) { u = st.quota.Usage(user) })
	return u, err
}
