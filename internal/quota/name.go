package quota

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxUser bounds the name of a user, in bytes.
const MaxUser = 128

// CheckUser says what is wrong with the name of a user; nil: nothing. It is UTF-8 of 1 to [MaxUser] bytes without control characters. Names are
// compared byte for byte. The rule is part of the state machine: it must mean the same in every version.
func CheckUser(name string) error {
	switch {
	case name == "":
		return errors.New("must not be empty")
	case len(name) > MaxUser:
		return fmt.Errorf("has %d bytes, at most %d", len(name), MaxUser)
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
