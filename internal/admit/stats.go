package admit

import "time"

// waitBounds are the upper bounds of the histogram's buckets.
var waitBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second,
	10 * time.Second, 30 * time.Second,
}

// counts are what a gate has done since it was made.
type counts struct {
	refused [reasons]uint64
	waits   [len(waitBounds) + 1]uint64 // by how long they took
	waited  time.Duration               // of all together
}

func (c *counts) admitted(waited time.Duration) {
	i := 0
	for i < len(waitBounds) && waited > waitBounds[i] {
		i++
	}
	c.waits[i]++
	c.waited += waited
}

// Stats are a gate's figures. Counts are since it was made.
type Stats struct {
	MaxInFlight int
	InFlight    int
	MaxWaiting  int
	Waiting     int
	Refused     map[Reason]uint64
	Waited      Histogram // of the requests that were admitted, those that did not wait among them
}

// Histogram says how many waits took how long.
type Histogram struct {
	Count   uint64
	Sum     time.Duration
	Buckets map[time.Duration]uint64 // waits that took no longer than the key
}

// Stats returns the figures as they are now.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	s := Stats{MaxInFlight: g.rules.slots, InFlight: g.inFlight, MaxWaiting: g.rules.most, Waiting: g.book.Len()}
	c := g.counts
	g.mu.Unlock()
	s.Refused = make(map[Reason]uint64, reasons)
	for why, n := range c.refused {
		s.Refused[Reason(why)] = n
	}
	s.Waited = Histogram{Sum: c.waited, Buckets: make(map[time.Duration]uint64, len(waitBounds))}
	for i, n := range c.waits {
		s.Waited.Count += n
		if i < len(waitBounds) {
			s.Waited.Buckets[waitBounds[i]] = s.Waited.Count
		}
	}
	return s
}
