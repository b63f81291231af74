package coalesce

import (
	"errors"
	"fmt"
)

// In these cases Do has not got an answer, and the caller makes its own call, alone.
var (
	// ErrOverflow means that one of the caps in Config is reached.
	ErrOverflow = errors.New("coalesce: too much under way")
	// ErrNotShared means that the answer was for the leader only, or that answers for this key lately were.
	ErrNotShared = errors.New("coalesce: the answer is not shareable")
	// ErrClosed means that the group was closed.
	ErrClosed = errors.New("coalesce: closed")
)

// ErrAbandoned is the cause of a call's cancelled context when all who waited for it have left.
var ErrAbandoned = errors.New("coalesce: nobody waits for the call any more")

// ErrGoexit is the Value of the PanicError of a fetch that called runtime.Goexit.
var ErrGoexit = errors.New("coalesce: fetch called runtime.Goexit")

// A PanicError is what waiters get if the fetch panics.
type PanicError struct {
	Value any    // what it panicked with
	Stack []byte // of the goroutine at the panic, as debug.Stack prints it
}

// Error returns the value, without the stack.
func (p *PanicError) Error() string { return fmt.Sprintf("coalesce: fetch panicked: %v", p.Value) }

// Unwrap returns the value if it is an error.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}
