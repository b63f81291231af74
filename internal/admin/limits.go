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

func (s *Server) listLimits(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"limits": s.opts.Limits.List()})
}

// maxQuery bounds the body of a question, in bytes.
const maxQuery = 16 << 10

// checkLimit answers 200 whatever is decided: the question was answered.
func (s *Server) checkLimit(w http.ResponseWriter, r *http.Request) {
	q, err := decodeQuery(http.MaxBytesReader(w, r.Body, maxQuery))
	if err != nil {
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

func decodeQuery(body io.Reader) (*limit.Query, error) {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	q := new(limit.Query)
	err := dec.Decode(q)
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return nil, fmt.Errorf("%s: expected %s, got a %s", wrongType.Field, inJSON(wrongType.Type.Kind()), wrongType.Value)
	case err != nil:
		return nil, fmt.Errorf("the body is not the JSON object that is expected: %w", err)
	case dec.More():
		return nil, errors.New("the body has more than one JSON value")
	}
	return q, nil
}

// inJSON is what JSON calls the kinds of a question's members.
func inJSON(k reflect.Kind) string {
	switch k {
	case reflect.Int64:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	}
	return "a " + k.String()
}
