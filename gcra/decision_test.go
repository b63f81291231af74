package gcra_test

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicegate/sluice/gcra"
)

const day = 24 * time.Hour

// A script is a client's story for the package and the reference side by side: each step takes an action, a time and a cost.
type script struct {
	limit gcra.Limit
	state gcra.State
	ref   *reference
	now   time.Duration
	last  gcra.Decision
}

const stepBytes = 11

// step plays stepBytes bytes and returns both answers. Times and costs are drawn from where mistakes would be: right at and next to
// the edges that the last decision promised, and the ends of int64.
func (s *script) step(b []byte) (got, want gcra.Decision) {
	v := int64(binary.LittleEndian.Uint64(b[3:]))
	s.now = s.nextTime(b[1], v)
	n := s.nextCost(b[2], v)
	switch b[0] % 6 {
	case 0:
		s.state, got = s.limit.Charge(s.state, s.now, n)
		want = s.ref.charge(s.now, n)
	case 1:
		s.state, got = s.limit.Refund(s.state, s.now, n)
		want = s.ref.refund(s.now, n)
	default:
		s.state, got = s.limit.Decide(s.state, s.now, n)
		want = s.ref.allow(s.now, n)
	}
	s.last = got
	return got, want
}

func (s *script) nextTime(kind byte, v int64) time.Duration {
	positive := time.Duration(v & math.MaxInt64)
	interval := max(1, s.limit.Window()/time.Duration(s.limit.Burst()+1))
	switch kind % 16 {
	case 0:
		return time.Duration(v) // anything
	case 1:
		return s.now - positive%(1<<40)
	case 2:
		return s.now - 1
	case 3, 4, 5:
		return s.now + min(s.last.RetryAfter, 1<<60)
	case 6:
		return s.now + min(s.last.RetryAfter, 1<<60) - 1
	case 7:
		return s.now + s.last.ResetAfter
	case 8:
		return s.now + s.last.ResetAfter - 1
	case 9:
		return s.now + interval
	case 10, 11:
		return s.now + positive%(3*interval)
	case 12:
		return endOfTime - positive%(1<<61>>(kind>>3))
	default:
		return s.now
	}
}

func (s *script) nextCost(kind byte, v int64) int64 {
	size := s.limit.Burst() + 1
	switch kind % 16 {
	case 0:
		return v
	case 1:
		return size
	case 2:
		return size + 1
	case 3:
		return s.last.Remaining
	case 4:
		return s.last.Remaining + 1
	case 5:
		return 0
	case 6, 7:
		return (v & math.MaxInt64) % (size + 1)
	default:
		return 1
	}
}

// play plays all steps in b, and fails at the first decision that differs.
func play(t *testing.T, count int64, period time.Duration, burst int64, b []byte) {
	t.Helper()
	limit, err := gcra.NewLimit(count, period, burst)
	if err != nil {
		if !errors.Is(err, gcra.ErrLimit) || limit != (gcra.Limit{}) {
			t.Fatalf("NewLimit = %v, %v", limit, err)
		}
		return
	}
	s := &script{limit: limit, ref: newReference(count, period, burst)}
	for i := 0; len(b) >= stepBytes; i, b = i+1, b[stepBytes:] {
		before := s.state
		if got, want := s.step(b); got != want {
			t.Fatalf("%d per %v, burst %d, step %d (% x) at %d from %+v:\n got %+v\nwant %+v", count, period, burst, i, b[:stepBytes], s.now, before, got, want)
		}
	}
}

func FuzzDecide(f *testing.F) {
	steps := make([]byte, 40*stepBytes)
	rand.NewChaCha8([32]byte{}).Read(steps)
	for _, l := range limits {
		f.Add(l.count, int64(l.period), l.burst, steps)
	}
	f.Fuzz(func(t *testing.T, count, period, burst int64, b []byte) {
		play(t, count, time.Duration(period), burst, b[:min(len(b), 200*stepBytes)])
	})
}

// limits are of all kinds: with a T of whole nanoseconds and without, fast, slow, with small and large bursts.
var limits = []struct {
	count  int64
	period time.Duration
	burst  int64
}{
	{1, time.Second, 0},
	{100, time.Second, 20},
	{7, time.Second, 3},
	{1000, time.Minute, 0},
	{3, day, 1},
	{1, day, 0},
	{1, 365 * day, 20},
	{1, 1 << 61, 0},
	{3, 1 << 61, 2},
	{1_000_000_000, time.Second, 0},
	{1_000_000_000, time.Second, 1_000_000_000},
	{999_999_999, time.Second, 5},
	{999_999_999, time.Second, 1<<60 - 1},
	{86_399_999_999_999, day, 1 << 40},
	{1<<62 + 1, 1<<62 + 2, 9},
	{math.MaxInt64, math.MaxInt64, 1<<61 - 1},
	{math.MaxInt64 - 1, math.MaxInt64, 1},
	{65_537, time.Hour, 1_000},
}

// TestDecideEqualsReference is the long run: a million steps over fixed and random limits, without one mismatch.
func TestDecideEqualsReference(t *testing.T) {
	rounds := 10_000
	if testing.Short() {
		rounds = 500
	}
	rnd := rand.New(rand.NewPCG(4, 2))
	source := rand.NewChaCha8([32]byte{1})
	steps := make([]byte, 100*stepBytes)
	for i := range rounds {
		source.Read(steps)
		if i%2 == 0 {
			l := limits[i/2%len(limits)]
			play(t, l.count, l.period, l.burst, steps)
			continue
		}
		period := time.Duration(1 + rnd.Int64()>>rnd.IntN(62))
		count := 1 + (rnd.Int64()>>rnd.IntN(62))%int64(period)
		most := int64(min(float64(endOfTime)/float64(period)*float64(count), 1<<61))
		play(t, count, period, rnd.Int64N(most+1)>>rnd.IntN(62), steps)
	}
}

func TestNewLimitRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		count  int64
		period time.Duration
		burst  int64
	}{
		{"no count", 0, time.Second, 0},
		{"negative count", -1, time.Second, 0},
		{"no period", 1, 0, 0},
		{"negative period", 1, -time.Second, 0},
		{"faster than one per nanosecond", 1_000_000_001, time.Second, 0},
		{"negative burst", 1, time.Second, -1},
		{"burst that takes centuries", 1, day, 40_000},
		{"burst beyond counting", 1_000_000_000, time.Second, math.MaxInt64},
		{"period of centuries", 1, math.MaxInt64, 0},
	} {
		if l, err := gcra.NewLimit(c.count, c.period, c.burst); !errors.Is(err, gcra.ErrLimit) || l != (gcra.Limit{}) {
			t.Errorf("%s: NewLimit = %v, %v", c.name, l, err)
		}
	}
}

func TestLimitDescribesItself(t *testing.T) {
	l := gcra.MustLimit(14, 2*time.Second, 2)
	if got := l.String(); got != "7 per 1s, burst 2" {
		t.Errorf("String = %q", got)
	}
	if l.Burst() != 2 || l.Window() != 428_571_429 {
		t.Errorf("Burst = %d, Window = %d", l.Burst(), l.Window())
	}
	if count, period := l.Rate(); count != 7 || period != time.Second {
		t.Errorf("Rate = %d per %v", count, period)
	}
	if l != gcra.MustLimit(7, time.Second, 2) {
		t.Error("limits that decide alike differ")
	}
	if got := (gcra.Limit{}).String(); got != "nothing" {
		t.Errorf("zero Limit: String = %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("MustLimit(0, 0, 0) didn't panic")
		}
	}()
	gcra.MustLimit(0, 0, 0)
}

func TestZeroLimitRefusesEverything(t *testing.T) {
	for n := range int64(3) {
		s, d := gcra.Limit{}.Decide(gcra.State{}, time.Second, n)
		if s != (gcra.State{}) || d != (gcra.Decision{RetryAfter: gcra.Never}) {
			t.Errorf("cost %d: %+v, %+v", n, s, d)
		}
	}
}

// TestStory walks a virtual clock through a client's day: 1 per second, burst 4, so five at once.
func TestStory(t *testing.T) {
	const s = time.Second
	limit := gcra.MustLimit(1, s, 4)
	type want = gcra.Decision
	var state gcra.State
	for i, c := range []struct {
		at   time.Duration
		do   func(gcra.Limit, gcra.State, time.Duration, int64) (gcra.State, gcra.Decision)
		cost int64
		want want
	}{
		{0, gcra.Limit.Decide, 0, want{true, 5, 5, 0, 0}},
		{0, gcra.Limit.Decide, 1, want{true, 5, 4, 0, 1 * s}},
		{0, gcra.Limit.Decide, 3, want{true, 5, 1, 0, 4 * s}},
		{0, gcra.Limit.Decide, 2, want{false, 5, 1, 1 * s, 4 * s}},
		{0, gcra.Limit.Decide, 1, want{true, 5, 0, 0, 5 * s}},
		{0, gcra.Limit.Decide, 1, want{false, 5, 0, 1 * s, 5 * s}},
		{0, gcra.Limit.Decide, 6, want{false, 5, 0, gcra.Never, 5 * s}},
		{0, gcra.Limit.Decide, -1, want{false, 5, 0, gcra.Never, 5 * s}},
		{1*s - 1, gcra.Limit.Decide, 1, want{false, 5, 0, 1, 4*s + 1}},
		{1 * s, gcra.Limit.Decide, 1, want{true, 5, 0, 0, 5 * s}},
		// The clock goes back: further from the TAT, nothing else.
		{0, gcra.Limit.Decide, 1, want{false, 5, 0, 2 * s, 6 * s}},
		{-9 * s, gcra.Limit.Decide, 1, want{false, 5, 0, 2 * s, 6 * s}},
		{3 * s, gcra.Limit.Decide, 0, want{true, 5, 2, 0, 3 * s}},
		// A cost known afterwards: debt.
		{3 * s, gcra.Limit.Charge, 2, want{true, 5, 0, 0, 5 * s}},
		{3 * s, gcra.Limit.Charge, 7, want{false, 5, 0, 7 * s, 12 * s}},
		{9 * s, gcra.Limit.Decide, 0, want{true, 5, 0, 0, 6 * s}},
		{9 * s, gcra.Limit.Decide, 1, want{false, 5, 0, 2 * s, 6 * s}},
		{10 * s, gcra.Limit.Decide, 1, want{false, 5, 0, 1 * s, 5 * s}},
		// Some of it was for nothing.
		{10 * s, gcra.Limit.Refund, 3, want{true, 5, 3, 0, 2 * s}},
		{10 * s, gcra.Limit.Refund, 100, want{true, 5, 5, 0, 0}},
		{10 * s, gcra.Limit.Decide, 5, want{true, 5, 0, 0, 5 * s}},
		// Idle for a year: no more than the burst.
		{365 * day, gcra.Limit.Decide, 6, want{false, 5, 5, gcra.Never, 0}},
		{365 * day, gcra.Limit.Decide, 5, want{true, 5, 0, 0, 5 * s}},
		{365 * day, gcra.Limit.Decide, 1, want{false, 5, 0, 1 * s, 5 * s}},
	} {
		var got gcra.Decision
		if state, got = c.do(limit, state, c.at, c.cost); got != c.want {
			t.Errorf("step %d at %v, cost %d:\n got %+v\nwant %+v", i, c.at, c.cost, got, c.want)
		}
	}
}

// TestSustainedRateIsExact asks again and again right when it was told to, for 200,000 requests or until the end of time: request n after the
// burst is allowed at the first nanosecond that is not before n·T. (A burst of 0 and a fractional T are not among the limits: a client
// that can only come at whole nanoseconds is late for each such TAT, and a burst of 0 doesn't make up for it.)
func TestSustainedRateIsExact(t *testing.T) {
	requests := int64(200_000)
	if testing.Short() {
		requests = 5000
	}
	for _, l := range limits {
		limit, ref := gcra.MustLimit(l.count, l.period, l.burst), newReference(l.count, l.period, l.burst)
		size := limit.Burst() + 1
		state, d := limit.Decide(gcra.State{}, 0, size)
		if !d.Allowed {
			t.Fatalf("%v: a new client was refused its burst: %+v", limit, d)
		}
		now, n := time.Duration(0), int64(0)
		for ; n < requests; n++ {
			_, d := limit.Decide(state, now, 1)
			if now += d.RetryAfter; now > endOfTime {
				break
			}
			if state, d = limit.Decide(state, now, 1); !d.Allowed {
				t.Fatalf("%v: request %d was told to come at %d and refused", limit, n, now)
			}
			if want := ceil(ref.cost(n + 1)); int64(now) != want {
				t.Fatalf("%v: request %d was allowed at %d, not %d", limit, n, now, want)
			}
		}
		if n == 0 && l.period < 1<<60 {
			t.Errorf("%v: no request was made", limit)
		}
	}
}

// TestLongAfterStart is the same far from 0, with a busy period that lasts a year: truncating 10⁹/7 would be off by 31 ms by then.
func TestLongAfterStart(t *testing.T) {
	const start = 30 * 365 * day
	limit := gcra.MustLimit(7, time.Second, 7*86400*365)
	state, d := limit.Decide(gcra.State{}, start, 7*86400*365)
	if want := 365 * day; d.ResetAfter != want {
		t.Fatalf("a year's worth of tokens comes back in %v, not %v", d.ResetAfter, want)
	}
	for i := range int64(7 * 1000) {
		now := start + time.Duration(ceil(newReference(7, time.Second, 0).cost(i)))
		if state, d = limit.Decide(state, now, 1); !d.Allowed {
			t.Fatalf("request %d refused: %+v", i, d)
		}
	}
	if _, d = limit.Decide(state, start+1000*time.Second, 0); d.ResetAfter != 365*day {
		t.Errorf("after 1,000 s at full rate the debt changed to %v", d.ResetAfter)
	}
}

// TestChangeOfLimit applies several limits to one state: the TAT stays, to the nanosecond.
func TestChangeOfLimit(t *testing.T) {
	slow, fast, odd := gcra.MustLimit(1, time.Second, 9), gcra.MustLimit(10, time.Second, 99), gcra.MustLimit(7, time.Second, 69)
	state, _ := slow.Decide(gcra.State{}, 0, 10)
	for _, c := range []struct {
		limit     gcra.Limit
		remaining int64
	}{{slow, 5}, {fast, 50}, {odd, 35}, {slow, 5}} {
		if _, d := c.limit.Decide(state, 5*time.Second, 0); d.Remaining != c.remaining || d.ResetAfter != 5*time.Second {
			t.Errorf("%v: %+v", c.limit, d)
		}
	}
	state, _ = odd.Decide(state, 5*time.Second, 10)
	state, _ = odd.Refund(state, 5*time.Second, 10)
	if off := state.TAT - 10*time.Second; off < 0 || off > 1 {
		t.Errorf("TAT is off by %d ns", off)
	}
}

// FuzzAnyState decides on states that no limit left, or another one: the TAT counts as it is, or less than a nanosecond earlier.
func FuzzAnyState(f *testing.F) {
	f.Add(int64(7), int64(time.Second), int64(3), int64(5), int64(1<<40), int64(1<<39), int64(1))
	f.Add(int64(999_999_999), int64(time.Second), int64(3), int64(1<<40), int64(5), int64(0), int64(2))
	f.Add(int64(3), int64(time.Second), int64(0), int64(math.MinInt64), int64(math.MaxInt64), int64(-1), int64(1))
	f.Add(int64(3), int64(1<<61), int64(2), int64(math.MaxInt64), int64(math.MinInt64), int64(math.MaxInt64), int64(0))
	rnd := rand.New(rand.NewPCG(5, 5))
	for range 2000 {
		tat := rnd.Int64() >> rnd.IntN(60)
		f.Add(rnd.Int64N(1000)+1, rnd.Int64N(1e9)+1000, rnd.Int64N(10), tat-rnd.Int64N(1e10), tat, tat-rnd.Int64N(1e9), rnd.Int64N(5))
	}
	f.Fuzz(func(t *testing.T, count, period, burst, start, tat, now, n int64) {
		limit, err := gcra.NewLimit(count, time.Duration(period), burst)
		if err != nil {
			t.Skip()
		}
		s := gcra.State{Start: time.Duration(start), TAT: time.Duration(tat)}
		late, early := newReference(count, time.Duration(period), burst), newReference(count, time.Duration(period), burst)
		late.tat, early.tat = rat(min(tat, mostDebt)), rat(min(tat, mostDebt)-1)
		worst, best := late.peek(time.Duration(now), n), early.peek(time.Duration(now), n)
		after, d := limit.Decide(s, time.Duration(now), n)
		if d.RetryAfter > worst.RetryAfter || d.RetryAfter < best.RetryAfter || d.Allowed != (d.RetryAfter == 0) {
			t.Errorf("%v, %+v, at %d, cost %d: %+v is not between %+v and %+v", limit, s, now, n, d, best, worst)
		}
		if !d.Allowed && after != s {
			t.Errorf("refused, but the state changed from %+v to %+v", s, after)
		}
		if c, _ := limit.Charge(s, time.Duration(now), n); n > 0 && c.TAT < min(s.TAT, mostDebt) {
			t.Errorf("a charge of %d moved %+v to %+v", n, s, c)
		}
		if r, d := limit.Refund(s, time.Duration(now), n); n > 0 && start <= tat && r.TAT > s.TAT {
			t.Errorf("a refund of %d moved %+v to %+v: %+v", n, s, r, d)
		}
	})
}
