package market

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxName bounds a username, in bytes.
const MaxName = 128

// CheckName says what is wrong with a username; nil: nothing. It is UTF-8 of 1 to [MaxName] bytes without control characters. Names are
// compared byte for byte. The rule is part of the state machine: it must mean the same in every version.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("must not be empty")
	case len(name) > MaxName:
		return fmt.Errorf("has %d bytes, at most %d", len(name), MaxName)
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
