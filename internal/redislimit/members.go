package redislimit

import (
	"context"
	"crypto/rand"
	"sync/atomic"
	"time"
)

// How nodes know of each other.
const (
	beatEvery = 500 * time.Millisecond
	lastFor   = 3 * time.Second // how long a node counts that isn't heard of
)

// members is what the last heartbeat told.
type members struct {
	nodes   atomic.Int64
	version atomic.Int64 // of the overrides
	changed chan struct{}
}

// Nodes returns how many nodes share the limits, this one included, as of when Redis last answered.
func (l *Link) Nodes() int { return int(max(1, l.members.nodes.Load())) }

// beats says now and then that this node is there.
func (l *Link) beats() {
	for l.ctx.Err() == nil {
		l.beat(false)
		wait(l.ctx, beatEvery)
	}
}

func (l *Link) beat(leave bool) {
	flag := 0
	if leave {
		flag = 1
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.patient)
	defer cancel()
	answered := make(chan struct{})
	err := l.submit(&call{
		script: l.scripts.beat, keys: []string{l.prefix + "nodes", l.prefix + "overrides:version"},
		args: []any{l.node, lastFor.Microseconds(), flag},
		done: func(reply []int64, err error) {
			if err == nil && len(reply) == 2 {
				l.members.nodes.Store(reply[0])
				l.heard(reply[1])
			}
			close(answered)
		},
	})
	if err != nil {
		return
	}
	select {
	case <-answered:
	case <-ctx.Done():
	}
}

// heard wakes the overrides if their version isn't the one known.
func (l *Link) heard(version int64) {
	if l.members.version.Swap(version) != version {
		l.wake()
	}
}

// wake has the overrides read again.
func (l *Link) wake() {
	select {
	case l.members.changed <- struct{}{}:
	default: // they have been woken
	}
}

// leave tells the others that this node is no more.
func (l *Link) leave() { l.beat(true) }

func randomName() string { return rand.Text() }
