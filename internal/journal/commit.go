package journal

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A call is a command whose sender waits.
type call[R any] struct {
	command []byte // a copy: a sender that leaves may use its own again
	state   atomic.Int32
	reply   R
	err     error
	done    chan struct{} // gets one value
}

// States of a call.
const (
	callQueued = iota
	callTaken  // by the committer
	callLeft   // by its sender, before the committer took it
)

// Do appends a command, and returns what the machine replied when it was applied. cmd may be used again when Do returns.
// See the package documentation for errors.
func (j *Journal[R]) Do(ctx context.Context, cmd []byte) (R, error) {
	var none R
	if len(cmd) > j.cfg.MaxCommand {
		return none, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(cmd), j.cfg.MaxCommand)
	}
	c := j.calls.Get().(*call[R])
	c.command = append(c.command[:0], cmd...)
	c.state.Store(callQueued)
	if err := j.enqueue(ctx, c); err != nil {
		return none, err
	}
	if err := j.await(ctx, c); err != nil {
		return none, err
	}
	reply, err := c.reply, c.err
	c.reply, c.err = none, nil
	j.calls.Put(c)
	return reply, err
}

func (j *Journal[R]) enqueue(ctx context.Context, c *call[R]) error {
	select {
	case j.queue <- c:
		return nil
	default:
	}
	timer := time.NewTimer(j.cfg.AppendTimeout)
	defer timer.Stop()
	select {
	case j.queue <- c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-j.ctx.Done():
		return j.Err()
	case <-timer.C:
		return fmt.Errorf("%w: %d commands are waiting", ErrUnavailable, j.cfg.Queue)
	}
}

// await returns an error if the sender leaves before the call is done; the call isn't its own then.
func (j *Journal[R]) await(ctx context.Context, c *call[R]) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		if c.state.CompareAndSwap(callQueued, callLeft) {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w: %w", ErrUnknown, context.Cause(ctx))
	case <-j.ctx.Done():
		if c.state.CompareAndSwap(callQueued, callLeft) {
			return j.Err()
		}
	}
	<-c.done // the committer took it, so it answers
	return nil
}

// A batch is the calls of one record.
type batch[R any] struct {
	identity
	calls []*call[R]
	data  []byte
	done  chan struct{} // gets a value when the calls were answered from the log
}

// committer is what the one goroutine that appends keeps between appends.
type committer[R any] struct {
	j      *Journal[R]
	batch  batch[R]
	held   *call[R] // didn't fit into the last batch
	number uint64
}

// commit appends until the journal is closed.
func (j *Journal[R]) commit() {
	c := &committer[R]{j: j, batch: batch[R]{done: make(chan struct{}, 1)}}
	for c.gather() {
		if err := j.Err(); err != nil {
			c.answer(err)
			continue
		}
		c.append()
	}
}

// gather takes the commands that wait, at least one. It returns false when the journal is closed and none is left.
func (c *committer[R]) gather() bool {
	b := &c.batch
	b.calls, b.data = b.calls[:0], startRecord(b.data[:0])
	if c.held != nil {
		c.put(c.held)
		c.held = nil
	}
	for len(b.calls) == 0 {
		select {
		case call := <-c.j.queue:
			c.take(call)
			continue
		default:
		}
		select {
		case call := <-c.j.queue:
			c.take(call)
		case <-c.j.closing:
			return false
		}
	}
	for c.held == nil && len(b.calls) < c.j.cfg.MaxPack {
		select {
		case call := <-c.j.queue:
			c.take(call)
		default:
			return true
		}
	}
	return true
}

// take puts a call into the batch, or holds it for the next. A call whose sender left is dropped.
func (c *committer[R]) take(call *call[R]) {
	if !call.state.CompareAndSwap(callQueued, callTaken) {
		return
	}
	size := len(c.batch.data) + commandHeader + len(call.command)
	if len(c.batch.calls) > 0 && size > c.j.cfg.MaxPackBytes {
		c.held = call
		return
	}
	c.put(call)
}

func (c *committer[R]) put(call *call[R]) {
	c.batch.calls = append(c.batch.calls, call)
	c.batch.data = appendCommand(c.batch.data, call.command)
}

// append brings the batch into the log, and returns when its calls were answered.
func (c *committer[R]) append() {
	j, b := c.j, &c.batch
	c.number++
	b.identity = identity{node: j.node, epoch: j.epoch, number: c.number}
	j.applying.Lock()
	base := j.state.point
	j.pending = b
	j.applying.Unlock()
	finishRecord(b.data, b.identity, base, len(b.calls))

	ctx, cancel := context.WithTimeout(j.ctx, j.cfg.AppendTimeout)
	defer cancel()
	err := c.persist(ctx)
	if !c.withdraw() {
		<-b.done // answered from the log
		return
	}
	if err == nil {
		j.fail(damaged("the log gave a record a sequence that it had given before; %s", adviceDamage))
	}
	if stopped := j.Err(); stopped != nil {
		err = fmt.Errorf("%w: %w", stopped, ErrUnknown)
	}
	c.answer(err)
	c.shed(err)
}

// shed refuses what waited behind an append that failed, so that nobody waits for one such append after the other.
func (c *committer[R]) shed(cause error) {
	c.batch.calls = c.batch.calls[:0]
	if c.held != nil {
		c.batch.calls = append(c.batch.calls, c.held)
		c.held = nil
	}
	for range len(c.j.queue) {
		if call := <-c.j.queue; call.state.CompareAndSwap(callQueued, callTaken) {
			c.batch.calls = append(c.batch.calls, call)
		}
	}
	c.answer(fmt.Errorf("%w: an append before it failed: %v", ErrUnavailable, cause))
}

// withdraw gives the batch up, unless it was answered. If its record turns up in the log later, it is applied then, with
// nobody to tell.
func (c *committer[R]) withdraw() bool {
	c.j.applying.Lock()
	defer c.j.applying.Unlock()
	if c.j.pending != &c.batch {
		return false
	}
	c.j.pending = nil
	return true
}

func (c *committer[R]) answer(err error) {
	for _, call := range c.batch.calls {
		call.err = err
		call.done <- struct{}{}
	}
}

// persist sends the record, again and again under the same identity, until it was applied or ctx ends. Its error says
// whether the record may be in the log.
func (c *committer[R]) persist(ctx context.Context) error {
	refused := true // every attempt so far
	for attempt := 1; ; attempt++ {
		seq, err := c.j.publish(ctx, c.batch.data)
		if err == nil {
			return c.settle(ctx, seq)
		}
		refused = refused && definite(err)
		c.j.repair(ctx, err)
		select {
		case <-c.batch.done: // the reply was lost, and the follower saw the record
			c.batch.done <- struct{}{}
			return nil
		case <-ctx.Done():
			if refused {
				return fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
			return fmt.Errorf("%w: %w: %w", ErrUnavailable, ErrUnknown, err)
		case <-time.After(min(time.Duration(attempt)*20*time.Millisecond, 250*time.Millisecond)):
		}
	}
}

// settle applies the record, which the log has at seq. If others come before it, the follower does.
func (c *committer[R]) settle(ctx context.Context, seq uint64) error {
	applied, err := c.j.applyNext(seq, c.batch.data)
	if err != nil || applied {
		return err
	}
	for {
		c.j.askFor(seq)
		select {
		case <-c.batch.done:
			c.batch.done <- struct{}{}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%w: %w: the log isn't readable up to sequence %d", ErrUnavailable, ErrUnknown, seq)
		case <-time.After(100 * time.Millisecond): // the follower may have been asked by an earlier append
		}
	}
}

// repair gives the broker the chance to recover from what made an attempt fail, the last one if ctx has ended.
func (j *Journal[R]) repair(ctx context.Context, cause error) {
	if j.ctx.Err() != nil {
		return
	}
	if err := j.broker.repair(cause, ctx.Err() != nil); err != nil {
		j.fail(err)
	}
}

// attempts is how many replies AppendTimeout has time for.
const attempts = 4

// publish returns the sequence that the log gave the record.
func (j *Journal[R]) publish(ctx context.Context, data []byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, j.cfg.AppendTimeout/attempts)
	defer cancel()
	ack, err := j.broker.stream().Publish(ctx, j.subject(), data, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	if ack.Stream != j.streamName() {
		err := damaged("the subject %s belongs to the stream %s", j.subject(), ack.Stream)
		j.fail(err)
		return 0, err
	}
	return ack.Sequence, nil
}

// definite reports whether an attempt that failed so has not stored anything, and never will.
func definite(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, nats.ErrReconnectBufExceeded) // a connection that was closed may have sent it before
}
