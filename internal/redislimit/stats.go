package redislimit

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Kinds of errors, as counted.
const (
	kindOpen    = iota // not asked, because the breaker was open
	kindFull           // not asked, because too many calls waited
	kindTimeout        // no answer in time
	kindConnect        // no connection, or a broken one
	kindServer         // an error that Redis answered
	kinds
)

var kindNames = [kinds]string{"open", "full", "timeout", "connection", "server"}

func kindOf(err error) int {
	var answer redis.Error
	var timeout net.Error
	switch {
	case errors.As(err, &answer):
		return kindServer
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return kindTimeout
	}
	return kindConnect
}

// latencyBounds are the upper bounds of the buckets of [Stats.Latency].
var latencyBounds = [...]time.Duration{
	100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
}

// latency counts how long pipelines took.
type latency struct {
	buckets [len(latencyBounds) + 1]atomic.Uint64
	sum     atomic.Int64
}

func (l *latency) observe(d time.Duration) {
	i := 0
	for i < len(latencyBounds) && d > latencyBounds[i] {
		i++
	}
	l.buckets[i].Add(1)
	l.sum.Add(int64(d))
}

type linkStats struct {
	roundTrips, calls, reloads atomic.Uint64
	errors                     [kinds]atomic.Uint64
	latency                    latency
}

// Stats is what a link has done since it was opened.
type Stats struct {
	RoundTrips uint64            // pipelines sent
	Calls      uint64            // scripts run in them
	Reloads    uint64            // times that Redis had forgotten the scripts
	Errors     map[string]uint64 // calls without an answer, by kind: open, full, timeout, connection, server
	Breaker    string            // closed, open or half-open
	Opened     uint64            // how often the breaker opened
	Nodes      int               // that share the limits, as last heard; at least 1
	Latency    Latency           // of pipelines
}

// Latency is a histogram.
type Latency struct {
	Bounds []time.Duration // upper bounds of the buckets but the last, which has none
	Counts []uint64        // how many fell into each; one more than Bounds
	Sum    time.Duration
}

// Stats returns the counters.
func (l *Link) Stats() Stats {
	s := Stats{
		RoundTrips: l.stats.roundTrips.Load(), Calls: l.stats.calls.Load(), Reloads: l.stats.reloads.Load(), Errors: map[string]uint64{},
		Breaker: l.breaker.state(), Opened: l.breaker.opened.Load(), Nodes: l.Nodes(),
		Latency: Latency{Bounds: latencyBounds[:], Sum: time.Duration(l.stats.latency.sum.Load())},
	}
	for kind, name := range kindNames {
		s.Errors[name] = l.stats.errors[kind].Load()
	}
	for i := range l.stats.latency.buckets {
		s.Latency.Counts = append(s.Latency.Counts, l.stats.latency.buckets[i].Load())
	}
	return s
}
