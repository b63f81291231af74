// Package rate is how a rate is written, in configuration files, on the command line, in the API and in Redis: 100/s.
package rate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/lease"
)

// Rate is a number of requests in a time. It is written as both with a slash: 100/s, 120/min, 3/h, 1/day, 5/250ms. The zero Rate is none.
type Rate struct {
	Count  int64
	Period time.Duration
}

// periods are those that have a name; all others are durations.
var periods = [...]struct {
	name string
	time time.Duration
}{{"s", time.Second}, {"min", time.Minute}, {"h", time.Hour}, {"day", 24 * time.Hour}}

// String returns the rate as it is written; Parse reads it.
func (r Rate) String() string {
	for _, p := range periods {
		if p.time == r.Period {
			return fmt.Sprintf("%d/%s", r.Count, p.name)
		}
	}
	return fmt.Sprintf("%d/%v", r.Count, r.Period)
}

var errRate = errors.New("expected a number and a time, as in 100/s, 120/min, 3/h, 1/day or 5/250ms")

// Parse reads a rate, of at most 10⁹ per second.
func Parse(text string) (Rate, error) {
	count, period, found := strings.Cut(text, "/")
	n, err := strconv.ParseInt(count, 10, 64)
	if !found || err != nil || count[0] == '+' {
		return Rate{}, errRate
	}
	r := Rate{Count: n}
	for _, p := range periods {
		if p.name == period {
			r.Period = p.time
		}
	}
	if r.Period == 0 {
		if r.Period, err = time.ParseDuration(period); err != nil {
			return Rate{}, errRate
		}
	}
	_, err = r.Limit(0)
	return r, err
}

// Limit returns the rate with a burst, or says why there is no such limit.
func (r Rate) Limit(burst int64) (gcra.Limit, error) {
	limit, err := gcra.NewLimit(r.Count, r.Period, burst)
	if err != nil {
		return limit, errors.New(strings.TrimPrefix(err.Error(), gcra.ErrLimit.Error()+": "))
	}
	return limit, nil
}

// SharedLimit is Limit for a rule of a shared mode, which is reckoned in whole microseconds and fractions of them.
func (r Rate) SharedLimit(burst int64) (gcra.Limit, error) {
	limit, err := r.Limit(burst)
	if err != nil {
		return limit, err
	}
	if _, err := lease.NewInterval(limit); err != nil {
		return limit, errors.New("too much in one period for a limit that is shared: expected a smaller number and a shorter time, as in 1000000/s")
	}
	return limit, nil
}
