package objects

import "fmt"

// Lengths of keys: from the 26 characters of 128 bits in base 32 to the 64 of 256 bits in base 16.
const (
	minKey = 26
	maxKey = 64
)

// shardLen is how many characters of a key name the directory that its file is in.
const shardLen = 2

// CheckKey returns an error that wraps [ErrKey] unless key is 26 to 64 characters of 0-9 and a-z.
func CheckKey(key string) error {
	if len(key) < minKey || len(key) > maxKey {
		return fmt.Errorf("%w: expected %d to %d characters of 0-9 and a-z, got %d bytes", ErrKey, minKey, maxKey, len(key))
	}
	return checkChars(key)
}

// checkStart is CheckKey for the beginning of a key.
func checkStart(s string) error {
	if len(s) > maxKey {
		return fmt.Errorf("%w: expected at most %d characters of 0-9 and a-z, got %d bytes", ErrKey, maxKey, len(s))
	}
	return checkChars(s)
}

// checkChars goes by bytes: whatever is not ASCII has bytes that are not on the list.
func checkChars(s string) error {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return fmt.Errorf("%w: expected characters of 0-9 and a-z, got %+q", ErrKey, s)
		}
	}
	return nil
}

// checkList checks the arguments of List and returns the limit that holds.
func checkList(prefix, after string, limit int) (int, error) {
	if err := checkStart(prefix); err != nil {
		return 0, fmt.Errorf("prefix: %w", err)
	}
	if err := checkStart(after); err != nil {
		return 0, fmt.Errorf("after: %w", err)
	}
	if limit <= 0 || limit > MaxList {
		limit = MaxList
	}
	return limit, nil
}
