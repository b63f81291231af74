package journal

import (
	"errors"
	"fmt"
)

// What Do, Read and Open return, wrapped. See the package documentation.
var (
	// ErrUnavailable says that the log can't be written to now. Unless the error is ErrUnknown too, the command was not
	// appended.
	ErrUnavailable = errors.New("the journal is unavailable")

	// ErrUnknown says that it isn't known whether the command was or will be applied; if so, then once.
	ErrUnknown = errors.New("it is not known whether the command takes effect")

	// ErrStopped says that the journal answers nothing any more: it was closed, or found damage.
	ErrStopped = errors.New("the journal is stopped")

	// ErrTooLarge says that the command is longer than Config.MaxCommand.
	ErrTooLarge = errors.New("the command is too large for the journal")

	// ErrDamaged says that the log, a snapshot or the mark isn't what was written, or not what another node made of it.
	ErrDamaged = errors.New("the journal is damaged")

	errClosed = errors.New("closed")

	// errSuspect is damage, unless a server of a cluster is behind the others and will say something else in a moment.
	errSuspect = errors.New("the log isn't what it was")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}
