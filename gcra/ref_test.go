package gcra_test

import (
	"math"
	"math/big"
	"time"

	"github.com/sluicegate/sluice/gcra"
)

// A reference is the algorithm as in the recommendation, in rational arithmetic of any size, written without a look at the package's.
type reference struct {
	count, period, burst int64
	tat                  *big.Rat // exact, in nanoseconds
	start                int64    // of the busy period
}

const (
	endOfTime = 1 << 61 // the bounds that the package documents
	mostDebt  = 1 << 62
)

func newReference(count int64, period time.Duration, burst int64) *reference {
	return &reference{count: count, period: int64(period), burst: burst, tat: new(big.Rat)}
}

func rat(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }

func (r *reference) cost(n int64) *big.Rat {
	return new(big.Rat).Mul(rat(n), big.NewRat(r.period, r.count))
}

func (r *reference) size() int64 { return r.burst + 1 }

// base is max(TAT, now).
func (r *reference) base(now int64) *big.Rat {
	if r.tat.Cmp(rat(now)) > 0 {
		return r.tat
	}
	return rat(now)
}

// spend sets the TAT to base + n intervals, up to its bound.
func (r *reference) spend(now, n int64) {
	if r.tat.Cmp(rat(now)) <= 0 {
		r.start = now
	}
	r.tat = new(big.Rat).Add(r.base(now), r.cost(n))
	if r.tat.Cmp(rat(mostDebt-1)) > 0 {
		r.tat = rat(mostDebt)
	}
}

func clampTime(now time.Duration) int64 { return min(max(int64(now), 0), endOfTime) }

func (r *reference) allow(at time.Duration, n int64) gcra.Decision {
	now := clampTime(at)
	switch {
	case n < 0 || n > r.size():
		return r.describe(now, gcra.Never)
	case n == 0:
		return r.describe(now, 0)
	}
	after := new(big.Rat).Add(r.base(now), r.cost(n))
	edge := new(big.Rat).Add(rat(now), r.cost(r.size()))
	if late := new(big.Rat).Sub(after, edge); late.Sign() > 0 {
		return r.describe(now, time.Duration(ceil(late)))
	}
	r.spend(now, n)
	return r.describe(now, 0)
}

func (r *reference) charge(at time.Duration, n int64) gcra.Decision {
	now := clampTime(at)
	if n <= 0 {
		return r.describe(now, 0)
	}
	r.spend(now, n)
	edge := new(big.Rat).Add(rat(now), r.cost(r.size()))
	if late := new(big.Rat).Sub(r.tat, edge); late.Sign() > 0 {
		return r.describe(now, time.Duration(ceil(late)))
	}
	return r.describe(now, 0)
}

func (r *reference) refund(at time.Duration, n int64) gcra.Decision {
	now := clampTime(at)
	whole := rat(max(now, r.start))
	if n > 0 && r.tat.Cmp(rat(now)) > 0 && r.tat.Cmp(rat(mostDebt)) < 0 {
		r.tat = new(big.Rat).Sub(r.tat, r.cost(n))
		if r.tat.Cmp(whole) <= 0 {
			r.tat, r.start = whole, max(now, r.start)
		}
	}
	return r.describe(now, 0)
}

func (r *reference) describe(now int64, wait time.Duration) gcra.Decision {
	debt := new(big.Rat).Sub(r.base(now), rat(now))
	used := new(big.Rat).Quo(debt, r.cost(1))
	return gcra.Decision{
		Allowed:    wait == 0,
		Limit:      r.size(),
		Remaining:  max(0, r.size()-ceil(used)),
		RetryAfter: wait,
		ResetAfter: time.Duration(ceil(debt)),
	}
}

// ceil rounds up a number that isn't negative; what doesn't fit an int64 becomes the highest one.
func ceil(x *big.Rat) int64 {
	q, r := new(big.Int).QuoRem(x.Num(), x.Denom(), new(big.Int))
	if r.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	if !q.IsInt64() {
		return math.MaxInt64
	}
	return q.Int64()
}

func (r *reference) peek(at time.Duration, n int64) gcra.Decision {
	copied := *r
	d := copied.allow(at, n)
	now := clampTime(at)
	return r.describe(now, d.RetryAfter)
}
