package jobs

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"time"
)

// Enqueue accepts a job: when it returns without an error the job is in the log. existed says that it is not this one but an earlier one with the
// same idempotency key, which may be forgotten meanwhile. The errors are ErrInvalid, ErrConflict (the View has the ID of the job that has the key),
// ErrFull, and those of the log; with [journal.ErrUnknown] the job may or may not be accepted, and the call may be repeated with the same Spec if that
// has an ID. A blob that no accepted job refers to is deleted.
func (s *Service) Enqueue(ctx context.Context, spec Spec) (v View, existed bool, err error) {
	now := s.now()
	if err := spec.Complete(now); err != nil {
		return View{}, false, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	cmd := EncodeEnqueue(&spec, now)
	if s.hooks.queued.Load() >= int64(s.opts.MaxQueued) && !s.knows(cmd) {
		return View{}, false, ErrFull
	}
	r, err := s.do(ctx, cmd)
	if err != nil {
		return View{}, false, err
	}
	s.metrics.enqueued(spec.Queue, r.Outcome)
	switch r.Outcome {
	case OK:
		s.notify(Event{Kind: "accepted", ID: spec.ID, Queue: spec.Queue, Tenant: spec.Tenant})
		return r.Job, false, nil
	case Existed:
		if v, err := s.view(r.Job.ID); err == nil {
			r.Job = v // with its error
		}
		return r.Job, r.Job.ID != spec.ID, nil
	case Conflict:
		return r.Job, false, ErrConflict
	case Full:
		return View{}, false, ErrFull
	default:
		return View{}, false, fmt.Errorf("%w: %s", ErrInvalid, r.Outcome)
	}
}

// knows reports whether a command that is to accept a job would find it there already.
func (s *Service) knows(cmd []byte) (known bool) {
	err := s.log.Read(func(st *State) { known = st.Knows(cmd) })
	return err == nil && known
}

func (s *Service) view(id ID) (v View, err error) {
	found := false
	if err := s.log.Read(func(st *State) { v, found = st.Get(id) }); err != nil {
		return View{}, err
	}
	if !found {
		return View{}, ErrNotFound
	}
	return v, nil
}

// catchUp returns when this node has applied what is in the log.
func (s *Service) catchUp(ctx context.Context) error {
	_, err := s.do(ctx, EncodeTick(s.now()))
	return err
}

// recent is how old a job may be, or how young, that this node may not know of yet, since other nodes are ahead of it. Of others it need not ask the
// log, which takes a command: whoever guesses ids shall not write to it.
const recent = time.Hour

// known calls f, and again when this node has caught up with the log if it returns ErrNotFound at first and the job may be new.
func (s *Service) known(ctx context.Context, id ID, f func() error) error {
	if err := f(); err != ErrNotFound || s.now().Sub(id.Time()).Abs() > recent {
		return err
	}
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	return f()
}

// Get returns a job, or ErrNotFound.
func (s *Service) Get(ctx context.Context, id ID) (v View, err error) {
	err = s.known(ctx, id, func() (err error) {
		v, err = s.view(id)
		return err
	})
	return v, err
}

// Result returns what the last attempt of a job left, without a body that is in the store of blobs; ErrNotFound if there is no such job.
func (s *Service) Result(ctx context.Context, id ID) (r Stored, err error) {
	err = s.known(ctx, id, func() (err error) {
		r, err = s.result(id)
		return err
	})
	return r, err
}

// ResultBody opens the body of a result, wherever it is. Close it.
func (s *Service) ResultBody(ctx context.Context, r *Stored) (io.ReadCloser, error) {
	if r.Blob == "" {
		return io.NopCloser(bytes.NewReader(r.Body)), nil
	}
	return s.blobs.Open(ctx, r.Blob)
}

// Payload returns the payload of a job that isn't done, or ErrNotFound.
func (s *Service) Payload(ctx context.Context, id ID) (p []byte, err error) {
	err = s.known(ctx, id, func() (err error) {
		p, err = s.payload(id)
		return err
	})
	return p, err
}

// payload reads outside of the log's lock. A record may be moved meanwhile; then it is somewhere else.
func (s *Service) payload(id ID) ([]byte, error) {
	for {
		var p piece
		var err error
		if e := s.log.Read(func(st *State) { p, err = st.payloadOf(id) }); e != nil || err != nil {
			return nil, cmp.Or(e, err)
		}
		if data, err := p.read(); !again(err) {
			return data, err
		}
	}
}

func (s *Service) result(id ID) (Stored, error) {
	for {
		var k keptResult
		var err error
		if e := s.log.Read(func(st *State) { k, err = st.resultOf(id) }); e != nil || err != nil {
			return Stored{}, cmp.Or(e, err)
		}
		if r, err := k.read(); !again(err) {
			return r, err
		}
	}
}

// Retry queues a failed job again, as if it were new, or tries one at once that waits to be tried again. The errors are ErrNotFound, ErrRefused
// for a job in another state, ErrFull, and those of the log.
func (s *Service) Retry(ctx context.Context, id ID) (View, error) {
	r, err := s.do(ctx, EncodeRetry(id, s.now()))
	if err != nil {
		return View{}, err
	}
	switch r.Outcome {
	case OK:
		s.notify(Event{Kind: "retried", ID: id, Queue: r.Job.Queue, Tenant: r.Job.Tenant})
		return r.Job, nil
	case NotFound:
		return View{}, ErrNotFound
	case Full:
		return r.Job, ErrFull
	default:
		return r.Job, fmt.Errorf("%w: it is %s", ErrRefused, r.Job.State)
	}
}

// Dead says which dead letters to purge.
type Dead struct {
	IDs       []ID          // these, which may be done too; empty: all that follow
	Queue     string        // "": of all queues
	OlderThan time.Duration // since they failed
}

// Purge forgets jobs, and returns how many there were.
func (s *Service) Purge(ctx context.Context, d Dead) (n int, err error) {
	now := s.now()
	cmds := [][]byte{}
	for len(d.IDs) > 0 {
		some := d.IDs[:min(len(d.IDs), maxPurge)]
		cmds = append(cmds, EncodePurge("", now, some, now))
		d.IDs = d.IDs[len(some):]
	}
	if len(cmds) == 0 {
		cmds = append(cmds, EncodePurge(d.Queue, now.Add(-d.OlderThan).Add(time.Millisecond), nil, now))
	}
	for _, cmd := range cmds {
		for more := true; more; {
			r, err := s.do(ctx, cmd)
			if err != nil {
				return n, err
			}
			n += r.Count
			more = r.More
		}
	}
	return n, nil
}

// Stats returns the figures of all queues that have jobs, by name.
func (s *Service) Stats() (all []QueueStats, err error) {
	now := s.now()
	err = s.log.Read(func(st *State) { all = st.Stats(now) })
	return all, err
}
