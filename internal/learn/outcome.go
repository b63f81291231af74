package learn

import (
	"math/bits"
	"time"
)

// An Outcome is what a policy did to the traffic.
type Outcome struct {
	Requests  int
	Calls     int
	Joined    int           // requests that joined a call in flight
	ByPolicy  int           // calls by what made them: the policy,
	ByHold    int           // the hold,
	BySize    int           // or the size cap
	Fallbacks int           // decisions that made no sense, and were taken for Serve
	Waiting   time.Duration // of all requests; in relaxed mode until their calls ended
	Cost      float64       // in units of the call cost: Calls + Waiting/CallCost
	Waits     Histogram     // what requests waited in slots; 0 for those that joined a call
}

// Reduction returns the share of requests that needed no call of their own.
func (o *Outcome) Reduction() float64 {
	return 1 - float64(o.Calls)/float64(max(1, o.Requests))
}

// A Histogram counts times in buckets that are at most 1/64 wide. The zero value is empty.
type Histogram struct {
	buckets [buckets]uint32
	count   uint64
	sum     time.Duration
}

const (
	fineBits = 6
	fine     = 1 << fineBits
	buckets  = (64 - fineBits) * fine
)

func (h *Histogram) add(d time.Duration) {
	h.buckets[bucket(d)]++
	h.count++
	h.sum += d
}

// bucket is linear below 2·fine and then has fine buckets for each power of two.
func bucket(d time.Duration) int {
	v := uint64(max(0, d))
	if v < fine {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - fineBits
	return shift*fine + int(v>>shift)
}

// lowest is the least time of a bucket.
func lowest(b int) time.Duration {
	if b < 2*fine {
		return time.Duration(b)
	}
	shift := b/fine - 1
	return time.Duration(b%fine+fine) << shift
}

// Merge adds what the other has counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.buckets {
		h.buckets[i] += n
	}
	h.count += other.count
	h.sum += other.sum
}

// Mean returns the mean of the times; 0 if there are none.
func (h *Histogram) Mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return h.sum / time.Duration(h.count)
}

// Quantile returns the time that the share p of the times doesn't exceed, to 1/128; 0 if there are none.
func (h *Histogram) Quantile(p float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(p * float64(h.count-1))
	for b, n := range h.buckets {
		if uint64(n) > rank {
			return (lowest(b) + lowest(b+1)) / 2
		}
		rank -= uint64(n)
	}
	return lowest(buckets - 1)
}
