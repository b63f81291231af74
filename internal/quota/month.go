package quota

import (
	"fmt"
	"time"
)

// A Month is a month of the calendar in UTC: twelve times the year, and the months before it in the year.
type Month uint32

// MonthOf returns the month of a time in milliseconds since 1970.
func MonthOf(ms uint64) Month {
	year, month, _ := time.UnixMilli(int64(ms)).UTC().Date()
	return Month(year*12 + int(month) - 1)
}

// Start returns when the month begins.
func (m Month) Start() time.Time {
	return time.Date(int(m/12), time.Month(m%12+1), 1, 0, 0, 0, 0, time.UTC)
}

// String returns the month as it is written: 2026-11.
func (m Month) String() string { return fmt.Sprintf("%04d-%02d", m/12, m%12+1) }
