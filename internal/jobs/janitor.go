package jobs

import (
	"context"
	"io"
	"time"
)

// collect deletes blobs that the state said nobody needs.
func (s *Service) collect() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case name := <-s.garbage:
			if err := s.blobs.Delete(s.ctx, name); err != nil {
				s.logr.Warn("jobs: a blob is left for the janitor", "blob", name, "error", err)
			}
		}
	}
}

// clean deletes, now and then, the blobs that no job refers to: of nodes that died between storing a blob and accepting its job.
func (s *Service) clean() {
	every := time.NewTicker(s.opts.JanitorEvery)
	defer every.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-every.C:
		}
		if n, err := s.cleanOnce(s.ctx); err != nil && s.ctx.Err() == nil {
			s.logr.Warn("jobs: looking for blobs without a job", "deleted", n, "error", err)
		} else if n > 0 {
			s.logr.Info("jobs: deleted blobs without a job", "deleted", n)
		}
	}
}

func (s *Service) cleanOnce(ctx context.Context) (deleted int, err error) {
	all, err := s.blobs.List(ctx)
	if err != nil {
		return 0, err
	}
	var old []string
	for _, b := range all {
		if s.opts.Now().Sub(b.Modified) >= s.opts.OrphanAge {
			old = append(old, b.Name)
		}
	}
	if len(old) == 0 {
		return 0, nil
	}
	if err := s.catchUp(ctx); err != nil { // else a job that other nodes know might be missed
		return 0, err
	}
	for _, name := range old {
		needed := true
		if err := s.log.Read(func(st *State) { needed = st.HasBlob(name) }); err != nil {
			return deleted, err
		}
		if needed {
			continue
		}
		if err := s.blobs.Delete(ctx, name); err != nil {
			return deleted, err
		}
		deleted++
	}
	return deleted, nil
}

// noBlobs stands for a store of blobs where there is none.
type noBlobs struct{}

func (noBlobs) Put(context.Context, string, io.Reader, int64) (int64, error) {
	return 0, ErrBlobTooLarge
}
func (noBlobs) Open(context.Context, string) (io.ReadCloser, error) { return nil, ErrNoBlob }
func (noBlobs) Delete(context.Context, string) error                { return nil }
func (noBlobs) List(context.Context) ([]BlobInfo, error)            { return nil, nil }
