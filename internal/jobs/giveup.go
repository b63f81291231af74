package jobs

import (
	"context"
	"fmt"
)

// cancel makes a queued job a dead letter.
func (s *State) cancel(c *command, r *Reply) {
	i := s.find(&c.id)
	if i == 0 {
		r.Outcome = NotFound
		return
	}
	if v := s.rows.at(i); v.phase == Queued {
		s.die(i, v, rowCancelled, r)
	} else {
		r.Outcome = Refused
	}
	r.Job = s.view(i)
}

// Cancel fails a job that is queued. The errors are ErrNotFound, ErrRefused for a job in another state, which the View has, and those of the log.
func (s *Service) Cancel(ctx context.Context, id ID) (View, error) {
	r, err := s.do(ctx, EncodeCancel(id, s.now()))
	switch {
	case err != nil:
		return View{}, err
	case r.Outcome == NotFound:
		return View{}, ErrNotFound
	case r.Outcome != OK:
		return r.Job, fmt.Errorf("%w: it is %s", ErrRefused, r.Job.State)
	}
	if v, err := s.view(id); err == nil {
		r.Job = v // with its error
	}
	return r.Job, nil
}

// Blob returns the name of a job's large body, "" without one, and its size in bytes; or ErrNotFound. A job that is done has none.
func (s *Service) Blob(ctx context.Context, id ID) (name string, size int64, err error) {
	err = s.known(ctx, id, func() error {
		found := false
		if err := s.log.Read(func(st *State) {
			if i := st.find(&id); i != 0 {
				found, name, size = true, st.blobs[i].request, st.blobs[i].requestSize
			}
		}); err != nil {
			return err
		}
		if !found {
			return ErrNotFound
		}
		return nil
	})
	return name, size, err
}

// Unhandle ends what Handle began: nothing more is claimed of the queue, what was not begun is given back, and attempts under way go on to their end.
// Then, or at once, the queue may be handled anew.
func (s *Service) Unhandle(queue string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.queues[queue]; d != nil {
		delete(s.queues, queue)
		close(d.stop)
	}
}

// stopped reports whether the dispatcher is to claim nothing more. What would have woken it may be for another, then.
func (d *dispatcher) stopped() bool {
	select {
	case <-d.stop:
		signal(d.wake)
		return true
	default:
		return false
	}
}
