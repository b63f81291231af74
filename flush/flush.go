package flush

import (
	"time"

	"github.com/sluicegate/sluice/coalesce"
)

// Immediate serves each slot at once.
type Immediate struct{}

// Decide implements [coalesce.Policy].
func (Immediate) Decide(coalesce.State) coalesce.Decision { return coalesce.Decision{Serve: true} }

// Timer serves a slot when it is as old as After. 0 or less means at once.
type Timer struct {
	After time.Duration
}

// Decide implements [coalesce.Policy].
func (p Timer) Decide(s coalesce.State) coalesce.Decision { return when(p.After - s.Age) }

// Size serves a slot when it has N waiters. If they don't come, it is up to the slot's Hold.
type Size struct {
	N int
}

// Decide implements [coalesce.Policy].
func (p Size) Decide(s coalesce.State) coalesce.Decision {
	return coalesce.Decision{Serve: s.Size >= p.N}
}

// Balance serves a slot when its waiters have together waited for CallCost. 0 or less means at once. For one waiter that is after CallCost;
// with n of them the time goes n times as fast.
type Balance struct {
	CallCost time.Duration
}

// Decide implements [coalesce.Policy]. It asks to be asked again at the very time when, without further arrivals, the waiting will amount to
// CallCost.
func (p Balance) Decide(s coalesce.State) coalesce.Decision {
	size := time.Duration(max(1, s.Size))
	left := p.CallCost - s.Waiting
	after := left / size
	if left%size > 0 {
		after++
	}
	return when(after)
}

// when serves after d, which is now if d is not positive.
func when(d time.Duration) coalesce.Decision {
	if d <= 0 {
		return coalesce.Decision{Serve: true}
	}
	return coalesce.Decision{After: d}
}
