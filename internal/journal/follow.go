package journal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func (j *Journal[R]) streamName() string { return "SLUICE_" + j.cfg.Name }
func (j *Journal[R]) subject() string    { return "sluice.journal." + j.cfg.Name }

// metaStream is the key of the log's identity in the stream's metadata.
const metaStream = "sluice-journal"

// extent is the first and last sequence that the log has.
type extent struct{ first, last uint64 }

// findStream looks the log up, or makes it if this node never had one. It waits for a broker that isn't there.
func (j *Journal[R]) findStream(ctx context.Context, last *mark) (extent, error) {
	var since time.Time
	for {
		e, err := j.tryStream(ctx, last)
		if err = j.patient(err, &since); err == nil || errors.Is(err, ErrDamaged) || !temporary(err) {
			return e, err
		}
		if ended := pause(ctx, 100*time.Millisecond); ended != nil {
			return extent{}, fmt.Errorf("%w: %w", ended, err)
		}
	}
}

func (j *Journal[R]) tryStream(ctx context.Context, last *mark) (extent, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := j.broker.fit(); err != nil {
		return extent{}, err
	}
	js := j.broker.stream()
	s, err := js.Stream(ctx, j.streamName())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if snapshots, err := listSnapshots(j.dir); err != nil || last != nil && last.seq > 0 || len(snapshots) > 0 {
			return extent{}, errors.Join(damaged("the broker has no stream %s, and this node has used one", j.streamName()), err)
		}
		s, err = j.createStream(ctx, js)
	}
	if err != nil {
		return extent{}, err
	}
	info := s.CachedInfo()
	if err := j.checkStream(info, last); err != nil {
		return extent{}, err
	}
	return extent{first: info.State.FirstSeq, last: info.State.LastSeq}, nil
}

func (j *Journal[R]) createStream(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	replicas, err := j.replicas()
	if err != nil {
		return nil, err
	}
	s, err := js.CreateStream(ctx, j.streamConfig(replicas))
	if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return s, err
	}
	s, err = js.Stream(ctx, j.streamName()) // another node was faster
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, errStreamComing
	}
	return s, err
}

// errStreamComing passes by itself: a cluster has given the name away, and its servers don't have the stream yet.
var errStreamComing = errors.New("another node is making the log")

func (j *Journal[R]) replicas() (int, error) {
	if j.cfg.Replicas > 0 {
		return j.cfg.Replicas, nil
	}
	return j.broker.replicas()
}

func (j *Journal[R]) streamConfig(replicas int) jetstream.StreamConfig {
	var id nodeID
	rand.Read(id[:]) // never fails
	return jetstream.StreamConfig{
		Name: j.streamName(), Subjects: []string{j.subject()}, Description: "the commands of " + j.cfg.Name,
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		Replicas: replicas, DenyDelete: true, Duplicates: 100 * time.Millisecond, // the least; it isn't used
		Metadata: map[string]string{metaStream: hex.EncodeToString(id[:])},
	}
}

// checkStream checks that the log is the one that this node knows, and as long as when it was last here.
func (j *Journal[R]) checkStream(info *jetstream.StreamInfo, last *mark) error {
	c := info.Config
	if id, err := hex.DecodeString(c.Metadata[metaStream]); err != nil || len(id) != len(j.stream) {
		return damaged("the stream %s was not made by a journal", c.Name)
	} else {
		j.stream = nodeID(id)
	}
	if forgets(c) {
		return damaged("the stream %s is configured to forget", c.Name)
	}
	if last == nil {
		return nil
	}
	if last.stream != j.stream {
		return damaged("the stream %s is another one than this node has used", c.Name)
	}
	if last.seq > info.State.LastSeq {
		return j.suspect("the log ends at sequence %d, and this node had applied %d: what was answered is lost; %s",
			info.State.LastSeq, last.seq, adviceDamage)
	}
	return nil
}

// forgets reports whether a stream drops messages by itself.
func forgets(c jetstream.StreamConfig) bool {
	return c.MaxAge != 0 || c.MaxMsgs > 0 || c.MaxBytes > 0 && c.Discard != jetstream.DiscardNew ||
		c.Storage != jetstream.FileStorage || c.Retention != jetstream.LimitsPolicy
}

// suspect makes an error of what is damage if the broker knows all there is to know.
func (j *Journal[R]) suspect(format string, args ...any) error {
	if j.broker.embedded() {
		return damaged(format, args...)
	}
	return fmt.Errorf("%w: %s", errSuspect, fmt.Sprintf(format, args...))
}

// patient turns a suspicion into damage when it is older than two appends may take.
func (j *Journal[R]) patient(err error, since *time.Time) error {
	if !errors.Is(err, errSuspect) {
		return err
	}
	if since.IsZero() {
		*since = time.Now()
	}
	if time.Since(*since) < 2*j.cfg.AppendTimeout {
		return err
	}
	return damaged("%w", err)
}

// follow applies what others append. In an embedded log nobody else does, so it waits to be asked for what this node
// can't place.
func (j *Journal[R]) follow() {
	for j.ctx.Err() == nil {
		until := uint64(math.MaxUint64)
		if j.broker.embedded() {
			select {
			case <-j.ctx.Done():
				return
			case until = <-j.wake:
			}
		}
		j.followUntil(until)
	}
}

func (j *Journal[R]) followUntil(until uint64) {
	var since time.Time
	for {
		before := j.Status().Sequence
		if j.ctx.Err() != nil || before >= until {
			return
		}
		err := j.tail(j.ctx, until, idleTail)
		if j.Status().Sequence > before {
			since = time.Time{}
		}
		if err = j.patient(err, &since); errors.Is(err, ErrDamaged) {
			j.fail(err)
			return
		}
		if err != nil {
			j.log.Debug("reading the log", "error", err)
			pause(j.ctx, retryRead)
		}
	}
}

func (j *Journal[R]) askFor(seq uint64) {
	select {
	case j.wake <- seq:
	default:
	}
}

// replay applies the log up to a sequence, before the journal starts.
func (j *Journal[R]) replay(ctx context.Context, until uint64) error {
	var since time.Time
	for failures := 0; j.Status().Sequence < until; failures++ {
		before := j.Status().Sequence
		err := j.patient(j.tail(ctx, until, replayStall), &since)
		switch {
		case errors.Is(err, ErrDamaged), errors.Is(err, ErrStopped):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case j.Status().Sequence > before:
			failures, since = 0, time.Time{}
		case failures >= replayFailures && !errors.Is(err, errSuspect):
			return damaged("sequence %d of the log can't be read: %v; %s", before+1, err, adviceDamage)
		case err != nil:
			pause(ctx, retryRead)
		}
	}
	return nil
}

const (
	idleTail       = 10 * time.Second       // until a follower that hears nothing looks whether it should
	replayStall    = 500 * time.Millisecond // without a record that is known to be there
	replayFailures = 10
	retryRead      = 50 * time.Millisecond
	tailMessages   = 512
	tailBytes      = 8 << 20
)

// tail applies the log from where this node is, up to a sequence, an error, or so long a silence.
func (j *Journal[R]) tail(ctx context.Context, until uint64, silence time.Duration) error {
	next := j.Status().Sequence + 1
	attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	consumer, err := j.broker.stream().CreateConsumer(attempt, j.streamName(), jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: next, AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return err
	}
	defer j.forget(consumer)
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(tailMessages, tailBytes),
		jetstream.PullExpiry(5*time.Second), jetstream.PullHeartbeat(time.Second))
	if err != nil {
		return err
	}
	defer messages.Stop()
	return j.applyAll(ctx, messages, until, silence)
}

// forget removes a consumer, which would otherwise go by itself after a minute.
func (j *Journal[R]) forget(consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := j.broker.stream().DeleteConsumer(ctx, j.streamName(), consumer.CachedInfo().Name); err != nil {
		j.log.Debug("removing a consumer", "error", err)
	}
}

func (j *Journal[R]) applyAll(ctx context.Context, messages jetstream.MessagesContext, until uint64, silence time.Duration) error {
	var delivered uint64
	for {
		wait, cancel := context.WithTimeout(ctx, silence)
		m, err := messages.Next(jetstream.NextContext(wait))
		cancel()
		if err != nil {
			before := j.Status().Sequence
			if found := j.probe(ctx); found != nil {
				return found
			}
			if errors.Is(err, context.DeadlineExceeded) && j.Status().Sequence == before {
				continue // nothing was appended
			}
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if delivered++; meta.Sequence.Consumer != delivered {
			return fmt.Errorf("message %d of the consumer comes after %d", meta.Sequence.Consumer, delivered-1)
		}
		applied, err := j.applyNext(meta.Sequence.Stream, m.Data())
		if err != nil {
			return err
		}
		if !applied {
			return j.probe(ctx)
		}
		if meta.Sequence.Stream >= until {
			return nil
		}
	}
}

// probe finds out why the next record doesn't come: it isn't there yet, it was purged, or it is lost.
func (j *Journal[R]) probe(parent context.Context) error {
	ctx, cancel := context.WithTimeout(parent, 5*time.Second)
	defer cancel()
	next := j.Status().Sequence + 1
	s, err := j.broker.stream().Stream(ctx, j.streamName())
	if err != nil {
		return err
	}
	state := s.CachedInfo().State
	switch {
	case next > state.LastSeq && state.LastSeq+1 < next:
		return j.suspect("the log ends at sequence %d, and this node has applied %d; %s", state.LastSeq, next-1, adviceDamage)
	case next > state.LastSeq:
		return nil
	case next < state.FirstSeq:
		return j.restoreShared(parent, state.FirstSeq)
	}
	m, err := s.GetMsg(ctx, next)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		if j.Status().Sequence >= next {
			return nil // it came meanwhile, and was purged
		}
		return j.suspect("sequence %d of the log is missing; %s", next, adviceDamage)
	}
	if err != nil {
		return err
	}
	_, err = j.applyNext(next, m.Data)
	return err
}

// pause waits for d, or for the end of ctx, whose error it returns.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
