package arrivals

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// A copied recording is one that doesn't change any more.
type copied struct {
	key   uint64
	route string
	times []time.Duration // sorted
}

// WriteCSV writes what is held as lines of key, route and time_ms, under a header with these names. The key is 16 hexadecimal digits, the time in
// milliseconds, to the microsecond, since the first arrival of all that are written. Lines are sorted by key, and those of a key by time.
//
// All is copied before anything is written, so a slow w holds nobody up.
func (r *Recorder) WriteCSV(w io.Writer) error {
	all := r.copy()
	first := time.Duration(0)
	for i, c := range all {
		if i == 0 || c.times[0] < first {
			first = c.times[0]
		}
	}
	out := csv.NewWriter(w)
	if err := out.Write([]string{"key", "route", "time_ms"}); err != nil {
		return err
	}
	for _, c := range all {
		key := fmt.Sprintf("%016x", c.key)
		for _, at := range c.times {
			if err := out.Write([]string{key, c.route, millis(at - first)}); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

// copy returns what is held, sorted by key. A recording is left out while it has no arrivals.
func (r *Recorder) copy() []copied {
	var all []copied
	for key, rec := range *r.held.Load() {
		rec.mu.Lock()
		times := slices.Clone(rec.times)
		rec.mu.Unlock()
		if len(times) > 0 {
			slices.Sort(times) // two requests that arrive together may be noted in either order
			all = append(all, copied{key, rec.route, times})
		}
	}
	slices.SortFunc(all, func(a, b copied) int { return cmp.Compare(a.key, b.key) })
	return all
}

func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 3, 64)
}
