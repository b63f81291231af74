package work

import (
	"context"
	"fmt"
	"runtime"
)

// Options say how a [Pool] works. Run is required; the zero value of all others is good for most.
type Options[T any] struct {
	// Run does a task, in the goroutine of a worker. Its context is the pool's. It ends when Close runs out of time, or has nothing left to
	// wait for, with [ErrClosed] as its cause; of the context of Submit it knows nothing.
	Run func(ctx context.Context, task T)
	// Workers is how many tasks run at once; 0 means one for each processor that Go uses. See also [Pool.Resize].
	Workers int
	// Queue is how many tasks may wait, of all tenants together; 0 means 1024.
	Queue int
	// Full says what Submit does when so many wait.
	Full WhenFull
	// Weight, if not nil, says how many tasks of the tenant start in a round, beside those of the others; less than 1 counts as 1. It is
	// called in each Submit, without a lock, and what it says holds from the tenant's next turn.
	Weight func(tenant string) int

	// OnPanic, if not nil, is told that a task panicked, with what, and where. It is called by the worker before it goes on to other tasks. A
	// task that calls runtime.Goexit counts as one that panics, with [ErrGoexit]. Without OnPanic panics are logged as net/http does.
	OnPanic func(tenant string, task T, value any, stack []byte)
	// OnDrop, if not nil, is told of each task that Submit accepted and that won't run after all: with [ErrFull] if it was shed, with
	// [ErrClosed] if Close ran out of time. It is called by Submit or Close, without a lock.
	OnDrop func(tenant string, task T, why error)
}

// WhenFull is what Submit does when the queue is full.
type WhenFull int

const (
	// Block waits for a place. Places are given in a fair order too: who waits with a thousand others of its tenant doesn't keep one of another
	// tenant from coming next.
	Block WhenFull = iota
	// Fail returns [ErrFull].
	Fail
	// Shed drops the newest task of the tenant that has most of them in the queue, the submitted one counted: for that, if it is as
	// many as anybody's, Submit returns [ErrFull]; the owner of another one is told by OnDrop.
	Shed
)

// withDefaults panics if the options make no sense.
func (o Options[T]) withDefaults() Options[T] {
	switch {
	case o.Run == nil:
		panic("work: Options.Run is nil")
	case o.Workers < 0 || o.Queue < 0:
		panic(fmt.Sprintf("work: %d workers, a queue of %d: want 0 or more", o.Workers, o.Queue))
	case o.Full < Block || o.Full > Shed:
		panic(fmt.Sprintf("work: Options.Full is %d, want Block, Fail or Shed", o.Full))
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Queue == 0 {
		o.Queue = 1024
	}
	return o
}
