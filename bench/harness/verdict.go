package harness

import (
	"fmt"
	"slices"
)

// A Verdict is a figure and the bar that it is held against, "" for none.
type Verdict struct {
	What, Figure, Bar string
	Met               bool
}

// Told is a figure without a bar.
func Told(what string, s Summary) Verdict { return Verdict{What: what, Figure: s.String()} }

// AtLeast holds the median against a bar that it must reach.
func AtLeast(what string, s Summary, bar float64) Verdict {
	return Verdict{what, s.String(), fmt.Sprint(">= ", bar), s.Median >= bar}
}

// AtMost holds the median against a bar that it must not pass.
func AtMost(what string, s Summary, bar float64) Verdict {
	return Verdict{what, s.String(), fmt.Sprint("<= ", bar), s.Median <= bar}
}

// Below holds the median against a bar that it must stay below.
func Below(what string, s Summary, bar float64) Verdict {
	return Verdict{what, s.String(), fmt.Sprint("< ", bar), s.Median < bar}
}

// Judge prints the verdicts.
func Judge(all []Verdict) {
	fmt.Printf("\n%-72s %-34s %-10s\n", "", "figure", "bar")
	for _, v := range all {
		word := ""
		switch {
		case v.Met:
			word = "met"
		case v.Bar != "":
			word = "MISSED"
		}
		fmt.Printf("%-72s %-34s %-10s %s\n", v.What, v.Figure, v.Bar, word)
	}
}

// Summary is what is told of several measurements.
type Summary struct{ Min, Median, Max float64 }

// Summarize needs one value at least.
func Summarize(values []float64) Summary {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return Summary{sorted[0], (sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[n-1]}
}

// String has two decimals, and the range if there is one.
func (s Summary) String() string {
	if s.Min == s.Max {
		return fmt.Sprintf("%.2f", s.Median)
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", s.Median, s.Min, s.Max)
}

// Ratios are those of each round: what of makes of a's run, to what it makes of b's.
func Ratios(a, b *Subject, of func(Result) float64) []float64 {
	var all []float64
	for i := range a.Runs {
		all = append(all, of(a.Runs[i])/of(b.Runs[i]))
	}
	return all
}
