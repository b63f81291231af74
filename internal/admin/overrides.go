package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"

	"github.com/sluicegate/sluice/internal/limit"
)

// listOverrides lists those of ?client= and ?rule=, which may be left out.
func (s *Server) listOverrides(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	list, err := s.opts.Limits.Overrides(r.Context(), q.Get("client"), q.Get("rule"))
	if err != nil && len(list) == 0 {
		s.failOverride(w, err)
		return
	}
	if err != nil {
		s.opts.Log.Warn("overrides in Redis that cannot be read are left out", "error", err)
	}
	writeJSON(w, http.StatusOK, map[string]any{"overrides": list})
}

func (s *Server) setOverride(w http.ResponseWriter, r *http.Request) {
	var o limit.Override
	if err := decode(http.MaxBytesReader(w, r.Body, maxQuery), &o); err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	stored, err := s.opts.Limits.SetOverride(r.Context(), o)
	if err != nil {
		s.failOverride(w, err)
		return
	}
	s.opts.Log.Info("override set", "client", stored.Client, "rule", stored.Rule, "rate", stored.Rate)
	writeJSON(w, http.StatusOK, stored)
}

// unsetOverride removes that of ?client= and ?rule=.
func (s *Server) unsetOverride(w http.ResponseWriter, r *http.Request) {
	client, rule := r.URL.Query().Get("client"), r.URL.Query().Get("rule")
	if client == "" || rule == "" {
		writeError(w, http.StatusBadRequest, "expected ?client=NAME&rule=NAME")
		return
	}
	switch was, err := s.opts.Limits.UnsetOverride(r.Context(), client, rule); {
	case err != nil:
		s.failOverride(w, err)
	case !was:
		writeError(w, http.StatusNotFound, fmt.Sprintf("%q has no override of %q", client, rule))
	default:
		s.opts.Log.Info("override unset", "client", client, "rule", rule)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *Server) failOverride(w http.ResponseWriter, err error) {
	var mistake *limit.QueryError
	switch {
	case errors.Is(err, limit.ErrNoRedis):
		writeError(w, http.StatusConflict, err.Error())
	case errors.As(err, &mistake):
		writeError(w, http.StatusBadRequest, err.Error())
	case errors.Is(err, limit.ErrNoRule):
		writeError(w, http.StatusNotFound, err.Error())
	default:
		writeError(w, http.StatusServiceUnavailable, err.Error())
	}
}

// decode reads a body that is one JSON object with the members of v.
func decode(body io.Reader, v any) error {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return fmt.Errorf("%s: expected %s, got a %s", wrongType.Field, inJSON(wrongType.Type.Kind()), wrongType.Value)
	case err != nil:
		return fmt.Errorf("the body is not the JSON object that is expected: %w", err)
	case dec.More():
		return errors.New("the body has more than one JSON value")
	}
	return nil
}

// inJSON is what JSON calls the kinds of members.
func inJSON(k reflect.Kind) string {
	switch k {
	case reflect.Int64:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	}
	return "a " + k.String()
}
