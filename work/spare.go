package work

// maxSpare is how many of a kind are kept for later.
const maxSpare = 1024

// A spare keeps a few values that are not in use, so that a queue that is filled and emptied all the time doesn't allocate, and one that was
// long once gives its memory back. The zero value is empty.
type spare[T any] struct {
	unused []*T
}

// take returns a zero T.
func (s *spare[T]) take() *T {
	last := len(s.unused) - 1
	if last < 0 {
		return new(T)
	}
	v := s.unused[last]
	s.unused = s.unused[:last]
	return v
}

// put clears v, which must not be used any more.
func (s *spare[T]) put(v *T) {
	var zero T
	*v = zero
	if len(s.unused) < maxSpare {
		s.unused = append(s.unused, v)
	}
}
