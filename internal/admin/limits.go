package admin

import (
	"errors"
	"net/http"

	"github.com/sluicegate/sluice/internal/limit"
)

func (s *Server) listLimits(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"limits": s.opts.Limits.List()})
}

// maxQuery bounds the body of a question, in bytes.
const maxQuery = 16 << 10

// checkLimit answers 200 whatever is decided: the question was answered.
func (s *Server) checkLimit(w http.ResponseWriter, r *http.Request) {
	q := new(limit.Query)
	if err := decode(http.MaxBytesReader(w, r.Body, maxQuery), q); err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	answer, err := s.opts.Limits.Check(q)
	var mistake *limit.QueryError
	switch {
	case err == nil:
		writeJSON(w, http.StatusOK, answer)
	case errors.As(err, &mistake):
		writeError(w, http.StatusBadRequest, err.Error())
	case errors.Is(err, limit.ErrNoRule):
		writeError(w, http.StatusNotFound, err.Error())
	default:
		writeError(w, http.StatusServiceUnavailable, err.Error())
	}
}
