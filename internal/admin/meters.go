package admin

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/sluicegate/sluice/internal/meter"
)

// meters lists the counts of requests. What is asked for is in the query, and a mistake there is 400.
func (s *Server) meters(w http.ResponseWriter, r *http.Request) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		writeError(w, http.StatusBadRequest, "the query is malformed: "+err.Error())
		return
	}
	q, err := meter.ParseQuery(values)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	page, err := s.opts.Meters(r.Context(), q)
	var mistake *meter.QueryError
	switch {
	case err == nil:
		writeJSON(w, http.StatusOK, page)
	case errors.As(err, &mistake):
		writeError(w, http.StatusBadRequest, err.Error())
	case errors.Is(err, meter.ErrUnreachable):
		writeError(w, http.StatusServiceUnavailable, err.Error()+"; scope=node answers without it")
	default:
		s.opts.Log.Error("listing meters", "error", err)
		writeError(w, http.StatusInternalServerError, "the meters could not be listed; the log says why")
	}
}
