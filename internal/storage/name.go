package storage

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of what things are called, in bytes.
const (
	MaxObject      = 1024
	MaxFileName    = 255
	maxContentType = 255
	minBucket      = 3
	maxBucket      = 63
)

// CheckBucket says what is wrong with the name of a bucket; nil: nothing. It is 3 to 63 characters of a-z, 0-9, "-" and ".", begins and ends with
// a letter or a digit, and has no two dots in a row. The rule is part of the state machine, as those below are: it must mean the same in every
// version.
func CheckBucket(name string) error {
	switch {
	case name == "":
		return errors.New("must not be empty")
	case len(name) < minBucket || len(name) > maxBucket:
		return fmt.Errorf("has %d bytes, expected %d to %d", len(name), minBucket, maxBucket)
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '.' {
			return errors.New("must have a-z, 0-9, - and . only")
		}
		if edge := i == 0 || i == len(name)-1; edge && !letter {
			return errors.New("must begin and end with a letter or a digit")
		}
	}
	if strings.Contains(name, "..") {
		return errors.New("must not have two dots in a row")
	}
	return nil
}

// CheckObject says what is wrong with the id of an object; nil: nothing. It is UTF-8 of 1 to [MaxObject] bytes without control characters. It may
// have slashes, but no segment between them that is empty, "." or "..".
func CheckObject(name string) error {
	if err := checkText(name, MaxObject); err != nil {
		return err
	}
	for segment := range strings.SplitSeq(name, "/") {
		switch segment {
		case "":
			return errors.New("must not have a slash at its beginning or end, or two in a row")
		case ".", "..":
			return fmt.Errorf("must not have a segment %q", segment)
		}
	}
	return nil
}

// CheckFileName says what is wrong with the name of a file; nil: nothing. It is UTF-8 of 1 to [MaxFileName] bytes without control characters and
// slashes, and not "." or "..".
func CheckFileName(name string) error {
	if err := checkText(name, MaxFileName); err != nil {
		return err
	}
	if strings.ContainsAny(name, `/\`) || name == "." || name == ".." {
		return errors.New("must be the name of a file, without a path")
	}
	return nil
}

func checkText(name string, most int) error {
	switch {
	case name == "":
		return errors.New("must not be empty")
	case len(name) > most:
		return fmt.Errorf("has %d bytes, at most %d", len(name), most)
	case !utf8.ValidString(name):
		return errors.New("is not valid UTF-8")
	}
	for _, r := range name {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return errors.New("must not have control characters")
		}
	}
	return nil
}

// checkContentType is a check of what fits into a field of a head, not of its meaning.
func checkContentType(value string) error {
	if value == "" || len(value) > maxContentType {
		return fmt.Errorf("has %d bytes, expected 1 to %d", len(value), maxContentType)
	}
	for i := range len(value) {
		if value[i] < 0x20 || value[i] > 0x7e {
			return errors.New("must have visible ASCII characters only")
		}
	}
	return nil
}
