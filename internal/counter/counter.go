// Package counter is an HTTP service that counts its own requests in a moving window, and keeps the count across restarts.
//
// A request for the path / with any method is answered with the number of requests of the last timeframe, itself included:
//
//	{"requestCount":4}
//
// Other paths are answered with 404 and not counted, nor are requests that are malformed or break off. The count is that
// of a [window.Window], whose documentation has the error bound.
//
// The state is saved to a file so often that a killed process loses what it counted in its last sync interval at most,
// and once more after the last answer when it is told to stop. See the type keeper for how.
package counter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/window"
)

// Options says what to count and where to keep it. All fields but Logger are required.
type Options struct {
	Timeframe    time.Duration // how far back a count looks
	Precision    time.Duration // how finely it looks
	File         string        // where the state is kept; File.lock beside it says that a process uses it
	SyncInterval time.Duration // how much time of counting may be lost when the process is killed
	Logger       *slog.Logger  // nil discards
}

// Restored says what a counter began with.
type Restored struct {
	Count    uint64        // what of the file is in the window
	Expired  uint64        // what of the file has left the window since
	Age      time.Duration // how long ago the file was written, by the wall clock; negative if that was stepped back
	Found    bool          // whether there was a file that could be used
	SetAside error         // a [*window.SetAsideError] if there was a file that could not be used
}

// ErrInUse is wrapped by the error of [Open] when another process uses the file.
var ErrInUse = errors.New("another process uses it")

// Counter is the service. Make it with [Open], call Serve once, and Close at the end.
type Counter struct {
	window *window.Window
	keeper *keeper
	log    *slog.Logger
	http   *http1.Server
}

// Open locks and reads the file. It returns an error that wraps [window.ErrConfig] if timeframe and precision make no
// window, one that wraps [ErrInUse] if the file is another process's, and one of the file system if the file is there and
// cannot be read. A directory that cannot be written to is logged and no error.
func Open(opts Options) (*Counter, Restored, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	keeper := newKeeper(opts.File, opts.SyncInterval, opts.Logger)
	if err := keeper.open(); err != nil {
		return nil, Restored{}, err
	}
	w, restored, err := restore(opts)
	if err != nil {
		return nil, Restored{}, errors.Join(err, keeper.close())
	}
	keeper.window = w
	keeper.dirty.Store(restored.Age < 0) // the file's time is one that the wall clock has not reached yet: write a better one
	c := &Counter{window: w, keeper: keeper, log: opts.Logger}
	c.http = http1.NewServer(limits, c.log, c.handle)
	return c, restored, nil
}

// restore makes the window of what is in the file.
func restore(opts Options) (*window.Window, Restored, error) {
	var snapshot window.Snapshot
	var restored Restored
	if err := window.Load(opts.File, &snapshot); errors.As(err, new(*window.SetAsideError)) {
		restored.SetAside = err
	} else if err != nil {
		return nil, Restored{}, err
	}
	now, wall := window.Now(), time.Now()
	w, err := window.Restore(opts.Timeframe, opts.Precision, snapshot, now, wall)
	if err != nil {
		return nil, Restored{}, err
	}
	if restored.Found = snapshot.Timeframe != 0; restored.Found {
		restored.Age = wall.Round(0).Sub(snapshot.Taken)
		restored.Count = w.Count(now)
		restored.Expired = snapshot.Total() - restored.Count
	}
	return w, restored, nil
}

// Grace is how long answers under way may take once Serve is told to stop.
const Grace = 10 * time.Second

// Serve answers the connections of ln until ctx ends. Then it closes ln, answers what has been received, saves the state
// and returns nil; connections that are open after [Grace] are cut. Any other error is one of ln or of saving.
func (c *Counter) Serve(ctx context.Context, ln net.Listener) error {
	serving, drained := context.WithCancel(context.WithoutCancel(ctx))
	var keeping sync.WaitGroup
	keeping.Go(func() { c.keeper.run(serving) })

	served := make(chan error, 1)
	go func() { served <- c.http.Serve(ln) }()
	var failed error
	select {
	case err := <-served:
		failed = fmt.Errorf("listening: %w", err)
	case <-ctx.Done():
	}
	c.drain(ctx)
	drained()
	keeping.Wait()
	return errors.Join(failed, c.keeper.save())
}

// drain answers what has been received and closes every connection.
func (c *Counter) drain(ctx context.Context) {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), Grace)
	defer cancel()
	if c.http.Shutdown(grace) != nil {
		c.log.Warn("stopped with requests in flight", "after", Grace.String())
	}
}

// Close lets other processes use the file. It does not save.
func (c *Counter) Close() error { return c.keeper.close() }
