package work

import (
	"errors"
	"fmt"
)

var (
	// ErrFull means that the queue has no place for the task.
	ErrFull = errors.New("work: the queue is full")
	// ErrClosed means that the pool is closed, or was before the task could run.
	ErrClosed = errors.New("work: closed")
	// ErrGoexit is what OnPanic is told of a task that called runtime.Goexit.
	ErrGoexit = errors.New("work: the task called runtime.Goexit")
)

// An UnfinishedError is what Close returns if it ran out of time.
type UnfinishedError struct {
	NotRun    int   // tasks that were accepted and dropped before they started
	Cancelled int   // tasks that were running, whose context was cancelled
	Cause     error // why Close didn't wait any longer: what its context says
}

// Error says how many tasks were not finished.
func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("work: closed with %d tasks not run and %d cancelled: %v", e.NotRun, e.Cancelled, e.Cause)
}

// Unwrap returns the cause.
func (e *UnfinishedError) Unwrap() error { return e.Cause }
