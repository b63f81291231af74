// Package feed hands on what happens in the process, in order and without ever holding up the one it happens to. It keeps the latest events in
// a ring: readers come when they like and are told how many events they were too late for.
//
//	f := feed.New(4096)
//	f.Publish("flush", flushed)
//
//	var after uint64
//	for f.Wait(ctx, after) == nil {
//		events, lost := f.Read(after, 100)
//		...
//		after = events[len(events)-1].Seq
//	}
package feed

import (
	"context"
	"sync"
	"time"
)

// An Event is something that happened.
type Event struct {
	Seq  uint64    `json:"seq"`  // 1, 2, 3… since the feed was made, without a gap
	Time time.Time `json:"time"` // of Publish; never before that of the event before
	Kind string    `json:"kind"`
	Data any       `json:"data"`
}

// Feed is a ring of events. Make one with New; its methods are safe for concurrent use.
//
// Publishers take turns for some ten nanoseconds each, so that the order of the sequence is that of the times, and a sequence has no gaps that
// are filled later. What could take longer is kept out of their way: a reader holds them up for the copy of readChunk events at most, those who
// wait are woken outside the lock, and nothing is encoded before somebody reads it.
type Feed struct {
	since time.Time

	mu   sync.Mutex
	ring []Event       // event n is at n modulo the length
	last uint64        // sequence of the latest event
	wake chan struct{} // closed by the next event; nil if nobody waits
}

// readChunk bounds what a reader copies at a time while publishers wait.
const readChunk = 64

// New returns an empty feed that keeps the latest size events, at least one. It takes 64 bytes for each, and keeps the data of each alive.
func New(size int) *Feed {
	return &Feed{since: time.Now(), ring: make([]Event, max(1, size))}
}

// Since is when the feed was made. A reader that sees it change knows that it reads another process, whose sequence has begun anew.
func (f *Feed) Since() time.Time { return f.since }

// Publish appends an event. It never waits for a reader. The data must not be changed afterwards; it should be something that encoding/json can
// encode.
func (f *Feed) Publish(kind string, data any) {
	f.mu.Lock()
	f.last++
	f.ring[f.last%uint64(len(f.ring))] = Event{Seq: f.last, Time: time.Now(), Kind: kind, Data: data}
	wake := f.wake
	f.wake = nil
	f.mu.Unlock()
	if wake != nil {
		close(wake)
	}
}

// Last is the sequence of the latest event; 0 if there was none.
func (f *Feed) Last() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// Read returns at most n of the events after the one with the sequence after, the oldest first, and how many between after and the first
// of them the feed doesn't have any more. It returns at once, with none if there is none.
//
// After is 0 at first and then the sequence of the last event read. One that is larger than any so far is from the feed of another process, and
// counts as 0.
func (f *Feed) Read(after uint64, n int) (events []Event, lost uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	after = f.knownLocked(after)
	first := max(after, f.last-min(f.last, uint64(len(f.ring)))) + 1
	lost = first - 1 - after
	for n = min(n, int(f.last+1-first)); n > 0; n -= readChunk {
		if events == nil {
			events = make([]Event, 0, n)
		} else if !f.yieldLocked(first) {
			break // the ring has come round to what was next: the reader is told with the next call
		}
		for range min(n, readChunk) {
			events = append(events, f.ring[first%uint64(len(f.ring))])
			first++
		}
	}
	return events, lost
}

// yieldLocked lets publishers go on, and reports whether the event next is still there afterwards.
func (f *Feed) yieldLocked(next uint64) bool {
	f.mu.Unlock()
	f.mu.Lock()
	return f.last-next < uint64(len(f.ring))
}

// knownLocked is after, or 0 if it's from another feed.
func (f *Feed) knownLocked(after uint64) uint64 {
	if after > f.last {
		return 0
	}
	return after
}

// Wait returns nil when there is an event after the one with the sequence after, as [Feed.Read] understands it; or ctx.Err() if ctx ends before.
func (f *Feed) Wait(ctx context.Context, after uint64) error {
	for {
		wake := f.next(after)
		if wake == nil {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// next returns what the next event closes, or nil if there is something to read already.
func (f *Feed) next(after uint64) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last > f.knownLocked(after) {
		return nil
	}
	if f.wake == nil {
		f.wake = make(chan struct{})
	}
	return f.wake
}
