package counter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/window"
)

// A keeper saves a window to a file.
//
// It looks twice per sync interval, and saves if anything was counted since the last time. Why twice: a save that is
// under way when the process is killed is lost, so what survives is what was counted before the beginning of the last
// save that ended. Were saves one interval apart, that could be one interval and the duration of a save ago. As they
// are, it is one interval at most as long as a save takes at most half of one.
//
// Failures do not stop the counting. The keeper tries again each time, and logs when saving begins to fail, when it fails
// for another reason, and when it works again.
type keeper struct {
	path     string
	interval time.Duration
	log      *slog.Logger
	window   *window.Window
	write    func(path string, s window.Snapshot) error // [window.Save]; tests count and delay it

	// What follows is used by one goroutine at a time: by Open's, the saver's, and Serve's when the saver has ended.
	lock    *fileLock     // nil while there is none
	failure error         // of the last attempt
	offset  time.Duration // the wall clock's from window.Now when the window was last saved or loaded

	_     [64]byte    // every request reads dirty; what is above changes more often
	dirty atomic.Bool // something was counted since the last save began
}

// clockStep is how far the wall clock has to step for the file to be written anew though nothing was counted: the time
// in the file is what tells a later process how old the counts are.
const clockStep = time.Second

func newKeeper(path string, interval time.Duration, log *slog.Logger) *keeper {
	return &keeper{
		path: path, interval: interval, log: log, offset: wallOffset(),
		write: func(path string, s window.Snapshot) error { return window.Save(path, s) },
	}
}

// open takes the lock. It fails only if another process has it: if there can be no lock now, saves try again.
func (k *keeper) open() error {
	err := k.ensureLock()
	if errors.Is(err, ErrInUse) {
		return err
	}
	k.report(err)
	return nil
}

func (k *keeper) ensureLock() error {
	if k.lock != nil {
		return nil
	}
	lock, err := lockFile(k.path + ".lock")
	if errors.Is(err, ErrInUse) {
		return fmt.Errorf("%s: %w", k.path, err)
	}
	k.lock = lock
	return err
}

// close gives the lock back.
func (k *keeper) close() error {
	if k.lock == nil {
		return nil
	}
	lock := k.lock
	k.lock = nil
	return lock.release()
}

// changed notes that something was counted. It comes after the counting: were it the other way round, a save that begins
// in between would clear the note and miss the count.
func (k *keeper) changed() {
	if !k.dirty.Load() { // reading alone keeps the cache line shared by all cores
		k.dirty.Store(true)
	}
}

// run saves until ctx ends.
func (k *keeper) run(ctx context.Context) {
	ticker := time.NewTicker(max(k.interval/2, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			k.tick()
		}
	}
}

// tick saves if there is something to save, and reports. Without a lock it tries to get one even if there is nothing.
func (k *keeper) tick() {
	err := k.ensureLock()
	if err == nil {
		err = k.save()
	}
	k.report(err)
}

// save writes the window to the file if that would change anything.
func (k *keeper) save() error {
	offset := wallOffset()
	stepped := (offset - k.offset).Abs() >= clockStep
	if !k.dirty.Swap(false) && !stepped {
		return nil
	}
	if err := k.saveNow(); err != nil {
		k.dirty.Store(true)
		return err
	}
	k.offset = offset
	return nil
}

func (k *keeper) saveNow() error {
	if err := k.ensureLock(); err != nil {
		return err
	}
	return k.write(k.path, k.window.Snapshot(window.Now(), time.Now()))
}

// report logs the outcome of an attempt if it differs from the one before.
func (k *keeper) report(err error) {
	before := k.failure
	k.failure = err
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		k.log.Error("the count cannot be saved, counting goes on", "error", err)
	case err == nil && before != nil:
		k.log.Info("the count can be saved again", "file", k.path)
	}
}

// wallOffset is what to add to an instant to get the wall clock's time.
func wallOffset() time.Duration { return time.Duration(time.Now().UnixNano() - int64(window.Now())) }
