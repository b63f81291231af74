package journal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sluicegate/sluice/internal/datadir"
)

// Config says what a journal is called, where its files are and what it may hold. Zero values mean the defaults.
type Config struct {
	// Name names the log on the broker and the files in Dir: letters, digits, "-" and "_". A name and a Dir belong to
	// one open journal.
	Name string

	// Dir is the directory of this node; its ID names the node among the authors of records.
	Dir *datadir.Dir
	Log *slog.Logger

	// SnapshotEvery and SnapshotBytes are how many commands and bytes of log there may be between snapshots: 1,000,000
	// and 256 MiB.
	SnapshotEvery uint64
	SnapshotBytes uint64

	// MaxCommand is the longest command in bytes: 64 KiB, and at most 512 KiB.
	MaxCommand int

	// MaxPack and MaxPackBytes bound the commands of one append: 4096 and 256 KiB. A command that is longer goes alone.
	MaxPack      int
	MaxPackBytes int

	// Queue is how many commands may wait for the append that is under way: 4096. Past it, Do waits for room.
	Queue int

	// AppendTimeout bounds how long Do tries before it gives up: 5 s.
	AppendTimeout time.Duration

	// Replicas is how many servers of a cluster keep the log, when it is made: 3 in a cluster, else 1.
	Replicas int
}

// maxPayload is the largest message of NATS servers, unless they are told otherwise.
const maxPayload = 1 << 20

func (c *Config) complete() error {
	if c.Name == "" || strings.Trim(strings.ToLower(c.Name), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return fmt.Errorf("name %q: want letters, digits, - and _", c.Name)
	}
	c.Log = logger(c.Log)
	setDefault(&c.SnapshotEvery, 1_000_000)
	setDefault(&c.SnapshotBytes, 256<<20)
	setDefault(&c.MaxCommand, 64<<10)
	setDefault(&c.MaxPack, 4096)
	setDefault(&c.MaxPackBytes, 256<<10)
	setDefault(&c.Queue, 4096)
	setDefault(&c.AppendTimeout, 5*time.Second)
	if max(c.MaxCommand, c.MaxPackBytes) > maxPayload/2 {
		return fmt.Errorf("commands of %d and appends of %d bytes: want at most %d", c.MaxCommand, c.MaxPackBytes, maxPayload/2)
	}
	return nil
}

func setDefault[T int | uint64 | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}

// A Journal is a machine's log. Make one with Open. Its methods are safe for concurrent use.
type Journal[R any] struct {
	cfg    Config
	broker *Broker
	log    *slog.Logger
	dir    string // of snapshots and the mark
	node   nodeID
	epoch  uint64
	stream nodeID // the identity of the log
	mark   *markFile

	queue chan *call[R]
	wake  chan uint64   // asks the follower for the log up to a sequence; a sequence that is forgotten is asked for again
	due   chan struct{} // asks for a snapshot
	calls sync.Pool

	applying sync.Mutex // held while a record is applied or the machine is written; guards what follows
	state    state
	recent   recent
	expect   point     // what the mark says; zero seq once it was seen
	pending  *batch[R] // the append under way
	share    bool      // the snapshot that is due is this node's to share

	mu      sync.RWMutex // guards the machine: held to write while applying, to read in Read
	machine Machine[R]

	ctx     context.Context // ends with the journal
	cancel  context.CancelCauseFunc
	closing chan struct{} // no further commands
	close   func() error  // once
	tasks   sync.WaitGroup
	commits chan struct{} // closed when the committer has ended
}

// Open finds or makes the log, restores the newest snapshot and replays what follows. The machine must be new. It
// returns ErrDamaged, wrapped, if the log isn't what this node has answered from, and the context's error if the broker
// isn't reached in time.
func Open[R any](ctx context.Context, broker *Broker, cfg Config, machine Machine[R]) (*Journal[R], error) {
	j, err := open(ctx, broker, cfg, machine)
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", cfg.Name, err)
	}
	return j, nil
}

func open[R any](ctx context.Context, broker *Broker, cfg Config, machine Machine[R]) (*Journal[R], error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	j := &Journal[R]{
		cfg: cfg, broker: broker, machine: machine, log: cfg.Log.With("journal", cfg.Name), dir: cfg.Dir.Path("journal-" + cfg.Name),
		queue: make(chan *call[R], cfg.Queue), wake: make(chan uint64, 1), due: make(chan struct{}, 1),
		closing: make(chan struct{}), commits: make(chan struct{}), state: state{authors: map[nodeID]author{}},
	}
	if _, err := hex.Decode(j.node[:], []byte(cfg.Dir.ID())); err != nil {
		return nil, err
	}
	j.close = sync.OnceValue(j.end)
	j.calls.New = func() any { return &call[R]{done: make(chan struct{}, 1)} }
	j.ctx, j.cancel = context.WithCancelCause(context.Background())
	if err := j.recover(ctx); err != nil {
		j.cancel(errClosed)
		if j.mark != nil {
			err = errors.Join(err, j.mark.close())
		}
		return nil, err
	}
	j.start()
	return j, nil
}

// recover brings the machine to the end of the log.
func (j *Journal[R]) recover(ctx context.Context) error {
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return err
	}
	if err := removeUnfinished(j.dir); err != nil {
		return err
	}
	var last *mark
	var err error
	if j.mark, last, err = openMark(j.dir + "/mark"); err != nil {
		return err
	}
	began := time.Now()
	end, err := j.findStream(ctx, last)
	if err != nil {
		return err
	}
	if last != nil {
		j.expect = last.point
	}
	if err := j.restore(ctx, end); err != nil {
		return err
	}
	from := j.state.seq
	if err := j.replay(ctx, end.last); err != nil {
		return err
	}
	j.log.Info("restored", "snapshot", from, "sequence", j.state.seq, "commands", j.state.commands, "took", time.Since(began))
	return j.begin(last)
}

// begin starts this node's next epoch, on disk before a record carries it.
func (j *Journal[R]) begin(last *mark) error {
	j.epoch = j.state.authors[j.node].epoch
	if last != nil {
		j.epoch = max(j.epoch, last.epoch)
	}
	j.epoch++
	if err := errors.Join(j.writeMark(), j.mark.sync(), syncDir(j.dir)); err != nil {
		return fmt.Errorf("writing the mark: %w", err)
	}
	return nil
}

func (j *Journal[R]) start() {
	go func() {
		defer close(j.commits)
		j.commit()
	}()
	j.tasks.Go(j.follow)
	j.tasks.Go(j.takeSnapshots)
	j.tasks.Go(j.syncMark)
}

// Status is where a journal is.
type Status struct {
	Sequence uint64 // of the last record that was applied
	Hash     uint64 // of the state there
	Commands uint64 // that were applied since the log began
}

// Status returns where the journal is.
func (j *Journal[R]) Status() Status {
	j.applying.Lock()
	defer j.applying.Unlock()
	return Status{Sequence: j.state.seq, Hash: j.state.hash, Commands: j.state.commands}
}

// Stopped is closed when the journal answers nothing any more; Err says why.
func (j *Journal[R]) Stopped() <-chan struct{} { return j.ctx.Done() }

// Err returns nil while the journal works, and then ErrStopped, wrapped with the reason.
func (j *Journal[R]) Err() error {
	if j.ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrStopped, context.Cause(j.ctx))
}

// fail stops the journal for good.
func (j *Journal[R]) fail(err error) {
	if j.ctx.Err() == nil {
		j.log.Error("the journal stops", "error", err)
	}
	j.cancel(err)
}

// Read calls f while nothing is applied, so f sees the machine as of one moment, with all that was answered by this node
// before the call. Any number of reads go on at once; f must not change the machine, and keeps commands waiting.
func (j *Journal[R]) Read(f func()) error {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if err := j.Err(); err != nil {
		return err
	}
	f()
	return nil
}

// Close answers what is under way, refuses the rest and leaves the files in order. The broker stays open.
func (j *Journal[R]) Close() error { return j.close() }

func (j *Journal[R]) end() error {
	close(j.closing)
	<-j.commits
	j.cancel(errClosed)
	j.tasks.Wait()
	return j.mark.close()
}

// syncMark keeps the mark on disk at most a second behind.
func (j *Journal[R]) syncMark() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-j.ctx.Done():
			return
		case <-tick.C:
		}
		if err := j.mark.sync(); err != nil {
			j.log.Warn("the mark can't be synced", "error", err)
		}
	}
}
