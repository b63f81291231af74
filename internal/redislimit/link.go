package redislimit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// ErrUnavailable is wrapped by every error that means that Redis gave no answer: what it would have decided isn't known, and whether it
// did. The caller decides by itself (open, closed, or its share of the limit).
var ErrUnavailable = errors.New("redis is not available")

// Kinds of ErrUnavailable.
var (
	errOpen    = fmt.Errorf("%w: it failed lately", ErrUnavailable)
	errTimeout = fmt.Errorf("%w: no answer in time", ErrUnavailable)
	errFull    = fmt.Errorf("%w: too many calls are waiting", ErrUnavailable)
	errClosed  = fmt.Errorf("%w: the link is closed", ErrUnavailable)
)

// Config says how to reach Redis. Zero values are the defaults.
type Config struct {
	// Options address a server, a cluster or sentinels, as in redis.NewUniversalClient. Timeouts and retries in it are replaced.
	Options redis.UniversalOptions
	// Prefix begins every key. It must hold a hash tag if Redis is a cluster. Default "sluice:{limits}:".
	Prefix string
	// Timeout is how long a decision waits for Redis. Default 4 ms.
	Timeout time.Duration
	// Pipelines is how many batches may be under way at once. Default 2.
	Pipelines int
	// Node is this node's name among the others; it must be unique. Default a random one.
	Node string
	// Clock is the node's monotonic clock, since any start. Default the process's. What it shows doesn't matter, only how fast it goes.
	Clock func() time.Duration
}

const (
	maxBatch   = 256                    // calls in one pipeline
	maxWaiting = 16_384                 // calls that wait for a pipeline
	ioTimeout  = 100 * time.Millisecond // of a pipeline, or Timeout: longer than a decision waits, so that a slow answer isn't for nothing
	probeEvery = 50 * time.Millisecond  // how often an open breaker asks whether Redis is back
)

// A Link is a node's connection to Redis, with a breaker. It is safe for concurrent use.
type Link struct {
	client  redis.UniversalClient
	scripts scripts
	prefix  string
	node    string
	timeout time.Duration // of a decision
	patient time.Duration // of a pipeline
	clock   func() time.Duration
	breaker breaker
	stats   linkStats
	calls   chan *call
	members members
	ctx     context.Context
	stop    context.CancelFunc
	owned   sync.WaitGroup

	closing sync.RWMutex // held for reading to queue a call, so that none is queued after Close has emptied the queue
	closed  bool         // guarded by closing
}

// Open returns a link and starts its goroutines; it doesn't wait for Redis to be there. Close stops them.
func Open(c Config) *Link {
	ctx, stop := context.WithCancel(context.Background())
	if c.Timeout == 0 {
		c.Timeout = 4 * time.Millisecond
	}
	patient := max(ioTimeout, c.Timeout)
	l := &Link{
		client: redis.NewUniversalClient(universal(c.Options, patient)), scripts: newScripts(),
		prefix: c.Prefix, node: c.Node, timeout: c.Timeout, patient: patient, clock: c.Clock,
		calls: make(chan *call, maxWaiting), ctx: ctx, stop: stop,
	}
	l.breaker.wake = make(chan struct{}, 1)
	l.members.changed = make(chan struct{}, 1)
	if l.prefix == "" {
		l.prefix = "sluice:{limits}:"
	}
	if l.node == "" {
		l.node = randomName()
	}
	if l.clock == nil {
		start := time.Now()
		l.clock = func() time.Duration { return time.Since(start) }
	}
	if c.Pipelines == 0 {
		c.Pipelines = 2
	}
	for range c.Pipelines {
		l.owned.Go(l.flush)
	}
	l.owned.Go(l.beats)
	l.owned.Go(l.probe)
	return l
}

// universal returns options with what the link relies on: no retries, because an exchange must not be carried out twice, and deadlines kept.
func universal(o redis.UniversalOptions, patient time.Duration) *redis.UniversalOptions {
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = patient, patient, patient
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return &o
}

// Close says farewell to the other nodes, stops the goroutines and waits for them. Leases must be closed before.
func (l *Link) Close() error {
	l.leave()
	l.closing.Lock()
	l.closed = true
	l.closing.Unlock()
	l.stop()
	l.owned.Wait()
	for len(l.calls) > 0 {
		c := <-l.calls
		c.done(nil, errClosed)
	}
	return l.client.Close()
}

// Available reports whether Redis answered lately, as far as this node knows.
func (l *Link) Available() bool { return !l.breaker.open() }

// A call is one run of a script. done is called exactly once, on a goroutine of the link, and must not block.
type call struct {
	script *script
	keys   []string
	args   []any
	done   func(reply []int64, err error)
}

// submit queues a call. With an error it is not queued and done is not called.
func (l *Link) submit(c *call) error {
	if l.breaker.open() {
		l.stats.errors[kindOpen].Add(1)
		return errOpen
	}
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return errClosed
	}
	select {
	case l.calls <- c:
		return nil
	default:
		l.stats.errors[kindFull].Add(1)
		return errFull
	}
}

// flush sends what waits as one pipeline, again and again. While one is under way the next calls gather.
func (l *Link) flush() {
	for {
		select {
		case <-l.ctx.Done():
			return
		case first := <-l.calls:
			l.send(l.gather(first))
		}
	}
}

func (l *Link) gather(first *call) []*call {
	batch := []*call{first}
	for len(batch) < maxBatch {
		select {
		case c := <-l.calls:
			batch = append(batch, c)
		default:
			return batch
		}
	}
	return batch
}

// send runs a batch. Redis may have forgotten the scripts (a restart, SCRIPT FLUSH): those calls were not carried out and go again, the first
// of each script with its source.
func (l *Link) send(batch []*call) {
	if l.breaker.open() { // these waited while others found out
		fail(batch, errOpen)
		return
	}
	started := time.Now()
	results := l.exec(batch, nil)
	if missing := forgotten(batch, results); len(missing) > 0 {
		l.stats.reloads.Add(1)
		results = replaceForgotten(results, l.exec(missing, map[*script]bool{}))
	}
	l.stats.latency.observe(time.Since(started))
	l.learn(results, len(batch))
	for i, c := range batch {
		c.done(l.result(results[i]))
	}
}

func fail(batch []*call, err error) {
	for _, c := range batch {
		c.done(nil, err)
	}
}

// exec sends one pipeline. If loaded is not nil, a script that isn't in it is sent with its source.
func (l *Link) exec(batch []*call, loaded map[*script]bool) []*redis.Cmd {
	ctx, cancel := context.WithTimeout(l.ctx, l.patient)
	defer cancel()
	pipe := l.client.Pipeline()
	results := make([]*redis.Cmd, len(batch))
	for i, c := range batch {
		if loaded == nil || loaded[c.script] {
			results[i] = pipe.EvalSha(ctx, c.script.sha, c.keys, c.args...)
			continue
		}
		loaded[c.script] = true
		results[i] = pipe.Eval(ctx, c.script.source, c.keys, c.args...)
	}
	l.stats.roundTrips.Add(1)
	l.stats.calls.Add(uint64(len(batch)))
	_, _ = pipe.Exec(ctx) // every result has its error
	return results
}

func isForgotten(r *redis.Cmd) bool {
	return r.Err() != nil && strings.HasPrefix(r.Err().Error(), "NOSCRIPT")
}

func forgotten(batch []*call, results []*redis.Cmd) (missing []*call) {
	for i, r := range results {
		if isForgotten(r) {
			missing = append(missing, batch[i])
		}
	}
	return missing
}

func replaceForgotten(results, again []*redis.Cmd) []*redis.Cmd {
	for i, r := range results {
		if isForgotten(r) {
			results[i], again = again[0], again[1:]
		}
	}
	return results
}

// learn tells the breaker how a batch went.
func (l *Link) learn(results []*redis.Cmd, n int) {
	for _, r := range results {
		if !unavailable(r.Err()) {
			l.breaker.succeed()
			return
		}
	}
	l.breaker.fail(n)
}

// result returns a call's reply.
func (l *Link) result(r *redis.Cmd) ([]int64, error) {
	if err := r.Err(); err != nil {
		l.stats.errors[kindOf(err)].Add(1)
		if unavailable(err) {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return nil, fmt.Errorf("redis: %w", err)
	}
	reply, err := r.Int64Slice()
	if err != nil {
		return nil, fmt.Errorf("redis: unexpected reply: %w", err)
	}
	return reply, nil
}

// refusals are the answers of a Redis that can't do its work now.
var refusals = []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "OOM", "NOREPLICAS", "MISCONF", "NOAUTH", "ERR max number of clients"}

// unavailable reports whether err means that Redis doesn't work, and not that this one call was wrong.
func unavailable(err error) bool {
	var answer redis.Error
	if err == nil {
		return false
	}
	if !errors.As(err, &answer) {
		return true
	}
	for _, refusal := range refusals {
		if strings.HasPrefix(answer.Error(), refusal) {
			return true
		}
	}
	return false
}

type outcome struct {
	reply []int64
	err   error
}

// do runs calls and waits for their replies, at most as long as a decision may take. It returns the last reply, or an error.
func (l *Link) do(ctx context.Context, calls ...*call) (reply []int64, err error) {
	answers := make(chan outcome, len(calls))
	for _, c := range calls {
		c.done = func(reply []int64, err error) { answers <- outcome{reply, err} }
		if err := l.submit(c); err != nil {
			return nil, err
		}
	}
	timer := time.NewTimer(l.timeout)
	defer timer.Stop()
	for range calls {
		select {
		case o := <-answers:
			if o.err != nil {
				return nil, o.err
			}
			reply = o.reply
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		case <-timer.C:
			l.late()
			return nil, errTimeout
		}
	}
	return reply, nil
}

// late notes that somebody waited in vain.
func (l *Link) late() {
	l.stats.errors[kindTimeout].Add(1)
	l.breaker.fail(1)
}
