package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one mistake in a configuration file.
type Error struct {
	File         string // as it was given; "" when there is no file
	Line, Column int    // from 1; 0 when the mistake has no place, as with a file that cannot be read
	Msg          string // what is wrong and what was expected
}

// Error returns "FILE:LINE:COLUMN: MSG", without the parts that are unknown.
func (e *Error) Error() string {
	switch {
	case e.File == "":
		return e.Msg
	case e.Line == 0:
		return fmt.Sprintf("%s: %s", e.File, e.Msg)
	default:
		return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
	}
}

// Errors are all the mistakes that were found, at least one, in the order of their places. Every error of this package
// about the contents of a configuration is an Errors.
type Errors []*Error

// Error returns the mistakes one a line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find an *Error.
func (es Errors) Unwrap() []error {
	errs := make([]error, len(es))
	for i, e := range es {
		errs[i] = e
	}
	return errs
}

// sorted orders the mistakes within each file by place; files stay in the order in which they were read.
func (es Errors) sorted() Errors {
	rank := make(map[string]int)
	for _, e := range es {
		if _, known := rank[e.File]; !known {
			rank[e.File] = len(rank)
		}
	}
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(rank[a.File], rank[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return es
}
