package storage

import (
	"context"
	"errors"
	"io"

	"github.com/sluicegate/sluice/internal/journal"
	"github.com/sluicegate/sluice/internal/quota"
)

// An Upload is content on its way into the storage.
type Upload struct {
	User, Bucket, Object string
	ContentType          string
	FileName             string // "" none
	Length               uint64
	SHA256               *[32]byte // that the content must have; nil: any
	Condition            Condition // about what is there, decided when everything has arrived, and before as well
}

// Put stores an object. The bytes are reserved before body is read, and given back if it isn't stored. The error is a *RefusedError (OverQuota,
// Full, or Unmet), [ErrDigest], [ErrLost], one of the store's or of body's, or one of the journal: with [journal.ErrUnknown] the object
// may or may not be stored.
func (s *Storage) Put(ctx context.Context, u *Upload, body io.Reader) (Reply, error) {
	if err := s.precheck(ctx, u); err != nil {
		return Reply{}, err
	}
	blob := newBlob()
	if err := s.reserve(ctx, blob, u); err != nil {
		return Reply{}, err
	}
	s.metrics.uploads.Inc()
	defer s.metrics.uploads.Dec()
	info, err := s.store.Put(ctx, keyOf(blob), body, int64(u.Length), int64(u.Length))
	if err == nil && u.SHA256 != nil && *u.SHA256 != info.SHA256 {
		err = ErrDigest
	}
	if err != nil {
		s.release(blob)
		return Reply{}, err
	}
	s.metrics.received.Add(float64(info.Size))
	return s.commit(ctx, u, &Entry{
		Bucket: u.Bucket, Object: u.Object, ContentType: u.ContentType, FileName: u.FileName,
		Blob: blob, Size: u.Length, Length: u.Length, SHA256: info.SHA256,
	})
}

// precheck finds a condition that isn't met before anything is sent. It catches up before it says so.
func (s *Storage) precheck(ctx context.Context, u *Upload) error {
	if u.Condition.Kind == Always {
		return nil
	}
	met := false
	look := func(st *State) {
		e, _ := st.Get(u.User, u.Bucket, u.Object)
		met = u.Condition.holds(e)
	}
	if err := s.Read(look); err != nil || met {
		return err
	}
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	if err := s.Read(look); err != nil || met {
		return err
	}
	return &RefusedError{Outcome: Unmet}
}

func (s *Storage) reserve(ctx context.Context, blob BlobID, u *Upload) error {
	hold := quota.Reservation{ID: blob, User: u.User, Bytes: u.Length, Session: s.jobs.Session()}
	r, err := s.do(ctx, encodeReserve(s.opts.Now(), hold))
	switch {
	case errors.Is(err, journal.ErrUnknown):
		s.doubts.add(blob)
		return err
	case err != nil:
		return err
	case r.Outcome == NoSession:
		return ErrLost
	case r.Outcome != Done:
		return &RefusedError{Outcome: r.Outcome, Asked: u.Length, Usage: r.Usage}
	}
	return nil
}

// commit makes an entry of a reservation whose blob is there.
func (s *Storage) commit(ctx context.Context, u *Upload, e *Entry) (Reply, error) {
	r, err := s.do(ctx, encodePut(s.opts.Now(), u.Condition, e))
	switch {
	case err != nil: // it may be applied yet, so the blob stays until that is known
		s.doubts.add(e.Blob)
		return Reply{}, err
	case r.Outcome == NotFound: // the reservation was this node's session's
		s.delete(e.Blob)
		return Reply{}, ErrLost
	case r.Outcome == Invalid:
		s.release(e.Blob)
	}
	if r.Outcome != Done {
		s.wakeCollector()
		return Reply{}, &RefusedError{Outcome: r.Outcome, Asked: u.Length, Usage: r.Usage}
	}
	if r.Old != nil {
		s.wakeCollector()
	}
	return r, nil
}

// release ends a reservation that nothing came of, now or, if the log can't be written to, later. The client may have gone: that is no reason not to.
func (s *Storage) release(blob BlobID) {
	if _, err := s.do(context.Background(), encodeRelease(s.opts.Now(), blob)); err != nil {
		s.doubts.add(blob)
	}
	s.wakeCollector()
}

// delete deletes a blob that no entry has and no reservation is for. If that fails, the sweep finds it.
func (s *Storage) delete(blob BlobID) {
	if err := s.store.Delete(context.Background(), keyOf(blob)); err != nil {
		s.log.Warn("a blob that was stored in vain can't be deleted now", "blob", keyOf(blob), "error", err)
	}
}
