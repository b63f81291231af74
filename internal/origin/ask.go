package origin

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	maxBytes      = 1 << 40
	maxEcho       = 1 << 20
	maxEvents     = 1_000_000
	eventInterval = 100 * time.Millisecond
)

// ask is what the query string of a request asks for.
type ask struct {
	bytes    int64 // length of the body; -1 is the JSON body
	events   int64 // server-sent events; -1 is none of them asked for
	status   int
	sleep    time.Duration
	interval time.Duration // between two events
	cache    string        // Cache-Control, if not empty; safe to write into a header
	chunked  bool
	headers  bool
	echo     bool // answer with the body of the request
}

// inChunks, given to fasthttp as the length of a body, has it sent in chunks.
const inChunks = -1

// framing is what fasthttp is told of a body of length bytes.
func (a ask) framing(length int) int {
	if a.chunked {
		return inChunks
	}
	return length
}

// parseAsk reads the query string. Its error is a sentence for the client.
func parseAsk(query *fasthttp.Args) (ask, error) {
	a := ask{bytes: -1, events: -1, status: fasthttp.StatusOK, interval: eventInterval}
	if query.Len() == 0 {
		return a, nil
	}
	for _, param := range []struct {
		name string
		set  func(value string) error
	}{
		{"bytes", func(v string) (err error) { a.bytes, err = parseSize(v); return }},
		{"sse", func(v string) (err error) { a.events, err = parseCount(v, 0, maxEvents); return }},
		{"status", func(v string) error {
			n, err := parseCount(v, 101, 599)
			a.status = int(n)
			return err
		}},
		{"sleep", func(v string) (err error) { a.sleep, err = parseWait(v); return }},
		{"interval", func(v string) (err error) { a.interval, err = parseWait(v); return }},
		{"cache", func(v string) (err error) { a.cache, err = parseFieldValue(v); return }},
		{"chunked", func(v string) (err error) { a.chunked, err = parseBool(v); return }},
		{"headers", func(v string) (err error) { a.headers, err = parseBool(v); return }},
		{"echo", func(v string) (err error) { a.echo, err = parseBool(v); return }},
	} {
		if !query.Has(param.name) {
			continue
		}
		value := string(query.Peek(param.name))
		if err := param.set(value); err != nil {
			return ask{}, fmt.Errorf("query parameter %s=%s: %w", param.name, strconv.Quote(value), err)
		}
	}
	if a.bytes >= 0 && a.events >= 0 {
		return ask{}, errors.New("query parameters bytes and sse exclude each other")
	}
	return a, nil
}

// parseCount reads a whole number from least to most.
func parseCount(s string, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("expected a whole number from %d to %d", least, most)
	}
	return n, nil
}

// parseWait reads a Go duration from 0 to MaxWait.
func parseWait(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > MaxWait {
		return 0, fmt.Errorf("expected a duration such as 20ms, from 0s to %v", MaxWait)
	}
	return d, nil
}

func parseBool(s string) (bool, error) {
	switch s {
	case "", "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, errors.New("expected 1 or 0")
}

// parseFieldValue refuses what cannot stand in a header field: a line break in it would begin a field of its own.
func parseFieldValue(s string) (string, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' {
			return "", errors.New("expected printable ASCII")
		}
	}
	return s, nil
}

// parseSize reads a number of bytes from 0 to maxBytes: plain, or with a unit of 1000s (kB, MB, GB, TB) or of
// 1024s (KiB, MiB, GiB, TiB). Case does not matter.
func parseSize(s string) (int64, error) {
	errSize := errors.New("expected a size such as 4096, 100MB or 64KiB, at most 1TiB")
	digits := strings.TrimRight(s, "BIKMGTbikmgt")
	n, err := strconv.ParseUint(digits, 10, 63)
	factor, known := unitBytes(s[len(digits):])
	if err != nil || !known || n > maxBytes/factor || n*factor > math.MaxInt {
		return 0, errSize
	}
	return int64(n * factor), nil
}

// unitBytes returns how many bytes a unit stands for.
func unitBytes(unit string) (factor uint64, known bool) {
	switch strings.ToLower(unit) {
	case "", "b":
		return 1, true
	case "kb":
		return 1e3, true
	case "mb":
		return 1e6, true
	case "gb":
		return 1e9, true
	case "tb":
		return 1e12, true
	case "kib":
		return 1 << 10, true
	case "mib":
		return 1 << 20, true
	case "gib":
		return 1 << 30, true
	case "tib":
		return 1 << 40, true
	}
	return 0, false
}
