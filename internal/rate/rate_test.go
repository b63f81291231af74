package rate_test

import (
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/rate"
)

func TestRate(t *testing.T) {
	for text, want := range map[string]rate.Rate{
		"100/s":                 {Count: 100, Period: time.Second},
		"120/min":               {Count: 120, Period: time.Minute},
		"3/h":                   {Count: 3, Period: time.Hour},
		"1/day":                 {Count: 1, Period: 24 * time.Hour},
		"5/250ms":               {Count: 5, Period: 250 * time.Millisecond},
		"5/1m30s":               {Count: 5, Period: 90 * time.Second},
		"1/ns":                  {},
		"1/1ns":                 {Count: 1, Period: 1},
		"2/1ns":                 {},
		"+1/s":                  {},
		"/s":                    {},
		"1":                     {},
		"1/":                    {},
		"1 / s":                 {},
		"1/S":                   {},
		"1/-1s":                 {},
		"-1/s":                  {},
		"1/s/s":                 {},
		"1.5/s":                 {},
		"0/s":                   {},
		"1/m":                   {},
		"1/sec":                 {},
		"9999999999999999999/s": {},
	} {
		got, err := rate.Parse(text)
		if (err != nil) != (want == rate.Rate{}) || err == nil && got != want {
			t.Errorf("Parse(%q) = %v, %v, want %v", text, got, err, want)
		}
		if err == nil {
			if again, err := rate.Parse(got.String()); err != nil || again != got {
				t.Errorf("Parse(%q) = %v, %v, want %v", got.String(), again, err, got)
			}
		}
	}
}
