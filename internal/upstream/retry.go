package upstream

import "sync/atomic"

// budget bounds retries to a share of the requests, so that a failing upstream is not buried under repetitions.
// Every request earns a share of a retry, and a small reserve lets quiet upstreams retry too.
// Safe for concurrent use.
type budget struct {
	earn   int64        // thousandths of a retry that a request earns
	credit atomic.Int64 // thousandths of a retry that are left
}

const (
	retryCost    = 1000
	retryReserve = 10 * retryCost // the most that can be saved up, and what there is at the start
)

func newBudget(percent float64) *budget {
	b := &budget{earn: int64(percent * retryCost / 100)}
	if b.earn > 0 {
		b.credit.Store(retryReserve)
	}
	return b
}

// request notes a request that may one day need a retry.
func (b *budget) request() {
	if b.earn > 0 && b.credit.Load() < retryReserve {
		b.credit.Add(b.earn)
	}
}

// take pays for a retry. It reports false when there is not enough left.
func (b *budget) take() bool {
	for {
		have := b.credit.Load()
		if have < retryCost {
			return false
		}
		if b.credit.CompareAndSwap(have, have-retryCost) {
			return true
		}
	}
}
