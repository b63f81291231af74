package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. In a file it is a whole number with its unit: 512B, 64KiB, 10MiB, 1GB.
type Size int64

// Units of a Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

// sizeUnits, the largest binary one first: String uses the first that divides a size.
var sizeUnits = [...]struct {
	name  string
	bytes Size
}{
	{"TiB", 1 << 40}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

// String returns the size with the largest unit that leaves a whole number.
func (s Size) String() string {
	if s == 0 {
		return "0"
	}
	for _, u := range sizeUnits {
		if s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

var errSize = errors.New("expected a whole number with a unit: B, KiB, MiB, GiB, TiB, KB, MB, GB or TB, as in 64KiB")

// parseSize reads a Size. Only 0 needs no unit.
func parseSize(text string) (Size, error) {
	if text == "0" {
		return 0, nil
	}
	for _, u := range sizeUnits {
		digits, found := strings.CutSuffix(text, u.name)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimRight(digits, " "), 10, 63)
		if errors.Is(err, strconv.ErrRange) || err == nil && n > math.MaxInt64/uint64(u.bytes) {
			return 0, errors.New("too large")
		}
		if err != nil {
			return 0, errSize
		}
		return Size(n) * u.bytes, nil
	}
	return 0, errSize
}

// Percent is a share in hundredths: 10 is 10%. In a file it carries its sign: 10%, 0.5%.
type Percent float64

// Fraction returns the share of one: 0.1 for 10%.
func (p Percent) Fraction() float64 { return float64(p) / 100 }

// String returns the share with its sign.
func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%" }

// parsePercent reads a Percent from 0% to 100%.
func parsePercent(text string) (Percent, error) {
	digits, found := strings.CutSuffix(text, "%")
	p, err := strconv.ParseFloat(digits, 64)
	if !found || err != nil || !(p >= 0 && p <= 100) {
		return 0, errors.New("expected a percentage from 0% to 100%, as in 10%")
	}
	return Percent(p), nil
}

// parseDuration reads a Duration, which is not negative. Only 0 needs no unit.
func parseDuration(text string) (Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		if _, number := strconv.ParseFloat(text, 64); number == nil {
			return 0, fmt.Errorf("no unit: expected a duration with one, as in %ss or %sms", text, text)
		}
		return 0, errors.New("expected a duration: numbers with a unit ns, us, ms, s, m or h, as in 500ms or 1m30s")
	}
	if d < 0 {
		return 0, errors.New("negative: expected 0 or more")
	}
	return d, nil
}
