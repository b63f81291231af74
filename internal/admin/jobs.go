package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/internal/jobs"
)

// A JobRequest is what a job keeps of the request that it is to send.
type JobRequest struct {
	Method      string `json:"method"`
	Target      string `json:"target"`
	Host        string `json:"host"`
	ContentType string `json:"content_type,omitempty"`
	Bytes       int64  `json:"bytes"` // of the body

	Body func(ctx context.Context) (io.ReadCloser, error) `json:"-"`
}

// jobInfo is a job as operators see it.
type jobInfo struct {
	jobs.View
	Owner   string      `json:"owner"`
	Request *JobRequest `json:"request,omitempty"`
}

// jobEndpoints are there also where there are no jobs, to say so.
func (s *Server) jobEndpoints() []endpoint {
	return []endpoint{
		{"GET", "/api/v1/jobs", "jobs: accepted, and done later", s.withJobs(s.listJobs)},
		{"GET", "/api/v1/jobs/stats", "how many there are of each queue", s.withJobs(s.jobStats)},
		{"POST", "/api/v1/jobs/purge", "forget dead letters", s.withJobs(s.purgeJobs)},
		{"GET", "/api/v1/jobs/{id}", "one of them", s.withJob(s.showJob)},
		{"GET", "/api/v1/jobs/{id}/body", "the body that it sends", s.withJob(s.jobBody)},
		{"GET", "/api/v1/jobs/{id}/result", "what it was answered", s.withJob(s.jobResult)},
		{"POST", "/api/v1/jobs/{id}/retry", "try it again, now", s.withJob(s.retryJob)},
	}
}

// JobsAPI is the part of the API that is about jobs, all below /api/v1/jobs, for a service that has a listener and a guard of its own.
func JobsAPI(service *jobs.Service, log *slog.Logger) http.Handler {
	s := &Server{opts: Options{Jobs: service, Log: log}}
	mux := http.NewServeMux()
	for _, e := range s.jobEndpoints() {
		mux.HandleFunc(e.pattern(), e.handle)
	}
	return mux
}

func (s *Server) withJobs(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.opts.Jobs == nil {
			writeError(w, http.StatusNotFound, "no route of this node is async, so it has no jobs")
			return
		}
		next(w, r)
	}
}

func (s *Server) withJob(next func(http.ResponseWriter, *http.Request, jobs.ID)) http.HandlerFunc {
	return s.withJobs(func(w http.ResponseWriter, r *http.Request) {
		id, err := jobs.ParseID(r.PathValue("id"))
		if err != nil {
			writeError(w, http.StatusBadRequest, err.Error())
			return
		}
		next(w, r, id)
	})
}

// listJobs answers with those of ?state=, ?queue= and ?owner=, which may be left out, after ?cursor=, at most ?limit=.
func (s *Server) listJobs(w http.ResponseWriter, r *http.Request) {
	f, err := jobFilter(r)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	page, err := s.opts.Jobs.List(f)
	if err != nil {
		s.failJob(w, err)
		return
	}
	answer := struct {
		Jobs []jobInfo `json:"jobs"`
		Next string    `json:"next,omitempty"` // the cursor of the next page
	}{Jobs: make([]jobInfo, len(page.Jobs))}
	for i, v := range page.Jobs {
		answer.Jobs[i] = jobInfo{View: v, Owner: v.Owner}
	}
	if !page.Next.IsZero() {
		answer.Next = page.Next.String()
	}
	writeJSON(w, http.StatusOK, answer)
}

func jobFilter(r *http.Request) (f jobs.Filter, err error) {
	q := r.URL.Query()
	f.Queue, f.Owner = q.Get("queue"), q.Get("owner")
	if state := q.Get("state"); state != "" {
		if f.State, err = jobs.ParsePhase(state); err != nil {
			return f, fmt.Errorf("state: %w", err)
		}
	}
	if cursor := q.Get("cursor"); cursor != "" {
		if f.After, err = jobs.ParseID(cursor); err != nil {
			return f, fmt.Errorf("cursor: %w", err)
		}
	}
	limit, err := number(r, "limit", 100)
	if err == nil && (limit < 1 || limit > jobs.MaxPage) {
		err = fmt.Errorf("limit: expected 1 to %d", jobs.MaxPage)
	}
	f.Limit = int(limit)
	return f, err
}

func (s *Server) jobStats(w http.ResponseWriter, _ *http.Request) {
	all, err := s.opts.Jobs.Stats()
	if err != nil {
		s.failJob(w, err)
		return
	}
	type queue struct {
		jobs.QueueStats
		Age float64 `json:"oldest_seconds"`
	}
	answer := make([]queue, len(all))
	for i, q := range all {
		answer[i] = queue{q, q.Age.Seconds()}
	}
	writeJSON(w, http.StatusOK, map[string]any{"queues": answer})
}

func (s *Server) showJob(w http.ResponseWriter, r *http.Request, id jobs.ID) {
	view, err := s.opts.Jobs.Get(r.Context(), id)
	if err != nil {
		s.failJob(w, err)
		return
	}
	info := jobInfo{View: view, Owner: view.Owner}
	if view.State != jobs.Done && s.opts.JobRequest != nil { // what is done has forgotten it
		if info.Request, err = s.opts.JobRequest(r.Context(), id); err != nil {
			s.opts.Log.Warn("what a job sends can't be read", "job", id.String(), "error", err)
		}
	}
	writeJSON(w, http.StatusOK, info)
}

func (s *Server) jobBody(w http.ResponseWriter, r *http.Request, id jobs.ID) {
	view, err := s.opts.Jobs.Get(r.Context(), id)
	if err == nil && (view.State == jobs.Done || s.opts.JobRequest == nil) {
		writeError(w, http.StatusConflict, "the body of a job that is done is not kept")
		return
	}
	var req *JobRequest
	if err == nil {
		req, err = s.opts.JobRequest(r.Context(), id)
	}
	if err != nil {
		s.failJob(w, err)
		return
	}
	body, err := req.Body(r.Context())
	s.download(w, req.Bytes, body, err)
}

func (s *Server) jobResult(w http.ResponseWriter, r *http.Request, id jobs.ID) {
	kept, err := s.opts.Jobs.Result(r.Context(), id)
	if err != nil {
		s.failJob(w, err)
		return
	}
	if kept.Status == 0 {
		writeError(w, http.StatusConflict, "no upstream has answered the job yet, or not wholly")
		return
	}
	body, err := s.opts.Jobs.ResultBody(r.Context(), &kept)
	s.download(w, max(int64(len(kept.Body)), kept.BlobSize), body, err)
}

// download answers with bytes of somebody else's, which a browser is not to show as a page of this server.
func (s *Server) download(w http.ResponseWriter, size int64, body io.ReadCloser, err error) {
	if err != nil {
		s.failJob(w, err)
		return
	}
	defer body.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Disposition", "attachment")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(dumpTimeout))
	if _, err := io.Copy(w, body); err != nil {
		s.opts.Log.Debug("a download ended early", "error", err)
	}
}

func (s *Server) retryJob(w http.ResponseWriter, r *http.Request, id jobs.ID) {
	view, err := s.opts.Jobs.Retry(r.Context(), id)
	if err != nil {
		s.failJob(w, err)
		return
	}
	s.opts.Log.Info("a job is tried again", "job", id.String())
	writeJSON(w, http.StatusOK, jobInfo{View: view, Owner: view.Owner})
}

// maxPurge bounds the body that says what to purge, and so the ids in it.
const maxPurge = 64 << 10

// purgeJobs forgets those whose ids are in the body, or the dead letters that it describes; it must say one of the two.
func (s *Server) purgeJobs(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		IDs       []jobs.ID `json:"ids"`
		Queue     string    `json:"queue"`
		OlderThan string    `json:"older_than"` // a duration as in the configuration
		All       bool      `json:"all"`
	}
	if err := decode(http.MaxBytesReader(w, r.Body, maxPurge), &ask); err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	d := jobs.Dead{IDs: ask.IDs, Queue: ask.Queue}
	var err error
	if ask.OlderThan != "" {
		d.OlderThan, err = time.ParseDuration(ask.OlderThan)
	}
	switch {
	case err != nil || d.OlderThan < 0:
		writeError(w, http.StatusBadRequest, "older_than: expected a duration, as in 24h")
		return
	case len(d.IDs) == 0 && d.Queue == "" && ask.OlderThan == "" && !ask.All:
		writeError(w, http.StatusBadRequest, `expected "ids", or "queue", "older_than" or both, or "all": true for every job that has failed`)
		return
	case len(d.IDs) > 0 && (d.Queue != "" || ask.OlderThan != "" || ask.All):
		writeError(w, http.StatusBadRequest, `expected "ids" alone, or none`)
		return
	}
	n, err := s.opts.Jobs.Purge(r.Context(), d)
	if err != nil {
		s.failJob(w, err)
		return
	}
	s.opts.Log.Info("jobs purged", "jobs", n, "queue", d.Queue)
	writeJSON(w, http.StatusOK, map[string]int{"purged": n})
}

func (s *Server) failJob(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, jobs.ErrNotFound):
		writeError(w, http.StatusNotFound, "there is no such job")
	case errors.Is(err, jobs.ErrRefused):
		writeError(w, http.StatusConflict, err.Error())
	default:
		writeError(w, http.StatusServiceUnavailable, err.Error())
	}
}
