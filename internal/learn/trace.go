package learn

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrTrace is returned for a recording that can't be used.
var ErrTrace = errors.New("learn: not a recording of arrivals")

// Traces are recordings, one for each key. An episode is a piece of one of them, drawn such that each arrival is as likely to be in it.
type Traces struct {
	Name string
	Keys [][]time.Duration // ascending, of at least one arrival each, since some time that is the same for all
}

// Times implements [Source]. It appends fewer than n times if the recording of the key is shorter.
func (t *Traces) Times(dst []time.Duration, n int, r *rand.Rand) []time.Duration {
	all := 0
	for _, key := range t.Keys {
		all += len(key)
	}
	drawn := r.IntN(all)
	for _, key := range t.Keys {
		if drawn < len(key) {
			return appendPiece(dst, key, n, r)
		}
		drawn -= len(key)
	}
	return dst
}

// appendPiece appends n times of the key, from a place drawn, so that the first is at 0.
func appendPiece(dst, key []time.Duration, n int, r *rand.Rand) []time.Duration {
	if len(key) > n {
		from := r.IntN(len(key) - n + 1)
		key = key[from : from+n]
	}
	for _, at := range key {
		dst = append(dst, at-key[0])
	}
	return dst
}

// String implements [Source].
func (t *Traces) String() string { return "trace:" + t.Name }

// OpenTraces reads a file with ReadTraces.
func OpenTraces(name string) (*Traces, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadTraces(name, f)
}

// mostTraceLines bounds what is read into memory: 8 bytes each.
const mostTraceLines = 50_000_000

// longestTrace is 30 years, in milliseconds.
const longestTrace = 30 * 365 * 24 * 3600 * 1000

// ReadTraces reads recorded arrivals: either what /api/v1/arrivals of a gateway writes, which is CSV with a header that has time_ms and key among
// its columns; or plain times, one a line, or the first column of each line, in milliseconds. Times may come in any order. Empty lines, and a first
// line that is no number, are left out.
func ReadTraces(name string, r io.Reader) (*Traces, error) {
	in := csv.NewReader(bufio.NewReaderSize(r, 1<<16))
	in.FieldsPerRecord, in.ReuseRecord, in.TrimLeadingSpace, in.Comment = -1, true, true, '#'
	t := &traceReader{byKey: map[string]int{}, keyColumn: -1}
	for line := 1; ; line++ {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = t.add(line, record)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrTrace, name, err)
		}
	}
	if len(t.keys) == 0 {
		return nil, fmt.Errorf("%w: %s: it has no arrivals", ErrTrace, name)
	}
	for _, key := range t.keys {
		slices.Sort(key)
	}
	return &Traces{Name: name, Keys: t.keys}, nil
}

// A traceReader collects the times of each key, in the order in which keys are first met.
type traceReader struct {
	timeColumn, keyColumn int
	lines                 int
	base                  float64 // the first time, which the others are counted from: those since 1970 are too large for their nanoseconds
	byKey                 map[string]int
	keys                  [][]time.Duration
}

func (t *traceReader) add(line int, record []string) error {
	if line == 1 && t.header(record) {
		return nil
	}
	if t.lines++; t.lines > mostTraceLines {
		return fmt.Errorf("more than %d arrivals", mostTraceLines)
	}
	if len(record) <= max(t.timeColumn, t.keyColumn) {
		return fmt.Errorf("line %d has %d columns", line, len(record))
	}
	text := strings.TrimSpace(record[t.timeColumn])
	at, err := strconv.ParseFloat(text, 64)
	if err != nil || !(at >= -1e13 && at <= 1e13) {
		return fmt.Errorf("line %d: %q is no time in milliseconds", line, text)
	}
	key := ""
	if t.keyColumn >= 0 {
		key = record[t.keyColumn]
	}
	i, known := t.byKey[key]
	if !known {
		i = len(t.keys)
		t.byKey[strings.Clone(key)] = i
		t.keys = append(t.keys, nil)
	}
	if t.lines == 1 {
		t.base = at
	}
	if math.Abs(at-t.base) > longestTrace {
		return fmt.Errorf("line %d: %q is more than 30 years from the first time, in milliseconds", line, text)
	}
	t.keys[i] = append(t.keys[i], time.Duration(math.Round((at-t.base)*1e6)))
	return nil
}

// header reports whether the record is no number where it should be, and finds out which columns are which.
func (t *traceReader) header(record []string) bool {
	if _, err := strconv.ParseFloat(strings.TrimSpace(record[0]), 64); err == nil && !slices.Contains(record, "time_ms") {
		return false
	}
	t.timeColumn = max(0, slices.Index(record, "time_ms"))
	t.keyColumn = slices.Index(record, "key")
	return true
}
